import Diagnostics
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

@Test func `a new file is read by those that ask whether there is one`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#if __has_include(\"more.h\")\nint d;\n#endif\n", to: "d.c")
    tree.add("d.c")
    #expect(try await names(tree, tree.change(["more.h": "\n"])) == ["d.o"])
    #expect(try await names(tree, tree.change(["one.h": "\n"])) == ["a.o"])
}

@Test func `a unit whose compiler does not tell what it reads may read anything`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include \"gone.h\"\n", to: "d.c")
    tree.add("d.c")
    #expect(try await names(tree, tree.change(["one.h": "\n"])) == ["a.o", "d.o"])
    try tree.write("\n", to: "lone.h")
    #expect(await rules(tree, tree.change(["lone.h": "int l;\n"])) == ["unread-source"])
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

@Test func `a unit that has the assembler read files is affected by every change`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("asm(\".globl t\\nt: .incbin \\\"one.h\\\"\\n\");\n", to: "d.c")
    try tree.write("#define INCBIN(x) asm(\".incbin \\\"\" x \"\\\"\\n\")\n", to: "embed.h")
    try tree.write("#include \"embed.h\"\nINCBIN(\"one.h\");\n", to: "e.c")
    try tree.write(".include \"one.h\"\n", to: "f.s")
    for path in ["d.c", "e.c", "f.s"] { tree.add(path) }
    #expect(try await names(tree, tree.change(["two.h": "#define TWO 3\n"])) == ["b.o", "d.o", "e.o", "f.o"])
    // That it may read anything says of nothing that it does.
    let change = tree.change(["lone.c": "int l;\n", "README.md": "y\n"])
    let affected = try await affectedUnits(of: change, in: tree.database)
    #expect(affected.unread.map(\.path) == ["lone.c"])
    #expect(affected.ignored.map(\.path) == ["README.md"])
}

@Test func `documentation is ignored with a reason`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let change = tree.change([
        "README.md": "y\n", "doc/a.txt": "y\n", "a.1": "y\n", "tests/t.c": "int u;\n", "c.c": "int c = 1;\n",
    ])
    let affected = try await affectedUnits(of: change, in: tree.database)
    #expect(affected.ignored.map(\.path) == ["README.md", "a.1", "doc/a.txt"])
    #expect(try affected.ignored.at(1).why == "no unit reads it; it is documentation")
    // Whether a target has it, the target tells.
    #expect(affected.unread.map(\.path) == ["tests/t.c"])
}

@Test(arguments: [
    "Makefile", "CMakeLists.txt", "meson.build", "configure.ac", "parse.y", "commands/get.json", "table.txt", "lib.map",
    "a.conf", "tests/run.sh", "debian/rules", ".config", "data/page.html", "lone.h",
])
func `trap source-and-generator: without a record of the build, what is no source is refused`(path: String) async throws
{
    let tree = try tree()
    defer { tree.remove() }
    try tree.write("x\n", to: path)
    let change = tree.change([path: "y\n", "c.c": "int c = 1;\n"])
    do {
        _ = try await affectedUnits(of: change, in: tree.database)
        Issue.record("it is taken")
    } catch let refusals as Refusals {
        #expect(refusals.refusals.map(\.rule) == ["unread-source"])
        let refusal = try refusals.refusals.at(0)
        #expect(refusal.why.contains("no record tells what the build made of its files"))
        #expect(refusal.remedy.contains("`patchbuild record -- BUILD-COMMAND`"))
    }
}

@Test func `trap named-by-command: a file that a command names is refused without a record`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("-O2\n", to: "flags")
    try tree.write("int d;\n", to: "d.c")
    tree.add("d.c", ["@flags"])
    #expect(await rules(tree, tree.change(["flags": "-O1\n", "d.c": "int e;\n"])) == ["unread-source"])
}

@Test func `trap source-and-generator: a table that a unit reads is refused without a record`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("1\n", to: "table.txt")
    try tree.write("int d =\n#include \"table.txt\"\n;\n", to: "d.c")
    tree.add("d.c")
    #expect(await rules(tree, tree.change(["table.txt": "2\n"])) == ["source-and-generator"])
}

@Test func `a source that no unit reads waits for the targets`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let lone = tree.change(["lone.c": "int l;\n"])
    #expect(try await affectedUnits(of: lone, in: tree.database).unread.map(\.refusal.rule) == ["unread-source"])
}

@Test func `of a second tree, a script passes where all is compiled as before`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let change = tree.change(["Makefile": "y\n", "c.c": "int d;\n"], origin: .newSource(built: true))
    #expect(await rules(tree, change) == ["unread-source"])
    func judged(_ units: [CompileUnit]) async -> [String] {
        let build = NewBuild(
            CompileDatabase(path: "/new/compile_commands.json", units: units), newRoot: tree.root,
            database: tree.database, change: change)
        return await refusedRules {
            let record = try BuildRecord(database: tree.database, root: tree.root)
            _ = try await affectedUnits(of: change, in: tree.database, by: record, newBuild: build)
        }
    }
    #expect(await judged(tree.units) == [])
    #expect(await judged(Array(tree.units.dropLast())) == ["unread-source"])
}

@Test func `a new source that a changed one includes passes by the new tree's record`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    let texts = ["new.c": "int n;\n", "c.c": "#include \"new.c\"\n"]
    #expect(await rules(tree, tree.change(texts)) == ["no-compile-command"])
    // The remedy.
    let change = tree.change(texts, origin: .newSource(built: true))
    let build = NewBuild(
        CompileDatabase(path: "/new/compile_commands.json", units: tree.units), newRoot: tree.root,
        database: tree.database, change: change)
    let record = try BuildRecord(database: tree.database, root: tree.root)
    let affected = try await affectedUnits(of: change, in: tree.database, by: record, newBuild: build)
    #expect(affected.units.map { $0.name(relativeTo: tree.root) } == ["c.o"])
}

@Test func `trap source-and-generator: a new source without a command is refused`() async throws {
    let tree = try tree()
    defer { tree.remove() }
    #expect(await rules(tree, tree.change(["new.c": "int n;\n"])) == ["no-compile-command"])
}

@Test func `a new header that hides another affects its readers`() async throws {
    var tree = try tree()
    defer { tree.remove() }
    try tree.write("#include <one.h>\nint d = ONE;\n", to: "d.c")
    tree.add("d.c", ["-Ifirst", "-I."])
    #expect(try await names(tree, tree.change(["first/one.h": "#define ONE 9\n"])).contains("d.o"))
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
