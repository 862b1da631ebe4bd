import Diagnostics
import PatchFormat
import TestSupport
import Testing

@testable import Guarding
@testable import PatchBuilding
@testable import Recompiling
@testable import Targets

/// Which targets must be patched together, from what a build makes of them.
@Suite struct GroupBuildTests {
    /// `served` and `other` are programs of one unit each and of `unit.c`; `served` calls `libx.so`.
    private static let sources = [
        "x.h": "int f(int);\n#define FACTOR 3\nstruct box { int size; };\n",
        "x.c":
            "#include \"x.h\"\nint g(int);\nstruct box *kept;\nint g(int x) { return (kept ? kept->size : 0) + x * 5 ^ x >> 2; }\nint f(int x) { return x * 7 ^ x << 3; }\n",
        "unit.h": "int step(int);\n",
        "unit.c": "#include \"unit.h\"\nint step(int x) { return x * 11 ^ x << 4; }\n",
        "served.c": """
        #include "x.h"
        #include "unit.h"
        __attribute__((noinline)) static int serve(int x) { struct box box = {x}; return f(box.size) + 1; }
        int main(int c, char **v) { (void)v; return serve(c) + step(c); }

        """,
        "other.c": "#include \"unit.h\"\nint main(int c, char **v) { (void)v; return step(c) * 3; }\n",
    ]

    /// Groups by the files' names, after `edits` (file, text, its replacement).
    private func groups(
        _ edits: [(String, String, String)], targets: [String] = ["served", "libx.so", "other"],
        allowed: [AllowedRule] = []
    ) async throws -> (groups: [[String]], notes: [String]) {
        var tree = try SourceTree(Self.sources)
        defer { tree.remove() }
        for name in ["served.c", "other.c", "unit.c"] { tree.add(name, ["-O2", "-g"]) }
        tree.add("x.c", ["-O2", "-g", "-fPIC"])
        try tree.build()
        try runOrThrow("gcc", ["-shared", "x.o", "-Wl,-soname,libx.so", "-o", "libx.so"], in: tree.root)
        try runOrThrow("gcc", ["served.o", "unit.o", "-L.", "-lx", "-o", "served"], in: tree.root)
        try runOrThrow("gcc", ["other.o", "unit.o", "-o", "other"], in: tree.root)
        let entries = tree.units.map { unit in
            let arguments = unit.arguments.map { "\"\($0)\"" }.joined(separator: ",")
            return "{\"directory\":\"\(unit.directory)\",\"file\":\"\(unit.file)\",\"arguments\":[\(arguments)]}"
        }
        try tree.write("[\(entries.joined(separator: ","))]", to: "compile_commands.json")
        try runOrThrow("cp", ["-a", tree.root, tree.scratch + "/b"])
        for (file, old, new) in edits {
            let path = tree.scratch + "/b/" + file
            try writeText(readText(path).replacing(old, with: new), to: path)
        }
        var options = BuildOptions(
            input: .newSource(source: tree.root, compileCommands: nil, newSource: tree.scratch + "/b"),
            targets: targets.map { TargetFiles(path: tree.root + "/" + $0, symbols: nil) },
            output: "fix.lpatch")
        options.allowed = allowed
        let built = try await buildBundle(options)
        return (built.manifest.targetGroups.map { $0.map(\.file) }, built.notes)
    }

    @Test func `programs that share a unit are taken alone`() async throws {
        let built = try await groups([("unit.c", "x << 4", "x << 5")])
        #expect(built.groups == [["served"], ["other"]])
        #expect(built.notes.contains("served may be patched alone"))
    }

    @Test func `a library that changes behind old calls is taken alone, and so is the program`() async throws {
        let built = try await groups([("x.c", "x << 3", "x << 5"), ("unit.c", "x << 4", "x << 5")])
        #expect(built.groups == [["served"], ["libx.so"], ["other"]])
    }

    @Test func `new code that calls what changes in a library is taken with it`() async throws {
        let built = try await groups([
            ("x.c", "x << 3", "x << 5"), ("served.c", "(box.size) + 1", "(box.size + 1) + 2"),
        ])
        #expect(built.groups == [["served", "libx.so"], ["libx.so"]])
        #expect(built.notes.contains("served is patched together with libx.so"))
    }

    @Test func `what it calls may stay and call what changes`() async throws {
        let built = try await groups([
            ("x.c", "x >> 2", "x >> 3"), ("served.c", "(box.size) + 1", "(box.size + 1) + 2"),
        ])
        #expect(built.groups == [["served", "libx.so"], ["libx.so"]])
    }

    @Test func `new code that calls nothing of the library is taken alone`() async throws {
        let built = try await groups([("x.c", "x >> 2", "x >> 3"), ("unit.c", "x << 4", "x << 5")])
        #expect(built.groups == [["served"], ["libx.so"], ["other"]])
    }

    @Test func `a function that is called in another way couples the library to its program`() async throws {
        let built = try await groups([
            ("x.h", "f(int)", "f(int, int)"), ("x.c", "int f(int x) { return x", "int f(int x, int y) { return y + x"),
            ("served.c", "(box.size) + 1", "(box.size, x) + 1"), ("unit.c", "x << 4", "x << 5"),
        ])
        #expect(built.groups == [["served", "libx.so"], ["other"]])
    }

    @Test func `a number that both sides know couples them`() async throws {
        let built = try await groups([
            ("x.h", "FACTOR 3", "FACTOR 4"), ("x.c", "x * 5", "x * FACTOR"),
            ("served.c", "(box.size) + 1", "(box.size) + FACTOR"),
        ])
        #expect(built.groups == [["served", "libx.so"]])
    }

    @Test func `a type whose layout changes by decision couples all that know it`() async throws {
        let rule = try AllowedRule("type-layout=struct box")
        let built = try await groups(
            [
                ("x.h", "int size; };", "int size; int used; };"), ("x.c", "x << 3", "x << 5"),
                ("served.c", "(box.size) + 1", "(box.size + 1) + 2"), ("unit.c", "x << 4", "x << 5"),
            ], allowed: [rule])
        #expect(built.groups == [["served", "libx.so"], ["other"]])
    }

    @Test func `one target's bundle says nothing of groups`() async throws {
        let built = try await groups([("unit.c", "x << 4", "x << 5")], targets: ["other"])
        #expect(built.groups == [["other"]])
        #expect(!built.notes.contains { $0.contains("patched") })
    }
}
