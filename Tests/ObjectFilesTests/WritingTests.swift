import Glibc
import ObjectFiles
import TestSupport
import Testing

@Suite struct WritingTests {
    /// Writes out again everything that was read, in its order, with relocations naming the same symbols.
    private func copy(_ object: ObjectFile) -> ObjectWriter {
        var writer = ObjectWriter()
        let kept = object.sections.dropFirst().filter { ![2, 3, 4, 17].contains($0.type) }
        var numbers: [SectionIndex: SectionIndex] = [:]
        for section in kept {
            var section = section
            section.link = 0
            numbers[section.index] = writer.addSection(section)
        }
        for symbol in object.symbols.dropFirst() {
            var symbol = symbol
            if let index = symbol.sectionIndex { symbol.place = .section(numbers[index] ?? 0) }
            writer.addSymbol(symbol)
        }
        return writer
    }

    private let program = """
        #include <stdio.h>
        static int counter = 40; static int zero[1000]; const char *names[] = {"one", "two"};
        static int step(int by) { counter += by; zero[by]++; return counter; }
        int main(int argc, char **argv) {
            (void)argv; printf("%s %d\\n", names[argc], step(argc + 1));
            switch (argc) { case 1: puts("a"); break; case 2: puts("b"); break; case 3: puts("c"); break;
            case 4: puts("d"); break; case 5: puts("e"); break; }
            return counter == 42 ? 0 : 1;
        }
        """

    @Test func writtenCopyLinksAndRuns() throws {
        try withScratch { directory in
            let path = try compile(program, ["-c", "-ffunction-sections", "-fPIE"], in: directory)
            let object = try ObjectFile.read(path: path)
            try copy(object).write(to: "\(directory)/copy.o")
            try run(["gcc", "-Wl,--fatal-warnings", "-o", "\(directory)/program", "\(directory)/copy.o"])
            try run(["sh", "-c", "test \"$(\(directory)/program)\" = \"$(printf 'two 42\\na')\""])
        }
    }

    @Test func writtenObjectReadsBackEqual() throws {
        let object = try compiled(program, ["-c", "-fPIC"])
        let bytes = try copy(object).bytes()
        let again = try ObjectFile.parse(bytes: bytes, name: "copy")
        for section in object.sections where section.isAllocated {
            let same = try #require(again.sections.first { $0.name == section.name && $0.type == section.type })
            #expect(same.data == section.data && same.size == section.size && same.flags == section.flags)
            #expect(same.alignment == section.alignment && same.entrySize == section.entrySize)
            #expect(same.relocations.map(\.offset) == section.relocations.map(\.offset))
            #expect(
                same.relocations.map { again.symbols[$0.symbol].name }
                    == section.relocations.map { object.symbols[$0.symbol].name })
        }
        #expect(again.symbols.map(\.name).sorted() == object.symbols.map(\.name).sorted())
    }

    @Test func sameContentsGiveSameBytes() throws {
        let object = try compiled(program)
        #expect(try copy(object).bytes() == copy(object).bytes())
    }

    @Test func localsComeFirstAndRelocationsFollow() throws {
        var writer = ObjectWriter()
        let text = writer.addSection(name: ".text", flags: 6, alignment: 16, data: [0xe8, 0, 0, 0, 0, 0xc3])
        let callee = writer.addSymbol(name: "callee", binding: .global, place: .undefined)
        let own = writer.addSymbol(name: "own", kind: .function, place: .section(text), size: 6)
        writer.addRelocation(Relocation(offset: 1, type: .plt32, symbol: callee, addend: -4), to: text)
        #expect(callee < own)
        let object = try ObjectFile.parse(bytes: writer.bytes(), name: "written")
        #expect(object.symbols.map(\.name) == ["", "own", "callee"])
        let relocation = try #require(object.sections[text].relocations.first)
        #expect(object.symbols[relocation.symbol].name == "callee" && relocation.addend == -4)
        #expect(object.section(named: ".symtab")?.info == 2)
        #expect(object.section(named: ".note.GNU-stack") != nil)
    }

    @Test func noBitsTakeNoRoom() throws {
        var writer = ObjectWriter()
        writer.addSection(name: ".bss", type: 8, flags: 3, alignment: 4096, size: 1 << 30)
        let bytes = try writer.bytes()
        #expect(bytes.count < 10_000)
        let object = try ObjectFile.parse(bytes: bytes, name: "written")
        #expect(try object.sections.at(1).size == 1 << 30 && object.sections.at(1).alignment == 4096)
    }

    @Test func referencesOutOfRangeAreErrors() throws {
        var writer = ObjectWriter()
        let text = writer.addSection(name: ".text", flags: 6, data: [0, 0, 0, 0])
        var late = writer
        late.addRelocation(Relocation(offset: 1, type: .pc32, symbol: 0, addend: 0), to: text)
        #expect(throws: ObjectFileError.self) { try late.bytes() }
        var unknown = writer
        unknown.addRelocation(Relocation(offset: 0, type: .pc32, symbol: 9, addend: 0), to: text)
        #expect(throws: ObjectFileError.self) { try unknown.bytes() }
        writer.addSymbol(name: "lost", place: .section(7))
        #expect(throws: ObjectFileError.self) { try writer.bytes() }
    }
}
