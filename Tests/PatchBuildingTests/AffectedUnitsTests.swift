import FoundationEssentials
import SourceChanges
import TestSupport
import Testing

@testable import Recompiling

private func tree() throws -> SourceTree {
    var tree = try SourceTree([
        "a.c": "#include \"one.h\"\nint a(void) { return ONE; }\n",
        "b.c": "#include \"two.h\"\nint b(void) { return TWO; }\n",
        "c.c": "int c;\n", "one.h": "#define ONE 1\n", "two.h": "#if 0\n#include \"one.h\"\n#endif\n#define TWO 2\n",
        "tests/t.c": "int t;\n", "README.md": "x\n", "lone.c": "int lone;\n", "Makefile": "all: a.o\n",
    ])
    for path in ["a.c", "b.c", "c.c"] { tree.add(path) }
    return tree
}

private func names(_ tree: SourceTree, _ change: SourceChange) async throws -> [String] {
    try await affectedUnits(of: change, in: tree.database).units.map { $0.name(relativeTo: tree.root) }
}

private func rules(_ tree: SourceTree, _ change: SourceChange) async -> [String] {
    await refusedRules { _ = try await affectedUnits(of: change, in: tree.database) }
}

@Test func `a unit's own file affects it`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    #expect(try await names(tree, tree.change(["c.c": "int c = 1;\n"])) == ["c.o"])
}

@Test func `a header affects the units that the compiler says read it`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let affected = try await affectedUnits(of: tree.change(["one.h": "#define ONE 3\n"]), in: tree.database)
    #expect(affected.units.map { $0.name(relativeTo: tree.root) } == ["a.o"])
    #expect(affected.dependencies.map { $0?.contains(tree.root + "/one.h") } == [true])
}

@Test func `a source that another includes affects both`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include \"c.c\"\n", to: "d.c")
    tree.add("d.c")
    #expect(try await names(tree, tree.change(["c.c": "int c = 1;\n"])) == ["c.o", "d.o"])
}

@Test func `a header whose name is a macro affects its readers`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include CONFIG\n", to: "d.c")
    tree.add("d.c", ["-DCONFIG=\"one.h\""])
    #expect(try await names(tree, tree.change(["one.h": "#define ONE 3\n"])) == ["a.o", "d.o"])
}

@Test func `a header that the command includes affects its unit`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("int d = ONE;\n", to: "d.c")
    tree.add("d.c", ["-include", "one.h"])
    #expect(try await names(tree, tree.change(["one.h": "#define ONE 3\n"])) == ["a.o", "d.o"])
}

@Test func `trap many-objects: every command of a source is affected`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    tree.add("c.c", ["-O2", "-fPIC"], output: ".libs/c.o")
    #expect(try await names(tree, tree.change(["c.c": "int c = 1;\n"])) == [".libs/c.o", "c.o"])
}

@Test func `a fresh dependency file answers for the compiler, a stale one does not`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let path = tree.root + "/a.d"
    try tree.write("a.o: a.c\n", to: "a.d")
    let unit = try tree.units.at(0)
    #expect(freshDependencies(of: unit, at: path) == ["a.c"])
    try tree.write("a.o: a.c one.h\n\none.h:\n", to: "a.Po")
    #expect(freshDependencies(of: unit, at: tree.root + "/a.Tpo") == ["a.c", "one.h"])
    try tree.write("a.o: a.c one.h gone.h\n", to: "a.d")
    #expect(freshDependencies(of: unit, at: path) == nil)
    try tree.write("a.o: a.c\n", to: "a.d")
    try runOrThrow("touch", ["-d", "+1 minute", "a.c"], in: tree.root)
    #expect(freshDependencies(of: unit, at: path) == nil)
}

@Test func `a dependency file that another command made, or several, does not answer`() async throws {
    var tree = try SourceTree([
        "a.c": "#ifdef FEATURE\n#include \"one.h\"\nint a = ONE;\n#endif\n", "one.h": "#define ONE 1\n",
    ])
    defer { tree.remove() }
    // `gcc -MM a.c`, of a rule that has not the flags of the unit.
    try tree.write("a.o: a.c\n", to: "a.d")
    tree.add("a.c", ["-DFEATURE"])
    #expect(try tree.units.at(0).writtenDependencies == nil)
    #expect(try await names(tree, tree.change(["one.h": "#define ONE 3\n"])) == ["a.o"])
    let own = ["-MMD", "-Wp,-MD,a.d", "-MF,x"].map { CompileUnit(directory: "/t", file: "/t/a.c", $0) }
    #expect(own.map(\.writtenDependencies) == ["/t/b/a.d", "/t/a.d", nil])
    #expect(CompileUnit(directory: "/t", file: "/t/a.c", "-MD", "-MF", "x/a.d").writtenDependencies == "/t/x/a.d")
    tree.units = []
    for flags in [["-DFEATURE"], []] { tree.add("a.c", flags + ["-MMD", "-MF", "a.d"], output: "a\(flags.count).o") }
    #expect(try await names(tree, tree.change(["one.h": "#define ONE 3\n"])) == ["a1.o"])
}

