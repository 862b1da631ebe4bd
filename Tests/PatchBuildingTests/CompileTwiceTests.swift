import Diagnostics
import ObjectFiles
import SourceChanges
import TestSupport
import Testing
import Toolchain

@testable import Recompiling

private let lines = """
    int printf(const char *, ...);
    int f(int x) { return x + 1; }
    int g(int x) { return printf("%s:%d", __FILE__, __LINE__) + x; }
    static int h(int x) { return x * __LINE__; }
    int i(int x) { return h(x); }

    """

private func compiled(
    _ tree: SourceTree, _ texts: [String: String?], database: CompileDatabase? = nil
) async throws -> CompiledUnits {
    try await compileTwice(tree.units, change: tree.change(texts), scratch: tree.scratch, database: database)
}

/// The code of one function, as the disassembler prints it.
private func code(_ object: String, _ section: String) throws -> String {
    let text = try runOrThrow("objdump", ["-dr", "--no-show-raw-insn", "-j", section, object]).stdout
    return text.split(separator: "\n").dropFirst(2).joined(separator: "\n")
}

@Test func `three objects are made and the tree is not written`() async throws {
    var tree = try SourceTree(["a.c": lines])
    defer { tree.remove() }
    tree.add("a.c", ["-O2", "-MD", "-MF", "a.d", "-MMD"])
    let before = try files(below: tree.root)
    let unit = try #require(try await compiled(tree, ["a.c": lines.replacing("x + 1", with: "x + 2")]).units.first)
    #expect(try files(below: tree.root) == before)
    #expect(try code(unit.originalObject, ".text.f") != code(unit.newObject, ".text.f"))
    #expect(try code(unit.originalObject, ".text.g") == code(unit.newObject, ".text.g"))
    let sections = try runOrThrow("readelf", ["-SW", unit.plainObject]).stdout
    #expect(!sections.contains(".text.f") && !sections.contains(".debug_info"))
    #expect(try runOrThrow("readelf", ["-SW", unit.newObject]).stdout.contains(".debug_info"))
}

@Test func `trap short-jumps: the plain object is the one the build makes`() async throws {
    var tree = try SourceTree(["a.c": lines])
    defer { tree.remove() }
    tree.add("a.c", ["-O2", "-g"])
    try tree.build()
    let unit = try #require(try await compiled(tree, ["a.c": lines + "int z;\n"]).units.first)
    #expect(!unit.reused)
    let made = tree.root + "/a.o"
    if Machine.overlayObstacle != nil {
        // A copy is compiled with -H, to see what it reads, and the debug information names that option.
        for object in [unit.plainObject, made] { try runOrThrow("objcopy", ["--strip-debug", object]) }
    }
    #expect(readBytes(unit.plainObject) == readBytes(made))
}

@Test func `trap line-pinning: added lines change no other function`() async throws {
    var tree = try SourceTree(["a.c": lines])
    defer { tree.remove() }
    tree.add("a.c")
    let new = lines.replacing("int f(int x) {", with: "int f(int x)\n{\n    if (x) return 7;\n")
    let unit = try #require(try await compiled(tree, ["a.c": new]).units.first)
    #expect(unit.pinned)
    for section in [".text.g", ".text.i"] {
        #expect(try code(unit.originalObject, section) == code(unit.newObject, section))
    }
    #expect(try code(unit.originalObject, ".text.f") != code(unit.newObject, ".text.f"))
}

@Test func `trap line-pinning: in either branch of a conditional`() async throws {
    let text =
        "int printf(const char *, ...);\n#ifdef A\nint f(void) { return 1; }\n#else\nint f(void) { return 2; }\n#endif\n"
    let tail = "int g(void) { return __LINE__; }\n"
    var tree = try SourceTree(["a.c": text + tail])
    defer { tree.remove() }
    tree.add("a.c", ["-O2", "-DA"], output: "a1.o")
    tree.add("a.c", ["-O2"], output: "a2.o")
    let new = text.replacing("#ifdef A\n", with: "#ifdef A\nint n1;\nint n2;\n").replacing(
        "#else\n", with: "#else\nint n3;\n")
    for unit in try await compiled(tree, ["a.c": new + tail]).units {
        #expect(try code(unit.originalObject, ".text.g") == code(unit.newObject, ".text.g"))
        #expect(try code(unit.originalObject, ".text.f") == code(unit.newObject, ".text.f"))
    }
}

@Test func `trap line-pinning: case labels and names made of the line stay unique`() async throws {
    let text = """
        #define CAT2(a, b) a##b
        #define CAT(a, b) CAT2(a, b)
        int CAT(v, __LINE__);
        int f(int *s) { switch (*s) { case 0:
        *s = __LINE__; return 0; case __LINE__:
        *s = __LINE__; return 1; case __LINE__: ; } return 2; }

        """
    var tree = try SourceTree(["a.c": text])
    defer { tree.remove() }
    tree.add("a.c")
    let new = text.replacing("int CAT", with: "int CAT(v, __LINE__);\nint CAT(v, __LINE__);\nint CAT")
        .replacing("case 0:\n", with: "case 0:\n*s = __LINE__; return 0; case __LINE__:\n")
    let unit = try #require(try await compiled(tree, ["a.c": new]).units.first)
    #expect(unit.pinned)
}

@Test func `trap line-pinning: on a compile error the unit is compiled without`() async throws {
    // The preprocessor refuses line numbers beyond 32767 here.
    var tree = try SourceTree(["a.c": "int a;\nint b;\n"])
    defer { tree.remove() }
    tree.add("a.c", ["-O2", "-std=c89", "-pedantic-errors"])
    let result = try await compiled(tree, ["a.c": "int a;\nint c;\nint d;\nint b;\n"])
    #expect(result.units.map(\.pinned) == [false])
    #expect(result.notes == ["a.o: compiled without keeping line numbers"])
}

