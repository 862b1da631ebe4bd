import ObjectFiles
import TestSupport
import Testing

/// Compiles with debug info and gives the one unit.
func debugUnit(_ source: String, _ flags: [String] = ["-c", "-g"], suffix: String = "c") throws -> DebugUnit {
    try withScratch { directory in
        let info = try DebugInfo.read(path: compile(source, flags, in: directory, suffix: suffix))
        return try #require(info.units.first)
    }
}

@Suite struct DebugInfoTests {
    static let types = """
        struct bits { int a : 3; unsigned b : 7; char c; long d : 40; };
        typedef struct { int number; struct { short x, y; } point; union { float f; int i; }; struct bits *next; } T;
        enum color { RED = 1, GREEN = 200, BLUE = -1 };
        struct holder { T t; enum color color; const char name[16]; void (*call)(struct holder *, int); };
        struct holder h; struct opaque; struct opaque *o; struct bits b;
        """

    @Test(arguments: ["-gdwarf-4", "-gdwarf-5"])
    func layoutsAreReadFromBothVersions(_ version: String) throws {
        let unit = try debugUnit(Self.types, ["-c", version])
        #expect(unit.producer.hasPrefix("GNU C17") && !unit.compilationDirectory.isEmpty && !unit.hasLTO)
        let bits = try #require(unit.types["struct bits"])
        #expect(bits.members.map(\.name) == ["a", "b", "c", "d"])
        #expect(bits.members.map { $0.offset * 8 + $0.bitOffset } == [0, 3, 16, 24])
        #expect(bits.members.map(\.bitSize) == [3, 7, nil, 40])
        let named = try #require(unit.types["T"])
        #expect(named.size == 24 && named.members.map(\.offset) == [0, 4, 8, 16])
        guard case .anonymous(let point) = try named.members.at(1).type else {
            Issue.record("point is \(named.members[1].type)")
            return
        }
        #expect(point.kind == .structure && point.members.map(\.name) == ["x", "y"])
        let color = try #require(unit.types["enum color"])
        #expect(color.enumerators.map(\.value) == [1, 200, -1])
        let holder = try #require(unit.types["struct holder"])
        #expect(
            holder.members.map(\.type.description) == [
                "T", "enum color", "char [16]", "void (*)(struct holder *, int)",
            ])
        #expect(holder.members.map(\.type.size) == [24, 4, 16, 8])
        #expect(unit.types["struct opaque"] == nil)
    }

    static let inlining = """
        extern int sink(int); int grow(int n);
        static inline __attribute__((always_inline)) int deep(int x) { return sink(x) + 1; }
        static inline __attribute__((always_inline)) int shallow(int x) { return deep(x) * 2; }
        int outer(int x) { return shallow(x) + sink(3); }
        static __attribute__((noinline)) int alone(int x) { return sink(x); }
        int grow(int n) { return alone(n + 1); }
        """

    @Test func inlinedCopiesNameTheirContainer() throws {
        let unit = try debugUnit(Self.inlining)
        let copies = unit.inlined.filter { $0.container == "outer" }.map(\.function)
        #expect(Set(copies) == ["deep", "shallow"])
        #expect(!unit.inlined.contains { $0.function == "alone" })
        #expect(Set(unit.functions.map(\.name)).isSuperset(of: ["outer", "alone", "grow"]))
        #expect(!unit.functions.contains { $0.name == "deep" || $0.name == "sink" })
    }

    /// The ranges in an object's debug info are relocations: unapplied, every function would begin at 0.
    @Test func functionsOfAnObjectHaveSectionAndOffset() throws {
        try withScratch { directory in
            let path = try compile(Self.inlining, ["-c", "-g", "-ffunction-sections"], in: directory)
            let object = try ObjectFile.read(path: path)
            let unit = try #require(try DebugInfo.read(path: path).units.first)
            for function in unit.functions {
                let symbol = try #require(object.symbols.first { $0.name == function.name })
                let range = try #require(function.ranges.first)
                #expect(
                    range.section == symbol.sectionIndex && range.start == symbol.value && range.size == symbol.size)
            }
        }
    }

    @Test func linkedFileAndSeparateDebugFileAgree() throws {
        try withScratch { directory in
            let path = try compile(Self.inlining, ["-shared", "-fPIC", "-g"], in: directory, as: "lib.so")
            try run(["objcopy", "--only-keep-debug", path, "\(directory)/lib.debug"])
            try run(["strip", "-g", path, "-o", "\(directory)/stripped.so"])
            let whole = try DebugInfo.read(path: path)
            let debug = try DebugInfo.read(path: "\(directory)/lib.debug")
            #expect(whole.units.first?.functions == debug.units.first?.functions)
            #expect(whole.units.first?.inlined == debug.units.first?.inlined)
            let outer = try #require(debug.units.first?.functions.first { $0.name == "outer" })
            let symbol = try #require(try ObjectFile.read(path: path).symbols.first { $0.name == "outer" })
            #expect(outer.ranges.first == CodeRange(start: symbol.value, size: symbol.size))
            #expect(try DebugInfo.read(path: "\(directory)/stripped.so").units.isEmpty)
            let debugFile = try ObjectFile.read(path: "\(directory)/lib.debug")
            #expect(debugFile.isDebugOnly && debugFile.bytes(address: symbol.value, size: 4) == nil)
        }
    }

    @Test(.needs("dwz")) func alternateFileMayBeThereOrNot() throws {
        try withScratch { directory in
            for name in ["one", "two"] {
                let source = Self.types + "int \(name)(int x) { return x + h.color; }"
                try compile(source, ["-shared", "-fPIC", "-g"], in: directory, as: name)
            }
            try run(["dwz", "-m", "\(directory)/alt", "-r", "\(directory)/one", "\(directory)/two"])
            let info = try DebugInfo.read(path: "\(directory)/one")
            #expect(!info.lacksAlternate)
            #expect(info.units.first?.types["struct holder"]?.members.count == 4)
            #expect(info.units.first?.functions.map(\.name) == ["one"])
            try run(["rm", "\(directory)/alt"])
            let lone = try DebugInfo.read(path: "\(directory)/one")
            #expect(lone.lacksAlternate && lone.units.count == 1)
        }
    }

    /// Debug packages have the alternate file by its absolute path, which stands for one below where they are unpacked.
    @Test(.needs("dwz")) func alternateFileIsFoundBelowAnUnpackedRoot() throws {
        try withScratch { directory in
            let debug = "\(directory)/usr/lib/debug"
            try run(["mkdir", "-p", debug])
            for name in ["one", "two"] {
                let source = Self.types + "int \(name)(int x) { return x + h.color; }"
                let path = try compile(source, ["-shared", "-fPIC", "-g"], in: directory, as: name)
                try run(["mv", path, "\(debug)/\(name)"])
            }
            let link = "/usr/lib/debug/.dwz-of-a-test"
            try run(["dwz", "-m", "\(debug)/.dwz-of-a-test", "-M", link, "\(debug)/one", "\(debug)/two"])
            let info = try DebugInfo.read(path: "\(debug)/one")
            #expect(!info.lacksAlternate && info.units.first?.types["struct holder"] != nil)
        }
    }

    @Test func ltoUnitsAreTold() throws {
        let made = try debugUnit("int f(void) { return 1; }", ["-c", "-g", "-flto", "-ffat-lto-objects"])
        let plain = try debugUnit("int f(void) { return 1; }", ["-c", "-g", "-flto", "-fno-lto"])
        #expect(made.hasLTO && !plain.hasLTO)
    }

    @Test func cPlusPlusNamesAreQualified() throws {
        let unit = try debugUnit(
            """
            namespace ns { class Base { public: virtual ~Base() {} int b; }; struct D : Base { static int s; int d; };
            enum class E : char { A }; } ns::D d; ns::E e; int ns_f(ns::D *x) { return x->d + d.b; }
            """, suffix: "cc")
        #expect(unit.isCPlusPlus && unit.types["class ns::Base"]?.size == 16)
        #expect(unit.types["struct ns::D"]?.members.map(\.name) == ["class ns::Base", "d"])
        #expect(unit.types["enum ns::E"]?.size == 1)
        #expect(unit.functions.contains { $0.name == "ns_f" && $0.linkageName == "_Z4ns_fPN2ns1DE" })
    }

    @Test func fileWithoutDebugInfoHasNoUnits() throws {
        let info = try withScratch { try DebugInfo.read(path: compile("int x;", in: $0)) }
        #expect(info.units.isEmpty)
    }

    @Test(arguments: [["-c", "-g", "-fPIC"], ["-shared", "-fPIC", "-g"]])
    func damagedDebugInfoNeverCrashes(_ flags: [String]) throws {
        let source = Self.types + Self.inlining
        let whole = try withScratch { try readAll(compile(source, flags, in: $0)) }
        let file = try ObjectFile.parse(bytes: whole, name: "whole")
        let debug = file.sections.filter { $0.name.contains(".debug_") && $0.size > 0 }
        var generator = SplitMix(state: 3)
        for _ in 0..<300 {
            var damaged = whole
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let section = try #require(debug.randomElement(using: &generator))
                let place = Int(section.fileOffset) + Int.random(in: 0..<Int(section.size), using: &generator)
                damaged[place] = .random(in: 0...255, using: &generator)
            }
            _ = try? DebugInfo.parse(bytes: damaged, name: "damaged")
        }
        for length in stride(from: 0, to: whole.count, by: 512) {
            _ = try? DebugInfo.parse(bytes: Array(whole.prefix(length)), name: "truncated")
        }
    }
}