extension CompileUnit {
    fileprivate init(directory: String, file: String, _ flags: String...) {
        self.init(
            directory: directory, file: file, arguments: ["cc"] + flags + ["-c", file], output: directory + "/b/a.o")
    }
}

@Test(arguments: [["-include", "one.h"], ["-includeone.h"], ["--include=one.h"], ["-Wp,-include,one.h"]])
func `a header that the command includes in whatever way affects its unit`(flags: [String]) async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("int d = ONE;\n", to: "d.c")
    tree.add("d.c", flags)
    #expect(try await names(tree, tree.change(["one.h": "#define ONE 3\n"])) == ["a.o", "d.o"])
}

@Test func `trap source-and-generator: a copy of a touched header that a unit reads`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include <uno.h>\nint d = ONE;\n", to: "d.c")
    tree.add("d.c", ["-Iinclude"])
    let change = tree.change(["one.h": "#define ONE 3\n"])
    // Nobody reads these.
    try tree.write("#define ONE 1\n", to: "old/one.h")
    try tree.write("#define ONE 5\n", to: "include/uno.h")
    #expect(try await names(tree, change) == ["a.o"])
    try runOrThrow("ln", ["-sf", "../one.h", "include/uno.h"], in: tree.root)
    #expect(try await names(tree, change) == ["a.o", "d.o"])
    try runOrThrow("rm", ["include/uno.h"], in: tree.root)
    try tree.write("#define ONE 1\n", to: "include/uno.h")
    #expect(await rules(tree, change) == ["source-and-generator"])
    #expect(await rules(tree, tree.change(["one.h": "#define ONE 3\n", "include/uno.h": "#define ONE 3\n"])) == [])
}

@Test func `trap source-and-generator: a unit that another one is put together from`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("all.o:\n\tcat a.c b.c > all.c\n\tgcc -c all.c\n\tcat c.c\n", to: "Makefile")
    #expect(await rules(tree, tree.change(["a.c": "int a;\n"])) == ["source-and-generator"])
    #expect(await rules(tree, tree.change(["c.c": "int d;\n"])) == [])
}

@Test func `a file whose bytes assembler code takes in affects its unit`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("asm(\".globl t\\nt: .incbin \\\"data/page.html\\\"\\n\");\n", to: "d.c")
    try tree.write("#include \"embed.h\"\nINCBIN(Page, \"data/page.html\");\n", to: "e.c")
    try tree.write("<p>\n", to: "data/page.html")
    for path in ["d.c", "e.c"] { tree.add(path) }
    #expect(try await names(tree, tree.change(["data/page.html": "<a>\n"])) == ["d.o", "e.o"])
    #expect(try await names(tree, tree.change(["data/other.html": "<a>\n", "c.c": "int d;\n"])) == ["c.o"])
}

@Test func `documentation and tests are ignored with a reason`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let change = tree.change(["README.md": "y\n", "tests/t.c": "int u;\n", "c.c": "int c = 1;\n"])
    let affected = try await affectedUnits(of: change, in: tree.database)
    #expect(affected.ignored.map(\.path) == ["README.md", "tests/t.c"])
    #expect(try affected.ignored.at(1).why == "no unit reads it; it is part of the tests")
}