@Test(arguments: ["g++", "clang++"]) func `a class is described where it is used`(compiler: String) async throws {
    let text = """
        struct base { virtual void f(); base(int); int a; };
        struct plain { plain(int); int b; };
        int use(base *b, plain *p) { return b->a + p->b; }
        """
    var tree = try SourceTree(["a.cc": text])
    defer { tree.remove() }
    tree.add("a.cc", compiler: compiler)
    let unit = try #require(try await compiled(tree, ["a.cc": text.replacing("->a +", with: "->a -")]).units.first)
    let types = try #require(try DebugInfo.read(path: unit.newObject).units.first).types
    #expect(types["struct base"]?.members.isEmpty == false && types["struct plain"]?.members.isEmpty == false)
}

@Test func `a changed header is seen by every unit, a precompiled one does not hide it`() async throws {
    var tree = try SourceTree(["a.c": "#include \"h.h\"\nint a(void) { return H; }\n", "h.h": "#define H 1\n"])
    defer { tree.remove() }
    tree.add("a.c")
    try runOrThrow("gcc", ["-O2", "h.h"], in: tree.root)
    let unit = try #require(try await compiled(tree, ["h.h": "#define H 2\n"]).units.first)
    #expect(try code(unit.originalObject, ".text.a") != code(unit.newObject, ".text.a"))
}

@Test func `a source that does not compile is no unit, with the compiler's message`() async throws {
    var tree = try SourceTree(["a.c": lines, "b.c": "int b;\n"])
    defer { tree.remove() }
    for path in ["a.c", "b.c"] { tree.add(path) }
    let result = try await compiled(tree, ["a.c": "int a = b;\n", "b.c": "int b = 2;\n"])
    #expect(result.units.map { $0.unit.name(relativeTo: tree.root) } == ["b.o"])
    let broken = try #require(result.broken.first)
    #expect(broken.path == tree.root + "/a.c")
    #expect(broken.refusal.rule == "compile-failed")
    #expect(broken.refusal.subject == "a.o")
    #expect(broken.refusal.why.contains("'b' undeclared"))
}

@Test func `a program that the build could not make either is no unit`() async throws {
    var tree = try SourceTree(["a.c": "int a(void) { return 1; }\n", "probe.c": "int b[SIZE];\n"])
    defer { tree.remove() }
    tree.add("a.c")
    let whole = tree.change(["a.c": "int a(void) { return 2; }\n", "probe.c": "int b[SIZE]; int c;\n"])
    let probe = CompileUnit(
        directory: tree.root, file: tree.root + "/probe.c", arguments: ["gcc", "-DSIZE=-1", "-o", "probe", "probe.c"],
        output: tree.root + "/probe")
    let compiled = try await compileTwice(tree.units + [probe], change: whole, scratch: tree.scratch)
    #expect(compiled.units.map { $0.unit.name(relativeTo: tree.root) } == ["a.o"])
    #expect(compiled.failed.map(\.path) == [tree.root + "/probe.c"])
    #expect(compiled.failed.map(\.refusal.rule) == ["compile-failed"])
}

@Test func `the build tree's object is used if it is newer than all it was made of`() async throws {
    var tree = try SourceTree(["a.c": lines])
    defer { tree.remove() }
    tree.add("a.c", ["-O2", "-g"])
    try tree.build()
    let change = ["a.c": lines.replacing("x + 1", with: "x + 2")]
    let fresh = try await compiled(tree, change, database: tree.database)
    #expect(fresh.units.map(\.reused) == [true])
    #expect(fresh.units.map(\.plainObject) == [tree.root + "/a.o"])
    // The compiler was asked before, and named a file that is newer.
    try tree.write("", to: "late.h")
    let asked = try await compileTwice(
        tree.units, change: tree.change(change), scratch: tree.scratch, database: tree.database,
        dependencies: [[tree.root + "/a.c", tree.root + "/late.h"]])
    #expect(asked.units.map(\.reused) == [false])
    // Made with other flags than those recorded.
    try runOrThrow("gcc", ["-O1", "-g", "-c", "a.c"], in: tree.root)
    try tree.write("[]", to: "compile_commands.json")
    #expect(try await compiled(tree, change, database: tree.database).units.map(\.reused) == [false])
    // Older than its source.
    try tree.build()
    try tree.write(lines, to: "a.c")
    #expect(try await compiled(tree, change, database: tree.database).units.map(\.reused) == [false])
}

@Test func `a recorded command is kept but for its outputs`() {
    let unit = CompileUnit(
        directory: "/", file: "/a.c",
        arguments: ["gcc", "-O2", "-MD", "-MFx.d", "-MT", "t", "-Wp,-MMD,y.d", "-Wp,-DX", "-g1", "-oa.o", "-c", "a.c"],
        output: "/a.o")
    #expect(unit.compileArguments(output: "/o") == ["-O2", "-Wp,-DX", "-g1", "-c", "a.c", "-o", "/o"])
    #expect(
        unit.sectionArguments == [
            "-ffunction-sections", "-fdata-sections", "-g", "-fno-eliminate-unused-debug-types",
        ])
    #expect(unit.dependencyArguments == ["-O2", "-Wp,-DX", "-g1", "a.c", "-M"])
}

@Test func `a changelog's date is read`() {
    #expect(epoch(mailDate: "Tue, 14 Apr 2026 08:47:04 +0300") == 1_776_145_624)
    #expect(epoch(mailDate: "nonsense") == nil)
}
