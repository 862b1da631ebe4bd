/// Why unwinding could not go on.
struct UnwindFailure: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// Little-endian reader over bytes of an untrusted process; every read is checked.
struct CFIReader {
    let bytes: [UInt8]
    /// Address of the first byte, for values that are relative to their own place.
    let address: UInt64
    var offset = 0
    var end: Int

    init(_ bytes: [UInt8], at address: UInt64) {
        self.bytes = bytes
        self.address = address
        end = bytes.count
    }

    var isAtEnd: Bool { offset >= end }

    mutating func unsigned(_ size: Int) throws(UnwindFailure) -> UInt64 {
        guard size <= end - offset else { throw UnwindFailure("unwind data ends too early") }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        offset += size
        return value
    }

    mutating func signed(_ size: Int) throws(UnwindFailure) -> Int64 {
        let shift = 64 - 8 * size
        return Int64(bitPattern: try unsigned(size) << UInt64(shift)) >> Int64(shift)
    }

    mutating func byte() throws(UnwindFailure) -> UInt8 { UInt8(truncatingIfNeeded: try unsigned(1)) }

    /// ULEB128; bits above 64 are dropped.
    mutating func uleb() throws(UnwindFailure) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift < 64 { value |= UInt64(next & 0x7f) << shift }
            shift += 7
            if next & 0x80 == 0 { return value }
        }
    }

    mutating func sleb() throws(UnwindFailure) -> Int64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift < 64 { value |= UInt64(next & 0x7f) << shift }
            shift += 7
            guard next & 0x80 == 0 else { continue }
            if next & 0x40 != 0, shift < 64 { value |= .max << shift }
            return Int64(bitPattern: value)
        }
    }

    mutating func block() throws(UnwindFailure) -> ArraySlice<UInt8> {
        let count = try uleb()
        guard count <= UInt64(end - offset) else { throw UnwindFailure("unwind data ends too early") }
        defer { offset += Int(count) }
        return bytes[offset..<(offset + Int(count))]
    }

    mutating func string() throws(UnwindFailure) -> String {
        let start = offset
        while try byte() != 0 {}
        return String(decoding: bytes[start..<(offset - 1)], as: UTF8.self)
    }

    /// A pointer in one of the `DW_EH_PE_` encodings: absolute, pc-relative or relative to `base`.
    mutating func pointer(encoding: UInt8, base: UInt64 = 0) throws(UnwindFailure) -> UInt64 {
        let place = address &+ UInt64(offset)
        let value: UInt64
        switch encoding & 0x0f {
        case 0x0, 0x4, 0xc: value = try unsigned(8)
        case 0x1: value = try uleb()
        case 0x2: value = try unsigned(2)
        case 0x3: value = try unsigned(4)
        case 0x9: value = UInt64(bitPattern: try sleb())
        case 0xa: value = UInt64(bitPattern: try signed(2))
        case 0xb: value = UInt64(bitPattern: try signed(4))
        default: throw UnwindFailure("unknown pointer encoding \(encoding)")
        }
        switch encoding & 0xf0 {
        case 0x00: return value
        case 0x10: return value &+ place
        case 0x30: return value &+ base
        default: throw UnwindFailure("unknown pointer encoding \(encoding)")
        }
    }
}
