import ElfFormat
import ObjectFiles
import TestSupport
import Testing

/// The table against two readers that others wrote.
@Suite struct RelocationTypeTests {
    private let known = (UInt32(0)...100).map(RelocationType.init).filter(\.isKnown)

    @Test func theTableHoldsTheTypesOfThePsABI() {
        #expect(known.map(\.rawValue) == Array(0...42))
        let unknown = RelocationType(rawValue: 200)
        #expect(!unknown.isKnown && unknown.description == "R_X86_64_(200)" && unknown.fieldSize == 0)
        #expect(unknown.calculation == .nothing && !unknown.isPCRelative && unknown.tlsModel == nil)
    }

    /// An object with one relocation of each type, as readelf prints it.
    @Test func everyNameIsTheOneThatReadelfPrints() throws {
        var writer = ObjectWriter()
        let size = UInt64(known.count * 16)
        let data = writer.addSection(
            name: ".data", flags: 3, alignment: 8, data: [UInt8](repeating: 0, count: Int(size)))
        let symbol = writer.addSymbol(name: "x", binding: .global, place: .undefined)
        for type in known {
            writer.addRelocation(
                Relocation(offset: UInt64(type.rawValue) * 16, type: type, symbol: symbol, addend: 0), to: data)
        }
        try withTemporaryDirectory { directory in
            try writer.write(to: "\(directory)/each.o")
            let lines = try runOrThrow("readelf", ["-rW", "\(directory)/each.o"]).stdout.split(separator: "\n")
            let names = lines.compactMap { $0.split(separator: " ").first { $0.hasPrefix("R_X86_64_") } }.map(
                String.init)
            #expect(names == known.map(\.description))
        }
    }

    /// What binutils itself links by.
    @Test func sizesAndDistancesAreThoseOfBinutils() throws {
        let source = """
            #define PACKAGE "x"
            #define PACKAGE_VERSION "1"
            #include <bfd.h>
            #include <stdio.h>
            int main(int argc, char **argv) {
                bfd_init();
                bfd *file = bfd_openw("/dev/null", "elf64-x86-64");
                for (int i = 1; file && i < argc; i++) {
                    reloc_howto_type *how = bfd_reloc_name_lookup(file, argv[i]);
                    if (how) printf("%s %u %u %d\\n", how->name, how->type, (unsigned)bfd_get_reloc_size(how), how->pc_relative);
                }
                return 0;
            }
            """
        try withTemporaryDirectory { directory in
            try writeText(source, to: "\(directory)/howto.c")
            let program = "\(directory)/howto"
            _ = try runOrThrow("gcc", ["-o", program, "\(directory)/howto.c", "-lbfd"])
            let lines = try runOrThrow(program, known.map(\.description)).stdout.split(separator: "\n").map(String.init)
            let ours = known.map { type in
                "\(type) \(type.rawValue) \(binutilsSize[type] ?? type.fieldSize) \(type.isPCRelative ? 1 : 0)"
            }
            #expect(lines == ours)
        }
    }

    /// A copied symbol has a size of its own, and a descriptor is of two words.
    private let binutilsSize: [RelocationType: Int] = [.copy: 4, .tlsDesc: 8]

    @Test func propertiesFollowFromTheRow() {
        #expect(known.filter(\.isDirect) == [.pc32, .abs32, .abs32s, .pc32BND])
        #expect(known.filter(\.isNear) == [.pc32, .plt32, .pc32BND, .plt32BND])
        #expect(known.filter(\.isNearSlot) == [.gotpcrel, .gotpcrelx, .rexGotpcrelx])
        #expect(known.filter(\.isFilledSlot) == [.globDat, .jumpSlot])
        #expect(
            known.filter(\.mayBePreempted)
                == [.abs64, .plt32, .gotpcrel, .gotpcrel64, .plt32BND, .gotpcrelx, .rexGotpcrelx])
        #expect(
            known.filter { $0.relaxation != nil }
                == [.tlsgd, .tlsld, .gottpoff, .gotpc32TLSDesc, .tlsDescCall, .gotpcrelx, .rexGotpcrelx])
        #expect(known.filter { $0.tlsModel == .localExec } == [.tpoff32])
        #expect(
            known.compactMap { type in type.assemblySuffix.map { "\(type.rawValue)\($0)" } } == [
                "9@GOT", "19@tlsgd", "20@tlsld", "21@dtpoff", "22@gottpoff", "23@tpoff", "28@GOT", "41@GOT", "42@GOT",
            ])
    }
}
