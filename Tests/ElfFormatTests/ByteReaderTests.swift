import Testing

@testable import ElfFormat

private struct Fault: Error, Equatable { var why: String }

@Suite struct ByteReaderTests {
    private func reader(_ bytes: [UInt8]) -> ByteReader<Fault> { ByteReader(bytes) { Fault(why: $0) } }

    @Test func integersAreReadLittleEndian() throws {
        let bytes = reader([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88, 0xff])
        #expect(try bytes.u16(0) == 0x0201 && bytes.u32(1) == 0x0504_0302)
        #expect(try bytes.u64(0) == 0x8807_0605_0403_0201 && bytes.u8(8) == 0xff)
        #expect(try bytes.i64(0) < 0)
    }

    @Test func aReadOutsideTheBytesIsAFaultNotATrap() {
        let bytes = reader([1, 2, 3, 4])
        for offset: UInt64 in [1, 4, 5, 1 << 40, .max - 2, .max] {
            #expect(throws: Fault.self) { try bytes.u32(offset) }
            #expect(throws: Fault.self) { try bytes.slice(offset, .max) }
            #expect(throws: Fault.self) { try bytes.string(offset) }
        }
        #expect(throws: Fault(why: "4 bytes at offset 0x2 lie outside its 0x4 bytes")) { try bytes.u32(2) }
    }

    @Test func anUnendedStringIsAFault() throws {
        #expect(try reader([0x61, 0x62, 0]).string(1) == "b")
        #expect(throws: Fault.self) { try reader([0x61, 0x62]).string(0) }
    }

    @Test func storesStayInside() throws {
        var bytes = reader([0, 0, 0, 0])
        try bytes.store(0x0102_0304, size: 2, at: 2)
        #expect(bytes.bytes == [0, 0, 4, 3])
        #expect(throws: Fault.self) { try bytes.store(1, size: 8, at: 0) }
        #expect(bytes.bytes == [0, 0, 4, 3])
    }

    @Test func aCursorReadsOneAfterTheOther() throws {
        var cursor = ByteCursor(reader([0xe5, 0x8e, 0x26, 0x7f, 0x02, 0xaa, 0xbb, 0x61, 0, 0xfe, 0xff]), at: 0x1000)
        #expect(try cursor.uleb() == 624_485)
        #expect(try cursor.sleb() == -1)
        #expect(try Array(cursor.block()) == [0xaa, 0xbb])
        #expect(try cursor.string() == "a")
        #expect(try cursor.signed(2) == -2)
        #expect(cursor.isAtEnd)
        #expect(throws: Fault.self) { try cursor.byte() }
    }

    @Test func pointersCountFromWhereTheyLie() throws {
        var cursor = ByteCursor(reader([0, 0xfc, 0xff, 0xff, 0xff, 8, 0, 0, 0]), at: 0x1000)
        _ = try cursor.byte()
        #expect(try cursor.pointer(encoding: 0x1b) == 0x0ffd)
        #expect(try cursor.pointer(encoding: 0x33, base: 0x2000) == 0x2008)
        #expect(throws: Fault.self) { try cursor.pointer(encoding: 0x07) }
    }

    @Test func aBlockThatIsTooLongIsAFault() {
        var cursor = ByteCursor(reader([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), at: 0)
        #expect(throws: Fault.self) { try cursor.block() }
    }
}
