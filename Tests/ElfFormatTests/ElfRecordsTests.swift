import ElfFormat
import TestSupport
import Testing

private struct Fault: Error {}

@Suite struct ElfRecordsTests {
    private func reader(_ bytes: [UInt8]) -> ByteReader<Fault> { ByteReader(bytes) { _ in Fault() } }

    @Test func aSymbolsFieldsLieWhereTheGABIPutsThem() throws {
        let bytes: [UInt8] = [0x44, 0x33, 0x22, 0x11, 0x26, 3, 8, 7] + littleEndian(0x1000) + littleEndian(0x20)
        let symbol = try DynamicSymbol(reader(bytes), at: 0)
        #expect(symbol.nameOffset == 0x1122_3344 && symbol.other == 3 && symbol.section == 0x0708)
        #expect(symbol.kind == STT.threadLocal && symbol.binding == STB.weak && symbol.isDefined)
        #expect(symbol.value == 0x1000 && symbol.size == 0x20)
        #expect(throws: Fault.self) { try DynamicSymbol(reader(bytes), at: 1) }
    }

    @Test func aRelocationsFieldsLieWhereTheGABIPutsThem() throws {
        let bytes = littleEndian(0x2000) + littleEndian(5 << 32 | 7) + littleEndian(.max)
        let table = try DynamicRelocation.table(reader(bytes + bytes))
        let one = try #require(table.first)
        #expect(
            table.count == 2 && one.offset == 0x2000 && one.type == .jumpSlot && one.symbol == 5 && one.addend == -1)
        #expect(throws: Fault.self) { try DynamicRelocation.table(reader(bytes + [0])) }
    }

    @Test func headersOfAProgramAreReadAndOthersAreRefused() throws {
        let file = reader(readBytes("/proc/self/exe"))
        let header = try ElfHeader(file)
        let segments = try (0..<UInt64(header.programHeaderCount)).map {
            try ProgramHeader(file, at: header.programHeaderOffset + $0 * ProgramHeader.size)
        }
        #expect(segments.contains { $0.type == PT.load && $0.isExecutable && !$0.isWritable })
        #expect(segments.contains { $0.type == PT.dynamic })
        // EI_CLASS, e_type, e_machine, e_phentsize.
        for place in [4, 16, 18, 54] {
            var bytes = file.bytes
            bytes[place] ^= 0x40
            #expect(throws: Fault.self) { try ElfHeader(reader(bytes)) }
        }
        #expect(throws: Fault.self) { try ElfHeader(reader(Array(file.bytes.prefix(50)))) }
    }
}