@Test func `source and build scripts that no unit reads are refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let lone = tree.change(["lone.c": "int l;\n"])
    #expect(try await affectedUnits(of: lone, in: tree.database).unread.map(\.refusal.rule) == ["unread-source"])
    #expect(await rules(tree, tree.change(["Makefile": "all:\n"])) == ["unread-source"])
    #expect(await rules(tree, tree.change(["parse.y": "%%\n"])) == ["unread-source"])
}

@Test func `a script of a build system that made no part of the recorded build is ignored`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let change = tree.change(["CMakeLists.txt": "x\n", "lib/x.cmake": "x\n", "meson.build": "x\n", "c.c": "int d;\n"])
    #expect(
        try await affectedUnits(of: change, in: tree.database).ignored.map(\.path) == [
            "CMakeLists.txt", "lib/x.cmake", "meson.build",
        ])
    try tree.write("", to: "obj/CMakeCache.txt")
    #expect(await rules(tree, change) == ["unread-source", "unread-source"])
    try tree.write("", to: "obj/meson-private/x")
    #expect(await rules(tree, change) == ["unread-source", "unread-source", "unread-source"])
}

@Test func `trap source-and-generator: a file that is only listed for distribution is no generator's input`()
    async throws
{
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("x\n", to: "helper.py")
    let change = tree.change(["helper.py": "y\n", "c.c": "int d;\n"])
    try tree.write("EXTRA_DIST = README \\\n\thelper.py\n", to: "Makefile")
    #expect(await rules(tree, change) == [])
    try tree.write("all:\n\tinstall -D \\\n\t\thelper.py\n", to: "Makefile")
    #expect(await rules(tree, change) == [])
    try tree.write("SOURCES = one \\\n\thelper.py\n", to: "Makefile")
    #expect(await rules(tree, change) == ["unread-source"])
    try tree.write("EXTRA_DIST = README\nc.c: helper.py\n", to: "Makefile")
    #expect(await rules(tree, change) == ["unread-source"])
}

@Test func `a list of what a library exports is ignored unless a generator reads it too`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("LIB { global: a; local: *; };\n", to: "lib.map")
    let change = tree.change(["lib.map": "LIB { global: a; b; local: *; };\n", "c.c": "int d;\n"])
    let linking = "EXTRA_DIST = README \\\n\tlib.map\nlib_la_LDFLAGS += -Wl,--version-script=$(srcdir)/lib.map\n"
    try tree.write(linking + "lib_la_DEPENDENCIES = \\\n\tlib.map\n", to: "Makefile")
    let affected = try await affectedUnits(of: change, in: tree.database)
    #expect(affected.ignored.map(\.path) == ["lib.map"])
    #expect(try affected.ignored.at(0).why.hasPrefix("the linker alone reads it"))
    try tree.write(linking + "LIST = lib.map\n", to: "Makefile")
    #expect(await rules(tree, change) == ["unread-source"])
}

@Test func `trap source-and-generator: a new source without a command is refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    #expect(await rules(tree, tree.change(["new.c": "int n;\n"])) == ["no-compile-command"])
}

@Test func `a new source that a changed one includes is compiled with it`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let change = tree.change(["new.c": "int n;\n", "c.c": "#include \"new.c\"\n"])
    #expect(try await names(tree, change) == ["c.o"])
}

@Test func `a new header that hides another affects its readers`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include <one.h>\nint d = ONE;\n", to: "d.c")
    tree.add("d.c", ["-Ifirst", "-I."])
    #expect(try await names(tree, tree.change(["first/one.h": "#define ONE 9\n"])).contains("d.o"))
}

@Test func `trap source-and-generator: a file that a unit and a generator read is refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("names.c: one.h gen.awk\n\tawk -f gen.awk $< > $@\n", to: "Makefile")
    let change = tree.change(["one.h": "#define ONE 3\n"])
    #expect(await rules(tree, change) == ["source-and-generator"])
    // A rule that only compiles it is no generator.
    try tree.write("a.o: a.c one.h\n\tgcc -c a.c\n", to: "Makefile")
    #expect(await rules(tree, change) == [])
    // In a new tree that was built, what generators made is compared as well.
    try tree.write("names.c: one.h\n", to: "Makefile")
    #expect(await rules(tree, tree.change(["one.h": "#define ONE 3\n"], origin: .newSource(built: true))) == [])
}

@Test func `trap source-and-generator: a table is refused only if a build script names it`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("{}\n", to: "commands/get.json")
    let change = tree.change(["commands/get.json": "{ }\n", "c.c": "int c = 1;\n"])
    #expect(await rules(tree, change) == [])
    try tree.write("c.c: commands/*.json\n", to: "Makefile")
    #expect(await rules(tree, change) == ["unread-source"])
}

@Test func `a manual's makefile that has a page of the file's name makes no source of it`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("a = 1\n", to: "a.conf")
    let change = tree.change(["a.conf": "a = 2\n", "c.c": "int c = 1;\n"])
    for (script, text, expected) in [
        ("doc/docbook/Makefile", "FILES += a.conf\n", []), ("gen/Makefile", "FILES += a.conf\n", ["unread-source"]),
        ("doc/Makefile", "../c.c: a.conf\n", ["unread-source"]),
        ("doc/Makefile", "all:\n\tpython3 gen.py ../a.conf > ../c.c\n", ["unread-source"]),
    ] {
        try tree.write(text, to: script)
        #expect(await rules(tree, change) == expected, "\(script): \(text)")
        try tree.write("", to: script)
    }
}

