import ElfFormat
import ObjectFiles
import Testing

@Suite struct ReadingTests {
    @Test func relocationsAreSortedAndNameTheirSymbols() throws {
        let object = try compiled(
            """
            extern int puts(const char *); extern int counter;
            int step(void) { puts("a"); counter += 2; return puts("b"); }
            """, ["-c", "-fPIC"])
        #expect(object.kind == .relocatable)
        let text = try #require(object.sections.first { $0.name == ".text" && !$0.relocations.isEmpty })
        #expect(text.relocations.map(\.offset) == text.relocations.map(\.offset).sorted())
        let puts = try #require(object.symbols.first { $0.name == "puts" })
        #expect(puts.place == .undefined && puts.binding == .global)
        #expect(text.relocations.contains { $0.symbol == puts.index && $0.type == .plt32 && $0.addend == -4 })
        #expect(text.relocations.contains { object.symbols[$0.symbol].name == "counter" && $0.type == .rexGotpcrelx })
        let step = try #require(object.symbols.first { $0.name == "step" })
        #expect(step.kind == .function && step.sectionIndex == text.index && step.size > 0)
        #expect(object.symbols(in: text.index).contains(step))
    }

    @Test func sectionsKeepTheirDataAndFlags() throws {
        let object = try compiled("int value = 0x01020304; int zero[100]; const char text[] = \"hello\";")
        let data = try #require(object.section(named: ".data"))
        #expect(data.data == [4, 3, 2, 1] && data.isWritable && data.isAllocated && !data.isExecutable)
        let bss = try #require(object.section(named: ".bss"))
        #expect(bss.isNoBits && bss.size == 400 && bss.data.isEmpty)
        let rodata = try #require(object.section(named: ".rodata"))
        #expect(rodata.data == Array("hello\0".utf8) && !rodata.isWritable)
        #expect(object.sections.enumerated().allSatisfy { $0 == $1.index })
    }

    @Test func comdatMembersCarryTheirSignature() throws {
        let object = try compiled(
            "template<class T> T twice(T x) { return x * 2; } template int twice<int>(int);", ["-c"], suffix: "cc")
        let section = try #require(object.section(named: ".text._Z5twiceIiET_S0_"))
        #expect(section.comdat == "_Z5twiceIiET_S0_")
        #expect(object.section(named: ".text")?.comdat == nil)
    }

    @Test func commonAbsoluteAndThreadLocalSymbolsAreTold() throws {
        let object = try compiled(
            "int shared; _Thread_local int mine = 1; asm(\".globl fixed\\n.set fixed, 0x1234\");", ["-c", "-fcommon"])
        let byName = Dictionary(object.symbols.map { ($0.name, $0) }) { first, _ in first }
        #expect(byName["shared"]?.place == .common)
        #expect(byName["fixed"]?.place == .absolute && byName["fixed"]?.value == 0x1234)
        #expect(byName["mine"]?.kind == .threadLocal)
    }

    @Test func manySectionsUseExtendedIndices() throws {
        let functions = (0..<66_000).map { ".section .text.f\($0),\"ax\"\nf\($0): ret\n" }.joined()
        let object = try withScratch { directory in
            try write(functions.utf8, to: "\(directory)/many.s")
            try run(["as", "-o", "\(directory)/many.o", "\(directory)/many.s"])
            return try ObjectFile.read(path: "\(directory)/many.o")
        }
        let last = try #require(object.symbols.first { $0.name == "f65999" })
        let section = try #require(last.sectionIndex)
        #expect(section > 0xff00 && object.sections[section].name == ".text.f65999")
    }

