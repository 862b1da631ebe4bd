/// A place in a line that strace printed: takes off one piece after the other. Nothing here reads past the line's end.
struct TraceText {
    let bytes: [UInt8]
    var offset: Int

    init(_ bytes: [UInt8], at offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func skipSpaces() { while next == UInt8(ascii: " ") { offset += 1 } }

    /// Takes `text` off if it stands here.
    mutating func takes(_ text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard bytes.count - offset >= length else { return false }
        let isHere = text.withUTF8Buffer { bytes[offset..<(offset + length)].elementsEqual($0) }
        if isHere { offset += length }
        return isHere
    }

    mutating func number() -> Int? {
        let start = offset
        let isNegative = takes("-")
        var value = 0
        let digits = offset
        while let byte = next, (0x30...0x39).contains(byte) {
            let (tens, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int(byte - 0x30))
            guard !tooLarge, !carry else { break }
            value = sum
            offset += 1
        }
        guard offset > digits else {
            offset = start
            return nil
        }
        return isNegative ? -value : value
    }

    /// Letters, digits and underscores.
    mutating func word() -> String {
        let start = offset
        while let byte = next, isOfWord(byte) { offset += 1 }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    private func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"): true
        default: false
        }
    }

    /// What stands between here and `end`, its escapes undone; the end is taken off.
    /// - Returns: nil where the line ends before.
    mutating func text(until end: UInt8) -> String? {
        let start = offset
        while let byte = next, byte != end, byte != UInt8(ascii: "\\") { offset += 1 }
        var plain = Array(bytes[start..<offset])
        while let byte = next {
            offset += 1
            if byte == end { return String(decoding: plain, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") {
                guard let meant = escape() else { return nil }
                plain.append(meant)
            } else {
                plain.append(byte)
            }
        }
        return nil
    }

    private mutating func escape() -> UInt8? {
        guard let byte = next else { return nil }
        offset += 1
        switch byte {
        case UInt8(ascii: "n"): return 0x0a
        case UInt8(ascii: "t"): return 0x09
        case UInt8(ascii: "r"): return 0x0d
        case UInt8(ascii: "v"): return 0x0b
        case UInt8(ascii: "f"): return 0x0c
        case 0x30...0x37:
            // One to three octal digits; strace writes as few as the next character allows.
            var value = Int(byte - 0x30)
            for _ in 0..<2 {
                guard let digit = next, (0x30...0x37).contains(digit), value < 32 else { break }
                value = value * 8 + Int(digit - 0x30)
                offset += 1
            }
            return UInt8(truncatingIfNeeded: value)
        default: return byte
        }
    }
}
