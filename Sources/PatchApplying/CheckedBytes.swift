import Diagnostics

/// Bytes of an untrusted source (a module's file, a process's memory), read little-endian, every access checked.
///
/// A read outside the bytes is a refusal with the rule and the subject given here, naming the offset.
struct CheckedBytes: Sendable {
    var bytes: [UInt8]
    var rule: Rule
    /// What the bytes are, for messages.
    var subject: String

    init(_ bytes: [UInt8], rule: Rule, subject: String) {
        self.bytes = bytes
        self.rule = rule
        self.subject = subject
    }

    var count: UInt64 { UInt64(bytes.count) }

    func refusal(_ why: String) -> Refusal { Refusal(rule, subject: subject, why: why) }

    /// The index range of `count` bytes at `offset`.
    func range(_ offset: UInt64, _ count: UInt64) throws -> Range<Int> {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= self.count else {
            throw refusal("\(count) bytes at offset \(hex(offset)) lie outside its \(hex(self.count)) bytes")
        }
        return Int(offset)..<Int(end)
    }

    func slice(_ offset: UInt64, _ count: UInt64) throws -> [UInt8] { Array(bytes[try range(offset, count)]) }

    func integer<T: FixedWidthInteger>(_ offset: UInt64, as type: T.Type) throws -> T {
        let range = try range(offset, UInt64(MemoryLayout<T>.size))
        return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: range.lowerBound, as: T.self)) }
    }

    func u16(_ offset: UInt64) throws -> UInt16 { try integer(offset, as: UInt16.self) }
    func u32(_ offset: UInt64) throws -> UInt32 { try integer(offset, as: UInt32.self) }
    func u64(_ offset: UInt64) throws -> UInt64 { try integer(offset, as: UInt64.self) }
    func i64(_ offset: UInt64) throws -> Int64 { try integer(offset, as: Int64.self) }

    /// The zero-terminated string at `offset`, of at most 64 KiB.
    func string(_ offset: UInt64) throws -> String {
        let start = try range(offset, 0).lowerBound
        let limit = min(bytes.count, start &+ 0x10000)
        guard let end = bytes[start..<limit].firstIndex(of: 0) else {
            throw refusal("the string at offset \(hex(offset)) has no end")
        }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    mutating func store(_ value: UInt64, size: Int, at offset: UInt64) throws {
        let range = try range(offset, UInt64(size))
        for index in 0..<size {
            bytes[range.lowerBound + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
        }
    }
}

/// `0x…`, for messages.
func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// The bytes that lower- or upper-case hexadecimal digits stand for; nil when they are not that.
func bytesOfHex(_ digits: String) -> [UInt8]? {
    let text = Array(digits.utf8)
    guard text.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 2)
    for index in stride(from: 0, to: text.count, by: 2) {
        guard let high = hexValue(text[index]), let low = hexValue(text[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
    }
    return bytes
}

private func hexValue(_ character: UInt8) -> UInt8? {
    switch character {
    case 0x30...0x39: character &- 0x30
    case 0x61...0x66: character &- 0x61 &+ 10
    case 0x41...0x46: character &- 0x41 &+ 10
    default: nil
    }
}

/// `value` rounded up to a multiple of `alignment` (a power of two); nil on overflow.
func roundUp(_ value: UInt64, _ alignment: UInt64) -> UInt64? {
    let (sum, overflow) = value.addingReportingOverflow(alignment &- 1)
    return overflow ? nil : sum & ~(alignment &- 1)
}

func roundDown(_ value: UInt64, _ alignment: UInt64) -> UInt64 { value & ~(alignment &- 1) }

let pageSize: UInt64 = 4096