    @Test func libraryHasSegmentsDynamicRelocationsAndBuildID() throws {
        let library = try compiled(
            "extern int puts(const char *); static int own = 7; int *pointer = &own; int say(void) { return puts(\"x\"); }",
            ["-shared", "-fPIC", "-Wl,--build-id=0x00ff1a2b"])
        #expect(library.kind == .sharedObject && library.buildID == "00ff1a2b")
        #expect(library.segments.contains { $0.type == 1 && $0.flags & 1 == 1 })
        let pointer = try #require(library.dynamicSymbols.first { $0.name == "pointer" })
        let relocation = try #require(library.dynamicRelocation(at: pointer.value))
        #expect(relocation.type == .relative)
        #expect(library.bytes(address: UInt64(relocation.addend), size: 4) == [7, 0, 0, 0])
        let puts = try #require(
            library.dynamicRelocations.first {
                $0.type == .jumpSlot
                    || $0.type == .globDat
                        && library.dynamicSymbols[$0.symbol].name == "puts"
            })
        let symbol = library.dynamicSymbols[puts.symbol]
        #expect(symbol.name == "puts" && symbol.version == "GLIBC_2.2.5" && symbol.versionLibrary == "libc.so.6")
    }

    @Test func bytesStopAtTheSegmentsEnds() throws {
        let library = try compiled("char big[5000]; char full[10] = \"123456789\";", ["-shared", "-fPIC"])
        let full = try #require(library.dynamicSymbols.first { $0.name == "full" })
        #expect(library.bytes(address: full.value, size: 10) == Array("123456789\0".utf8))
        let big = try #require(library.dynamicSymbols.first { $0.name == "big" })
        #expect(library.bytes(address: big.value, size: 5000) == [UInt8](repeating: 0, count: 5000))
        #expect(library.bytes(address: 0x7fff_ffff_0000, size: 1) == nil)
        #expect(library.bytes(address: UInt64.max, size: 2) == nil)
        #expect(library.bytes(address: full.value, size: Int.max) == nil)
        #expect(library.bytes(address: full.value, size: -1) == nil)
    }

    @Test func definedVersionsTellDefaultFromHidden() throws {
        let library = try withScratch { directory in
            try write("OLD { global: f; local: *; }; NEW { global: f; } OLD;".utf8, to: "\(directory)/map")
            let path = try compile(
                """
                __attribute__((symver("f@OLD"))) int f_old(void) { return 1; }
                __attribute__((symver("f@@NEW"))) int f_new(void) { return 2; }
                """, ["-shared", "-fPIC", "-Wl,--version-script=\(directory)/map"], in: directory, as: "lib.so")
            return try ObjectFile.read(path: path)
        }
        let versions = library.dynamicSymbols.filter { $0.name == "f" }
        #expect(versions.contains { $0.version == "OLD" && $0.versionHidden })
        #expect(versions.contains { $0.version == "NEW" && !$0.versionHidden && $0.versionLibrary == nil })
    }

    @Test func packedRelativeRelocationsAreUnpacked() throws {
        let source = "static int a[200]; int *p[100] = { [0 ... 99] = &a[3] }; int f(void) { return *p[9]; }"
        let packed = try compiled(source, ["-shared", "-fPIC", "-Wl,-z,pack-relative-relocs"])
        #expect(packed.section(named: ".relr.dyn") != nil)
        let array = try #require(packed.dynamicSymbols.first { $0.name == "p" })
        let own = packed.dynamicRelocations.filter { $0.offset >= array.value && $0.offset < array.value + 800 }
        #expect(own.map(\.offset) == (0..<100).map { array.value + 8 * $0 })
        let target = try #require(packed.symbols.first { $0.name == "a" })
        #expect(own.allSatisfy { $0.type == .relative && $0.addend == Int64(target.value) + 12 })
    }

    @Test func staticExecutableHasIndirectRelocationsWithoutSymbols() throws {
        let program = try compiled("int main(void) { return 0; }", ["-static", "-no-pie"])
        #expect(program.kind == .executable && program.dynamicSymbols.isEmpty)
        #expect(program.dynamicRelocations.contains { $0.type == .irelative && $0.symbol == 0 })
    }

    @Test func ltoObjectsAreTold() throws {
        let made = try compiled("int f(void) { return 1; }", ["-c", "-flto"])
        let plain = try compiled("int f(void) { return 1; }")
        #expect(made.hasLTO && !plain.hasLTO)
    }

    @Test func relocationTypesHaveTheirPsABINames() {
        #expect(RelocationType.pc32.description == "R_X86_64_PC32" && RelocationType.pc32.fieldSize == 4)
        #expect(RelocationType.abs64.description == "R_X86_64_64" && RelocationType.abs64.fieldSize == 8)
        #expect(RelocationType.rexGotpcrelx.description == "R_X86_64_REX_GOTPCRELX")
        #expect(RelocationType(rawValue: 200).description == "R_X86_64_(200)")
        #expect(RelocationType.irelative.rawValue == 37 && RelocationType.tlsDesc.description == "R_X86_64_TLSDESC")
    }
}
