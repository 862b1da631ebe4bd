import Testing

@testable import Targets

/// Units that have variables and no functions in the target.
@Suite struct DataUnitTests {
    private static let sources = [
        "a.c": "extern const int table[4]; extern int level; int work(int x) { return table[x & 3] + level; }",
        "t.c": "const int table[4] = {1, 2, 3, 4}; int level = 7; int unused = 8;", "m.c": Patching.main("work"),
    ]
    private static let code = ("+ level", "+ level * 2")

    private func rules(_ edit: (String, String), flags: [String] = ["-O2"], link: [String] = []) throws -> [String] {
        try Patching(Self.sources, ["a.c": [Self.code], "t.c": [edit]], flags: flags, link: link).rules
    }

    @Test func `a changed constant of a unit without functions is not passed over`() throws {
        #expect(try rules(("{1, 2", "{1, 5")) == ["changed-constant-escapes"])
        #expect(try rules(("{1, 2", "{1, 5"), flags: ["-O2", "-g"]) == ["changed-constant-escapes"])
        #expect(try Patching(Self.sources, ["a.c": [Self.code]]).functions == ["work"])
    }

    @Test func `a changed variable of a unit without functions is not passed over`() throws {
        #expect(try rules(("level = 7", "level = 9")) == ["data-initial-value"])
        #expect(try rules(("table[4]", "table[8]")).contains("changed-constant-escapes"))
    }

    @Test func `a variable that the linker has thrown away with its section may change`() throws {
        let split = ["-O2", "-ffunction-sections", "-fdata-sections"]
        let patching = try Patching(
            Self.sources, ["a.c": [Self.code], "t.c": [("unused = 8", "unused = 9")]], flags: split,
            link: ["-Wl,--gc-sections"])
        #expect(patching.target.definitions(of: "unused").isEmpty)
        #expect(patching.functions == ["work"])
    }

    @Test func `a new variable of a unit without functions travels`() throws {
        let patching = try Patching(
            Self.sources,
            [
                "a.c": [("+ level", "+ fresh[x & 1]"), ("extern int", "extern const int fresh[2]; extern int")],
                "t.c": [("", "\nextern const int fresh[2]; const int fresh[2] = {5, 6};\n")],
            ])
        #expect(patching.functions == ["work"])
    }

    @Test func `a unit of entries of a linker's set alone is not passed over`() throws {
        var sources = Self.sources
        let entry = "static const int NAME __attribute__((section(\"marks\"), used)) = 1;\n"
        sources["s.c"] = entry.replacing("NAME", with: "one") + entry.replacing("NAME", with: "two")
        sources["a.c"] =
            "extern const int __start_marks[], __stop_marks[]; extern int level;\n"
            + "int work(int x) { return (int)(__stop_marks - __start_marks) + x + level; }"
        let removed = (entry.replacing("NAME", with: "two"), "")
        #expect(try Patching(sources, ["a.c": [Self.code], "s.c": [removed]]).rules == ["constructors"])
        #expect(try Patching(sources, ["a.c": [Self.code], "s.c": [("", "/* more */")]]).functions == ["work"])
    }

    @Test func `changed data counts where the linker has thrown away the functions that change`() throws {
        var sources = Self.sources
        sources["t.c"] =
            "const int table[4] = {1, 2, 3, 4}; int level = 7; int gone(int x) { return x * 3; }\n"
            + "int kept(int x) { return x * 5; }"
        sources["m.c"] = Patching.main("work", "kept")
        let split = ["-O2", "-ffunction-sections", "-fdata-sections"]
        func rules(_ edits: [(String, String)]) throws -> [String] {
            let patching = try Patching(
                sources, ["a.c": [Self.code], "t.c": edits], flags: split, link: ["-Wl,--gc-sections"])
            return patching.rules + patching.functions
        }
        #expect(try rules([("x * 3", "x * 7")]) == ["work"])
        #expect(try rules([("x * 3", "x * 7"), ("{1, 2", "{1, 5")]) != ["work"])
    }
}
