/// Bytes of an untrusted source (a file, a process's memory), read little-endian, every access checked.
///
/// What a read outside the bytes throws is the reader's to say, once: a refusal with a rule and a subject, a reason why
/// unwinding ends.
///
/// Inlinable, so that each room that reads has code of its own: a generic call costs a thousand times the read.
@usableFromInline
package struct ByteReader<Fault: Error>: Sendable {
    @usableFromInline package var bytes: [UInt8]
    /// The error for bytes that are not what they should be, from the reason.
    @usableFromInline package let fault: @Sendable (_ why: String) -> Fault

    package init(_ bytes: [UInt8], fault: @escaping @Sendable (_ why: String) -> Fault) {
        self.bytes = bytes
        self.fault = fault
    }

    @inlinable package var count: UInt64 { UInt64(bytes.count) }

    /// The index range of `count` bytes at `offset`.
    @inlinable package func range(_ offset: UInt64, _ count: UInt64) throws(Fault) -> Range<Int> {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= self.count else {
            throw outside(offset, count)
        }
        return Int(offset)..<Int(end)
    }

    @usableFromInline
    package func outside(_ offset: UInt64, _ count: UInt64) -> Fault {
        fault("\(count) bytes at offset \(hex(offset)) lie outside its \(hex(self.count)) bytes")
    }

    @inlinable package func slice(_ offset: UInt64, _ count: UInt64) throws(Fault) -> [UInt8] {
        Array(bytes[try range(offset, count)])
    }

    @inlinable package func integer<T: FixedWidthInteger>(_ offset: UInt64, as type: T.Type) throws(Fault) -> T {
        let range = try range(offset, UInt64(MemoryLayout<T>.size))
        return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: range.lowerBound, as: T.self)) }
    }

    @inlinable package func u8(_ offset: UInt64) throws(Fault) -> UInt8 { try integer(offset, as: UInt8.self) }
    @inlinable package func u16(_ offset: UInt64) throws(Fault) -> UInt16 { try integer(offset, as: UInt16.self) }
    @inlinable package func u32(_ offset: UInt64) throws(Fault) -> UInt32 { try integer(offset, as: UInt32.self) }
    @inlinable package func u64(_ offset: UInt64) throws(Fault) -> UInt64 { try integer(offset, as: UInt64.self) }
    @inlinable package func i64(_ offset: UInt64) throws(Fault) -> Int64 { try integer(offset, as: Int64.self) }

    /// The zero-terminated string at `offset`, of at most 64 KiB.
    package func string(_ offset: UInt64) throws(Fault) -> String {
        let start = try range(offset, 0).lowerBound
        let limit = min(bytes.count, start &+ 0x10000)
        guard let end = bytes[start..<limit].firstIndex(of: 0) else {
            throw fault("the string at offset \(hex(offset)) has no end")
        }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    package mutating func store(_ value: UInt64, size: Int, at offset: UInt64) throws(Fault) {
        let range = try range(offset, UInt64(size))
        for index in 0..<size {
            bytes[range.lowerBound + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
        }
    }
}

/// `0x…`, for messages.
package func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// The 8 bytes of a word.
package func littleEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
