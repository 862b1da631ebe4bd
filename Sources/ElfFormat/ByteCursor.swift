/// Reads one value after the other: tables of DWARF call frame information and the like.
@usableFromInline
package struct ByteCursor<Fault: Error>: Sendable {
    @usableFromInline package let reader: ByteReader<Fault>
    /// Address of the first byte, for values that are relative to their own place.
    @usableFromInline package let address: UInt64
    @usableFromInline package var offset = 0

    @inlinable package init(_ reader: ByteReader<Fault>, at address: UInt64) {
        self.reader = reader
        self.address = address
    }

    @inlinable package var isAtEnd: Bool { offset >= reader.bytes.count }

    /// An integer of 1 to 8 bytes.
    @inlinable package mutating func unsigned(_ size: Int) throws(Fault) -> UInt64 {
        let range = try next(size)
        var value: UInt64 = 0
        for index in range.reversed() { value = value << 8 | UInt64(reader.bytes[index]) }
        return value
    }

    /// The same, with its sign extended.
    @inlinable package mutating func signed(_ size: Int) throws(Fault) -> Int64 {
        let shift = 64 - 8 * size
        return Int64(bitPattern: try unsigned(size) << UInt64(shift)) >> Int64(shift)
    }

    @inlinable package mutating func byte() throws(Fault) -> UInt8 { UInt8(truncatingIfNeeded: try unsigned(1)) }

    /// ULEB128; bits above 64 are dropped.
    @inlinable package mutating func uleb() throws(Fault) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift < 64 { value |= UInt64(next & 0x7f) << shift }
            shift += 7
            if next & 0x80 == 0 { return value }
        }
    }

    /// SLEB128.
    @inlinable package mutating func sleb() throws(Fault) -> Int64 {
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

    /// As many bytes as the ULEB128 before them says.
    @inlinable package mutating func block() throws(Fault) -> ArraySlice<UInt8> {
        let count = try uleb()
        guard let size = Int(exactly: count) else { throw reader.fault("a block of \(count) bytes") }
        return reader.bytes[try next(size)]
    }

    @inlinable package mutating func string() throws(Fault) -> String {
        let start = offset
        while try byte() != 0 {}
        return String(decoding: reader.bytes[start..<(offset - 1)], as: UTF8.self)
    }

    /// A pointer in one of the `DW_EH_PE_` encodings: absolute, pc-relative or relative to `base`.
    @inlinable package mutating func pointer(encoding: UInt8, base: UInt64 = 0) throws(Fault) -> UInt64 {
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
        default: throw reader.fault("unknown pointer encoding \(encoding)")
        }
        switch encoding & 0xf0 {
        case 0x00: return value
        case 0x10: return value &+ place
        case 0x30: return value &+ base
        default: throw reader.fault("unknown pointer encoding \(encoding)")
        }
    }

    /// The index range of the next `size` bytes, which are behind the cursor from here on.
    @inlinable package mutating func next(_ size: Int) throws(Fault) -> Range<Int> {
        guard let start = UInt64(exactly: offset), let count = UInt64(exactly: size) else {
            throw reader.fault("a negative offset")
        }
        let range = try reader.range(start, count)
        offset = range.upperBound
        return range
    }
}