@Test func `what the autotools made anew in a second tree is ignored unless their input changed`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("a\n", to: "configure")
    try tree.write("a\n", to: "configure.ac")
    let unbuilt = SourceChange.Origin.newSource(built: false)
    #expect(await rules(tree, tree.change(["configure": "b\n"], origin: unbuilt)) == [])
    #expect(await rules(tree, tree.change(["configure": "b\n"])) == ["unread-source"])
    let both = tree.change(["configure": "b\n", "configure.ac": "b\n"], origin: unbuilt)
    #expect(await rules(tree, both) == ["unread-source", "unread-source"])
}

@Test func `a removed source is refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    #expect(await rules(tree, tree.change(["c.c": nil])) == ["no-compile-command"])
}

@Test func `commands of another tree are refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    var change = tree.change(["c.c": "int c = 1;\n"])
    change.root = "/nowhere"
    #expect(await rules(tree, change) == ["bad-input"])
}

@Test func `the text of includes is over-read, never under-read`() {
    let scan = IncludeScan(
        Array(
            "#include \"a/b.h\"\n # include <c.h>\n#define X \"d.h\"\n#if __has_include(<e.h>)\n//#include \"f.h\"\n"
                .utf8))
    #expect(scan.names == ["b.h", "c.h", "d.h", "e.h"])
    #expect(!scan.computes)
    #expect(IncludeScan(Array("#include MACRO\n".utf8)).computes)
    #expect(IncludeScan(Array("#inc\\\nlude \"a.h\"\n".utf8)).computes)
    #expect(!IncludeScan(Array("/* The last #include files should be: */\n * #include these\n".utf8)).computes)
    #expect(IncludeScan(Array("/* */ #include MACRO\n".utf8)).computes)
    // A long line is not looked at from its beginning for each mark.
    let long = String(repeating: "x # ", count: 100_000)
    #expect(!IncludeScan(Array("char *t = \"\(long)\";\n".utf8)).computes)
    #expect(IncludeScan(Array("\u{FEFF}#include MACRO\n".utf8)).computes)
    #expect(IncludeScan(Array("/* *\\\n/ #include MACRO\n".utf8)).computes)
}

@Test func `a tree that was recorded under another name is found`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let link = tree.root + "-link"
    try runOrThrow("ln", ["-s", tree.root, link])
    let json = "[{\"directory\": \"\(link)\", \"file\": \"c.c\", \"command\": \"gcc -c c.c\"}]"
    try tree.write(json, to: "compile_commands.json")
    let database = try CompileDatabase.read(tree.root + "/compile_commands.json")
    #expect(database.units.map(\.file) == [tree.root + "/c.c"])
    #expect(database.units.map(\.output) == [tree.root + "/c.o"])
    let change = tree.change(["c.c": "int c = 1;\n"])
    let affected = try await affectedUnits(of: change, in: database)
    let compiled = try await compileTwice(affected.units, change: change, scratch: tree.scratch)
    #expect(try readBytes(compiled.units.at(0).newObject) != readBytes(compiled.units.at(0).originalObject))
}

@Test func `a make rule's names are read with their escapes`() {
    let rule = "a.o: a.c b\\ c.h \\\n d\\#.h $$e.h\n\nb\\ c.h:\n"
    #expect(dependencies(inRule: Array(rule.utf8)) == ["a.c", "b c.h", "d#.h", "$e.h"])
}

@Test func `a compile database is read with commands, launchers and duplicates`() throws {
    let json = """
        [{"directory": "/b", "file": "x.c", "command": "ccache gcc -DA='\\"q r\\"' -c x.c -o x.o"},
         {"directory": "/b", "file": "../s/y.cc", "arguments": ["g++", "-c", "../s/y.cc"]},
         {"directory": "/b", "file": "x.c", "arguments": ["gcc", "-O2", "-c", "x.c", "-o", "x.o"], "output": "x.o"},
         {"directory": "/b", "file": "x.c", "arguments": ["gcc", "-S", "x.c"]},
         {"directory": "/b", "file": "z.f", "arguments": ["gfortran", "-c", "z.f"]}]
        """
    let units = try CompileDatabase.parse(Data(json.utf8), path: "/b/compile_commands.json").units
    #expect(units.map(\.output) == ["/b/x.o", "/b/y.o"])
    #expect(units.map(\.file) == ["/b/x.c", "/s/y.cc"])
    #expect(try units.at(0).arguments == ["gcc", "-O2", "-c", "x.c", "-o", "x.o"])
    #expect(shellWords("a 'b c' \"d\\\"e\" f\\ g ''") == ["a", "b c", "d\"e", "f g", ""])
}
