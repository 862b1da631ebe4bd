import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing
@testable import Recompiling
@testable import Toolchain

/// A tree whose Makefile makes `table.h` of `table.txt`, and `proto.h` of the functions in `main.c`.
private func generatedTree(command: [String]? = ["make", "-s"]) throws -> SourceTree {
    var tree = try SourceTree([
        "table.txt": "17\n", "proto.h": "int half(int x);\n", "table.h": "#define NUMBER 17\n",
        "main.c":
            "#include \"table.h\"\n#include \"proto.h\"\n/* code */\nint half(int x) { return x / 2 + NUMBER; }\n",
        "Makefile": """
        main.o: main.c table.h proto.h
        \tgcc -O2 -c -o main.o main.c
        table.h: table.txt
        \tsed 's/^/#define NUMBER /' $< > $@
        proto.h: $(wildcard *.c)
        \tgrep '^[a-z]* [*a-z]*(.*{' $^ | sed 's/{.*/;/' > $@
        \t$(EXTRA)
        """ + "\n",
    ])
    tree.add("main.c")
    try tree.build()
    try runOrThrow("touch", ["table.h", "proto.h", "main.o"], in: tree.root)
    let units = tree.units.map { unit in
        let arguments = unit.arguments.map { "\"\($0)\"" }.joined(separator: ",")
        return "{\"directory\":\"\(unit.directory)\",\"file\":\"\(unit.file)\",\"arguments\":[\(arguments)]}"
    }
    try tree.write("[\(units.joined(separator: ","))]", to: "compile_commands.json")
    if let command {
        var build = BuildCommand(command)
        build.directory = tree.root
        build.write(besides: tree.database.path)
    }
    return tree
}

private func compile(_ tree: SourceTree, _ diff: String) async throws -> CompiledInput {
    let path = tree.scratch + "/fix.diff"
    try writeText(diff, to: path)
    var clock = StageClock()
    return try await compileInput(
        .diffs(source: tree.root, compileCommands: nil, diffs: [path]), scratch: tree.scratch, &clock)
}

private func changes(_ input: CompiledInput) throws -> [String] {
    try loadUnits(input.units).flatMap { unit in
        let changed = compareUnit(unit)
        return changed.changes.functions.keys.map { unit.new.entities[$0].name }
    }.sorted()
}

private let newTable = "--- a/table.txt\n+++ b/table.txt\n@@ -1 +1 @@\n-17\n+18\n"
/// The new function stands behind its call, and gives back what does not fit an `int`.
private let newFunction = """
    --- a/main.c
    +++ b/main.c
    @@ -3,2 +3,3 @@
     /* code */
    -int half(int x) { return x / 2 + NUMBER; }
    +int half(int x) { return (int)(name(x)[0]) + NUMBER; }
    +char *name(int x) { return (char *)0 + x; }

    """

@Suite struct RegenerateTests {
    @Test(.needsOverlay)
    func `trap source-and-generator: the recorded build makes anew what a generator makes of the change`()
        async throws
    {
        let tree = try generatedTree()
        defer { tree.remove() }
        let input = try await compile(tree, newTable)
        #expect(input.notes.first?.hasSuffix("it made anew: table.h") == true)
        #expect(try changes(input) == ["half"])
        #expect(readText(tree.root + "/table.h") == "#define NUMBER 17\n")
        #expect(readText(tree.root + "/table.txt") == "17\n")
    }

    @Test(.needsOverlay, .needsTracing)
    func `trap source-and-generator: a generator of a recorded build that finds nothing new has run`() async throws {
        let tree = try SourceTree([
            "main.c":
                "#include \"proto.h\"\n/* code */\nint half(int x) { return x / 2; }\nint main(void) { return half(7); }\n",
            "proto.awk": """
            BEGIN { while ((getline line < "proto.h") > 0) old = old line "\\n" }
            /^int .*{/ { sub(/ {.*/, ";"); new = new $0 "\\n" }
            END { if (old != new) printf "%s", new > "proto.h"; system("touch stamp") }
            """ + "\n",
            "Makefile": """
            prog: main.o
            \tgcc -o prog main.o
            main.o: main.c proto.h
            \tgcc -O2 -g -c -o main.o main.c
            proto.h: stamp ;
            stamp: main.c
            \tawk -f proto.awk main.c
            """ + "\n",
        ])
        defer { tree.remove() }
        _ = try await record(
            command: ["make", "-s", "-C", tree.root], output: tree.root + "/compile_commands.json")
        let body =
            "@@ -2,2 +2,2 @@\n /* code */\n-int half(int x) { return x / 2; }\n+int half(int x) { return x / 3; }\n"
        #expect(try changes(try await compile(tree, "--- a/main.c\n+++ b/main.c\n" + body)).contains("half"))
        #expect(readText(tree.root + "/proto.h") == "int half(int x);\nint main(void);\n")
    }

    @Test func `trap source-and-generator: without a recorded build command it is refused`() async throws {
        let tree = try generatedTree(command: nil)
        defer { tree.remove() }
        #expect(await refusedRules { _ = try await compile(tree, newTable) } == ["unread-source"])
    }

    @Test(.needsOverlay) func `trap source-and-generator: a build that does not run the generator proves nothing`()
        async throws
    {
        // A build without a rule for the table: make ends well, and the change would be lost.
        let tree = try generatedTree(command: ["make", "-s", "-o", "table.h"])
        defer { tree.remove() }
        #expect(await refusedRules { _ = try await compile(tree, newTable) } == ["unread-source"])
    }

    @Test(.needsOverlay) func `a header that no unit reads waits for the target's units, unless a generator reads it`()
        async throws
    {
        let tree = try generatedTree()
        defer { tree.remove() }
        try tree.write("#define OTHER 1\n", to: "lone.h")
        let newHeader = "--- a/lone.h\n+++ b/lone.h\n@@ -1 +1 @@\n-#define OTHER 1\n+#define OTHER 2\n"
        let input = try await compile(tree, newHeader)
        #expect(input.uncompiled.map(\.path) == ["lone.h"])
        #expect(input.uncompiled.map(\.reach) == [.readers])
        #expect(input.touchedHeaders == ["lone.h"])
        let makefile = readText(tree.root + "/Makefile")
        try tree.write(makefile + "names.c: lone.h\n\tgrep define lone.h > names.c\n", to: "Makefile")
        #expect(await refusedRules { _ = try await compile(tree, newHeader) } == ["unread-source"])
    }

    @Test(.needsOverlay, arguments: [("lone.conf", true), ("lone.dat", false)])
    func `a configuration that a build script only names is passed over where the build shows no more`(
        name: String, passes: Bool
    ) async throws {
        let tree = try generatedTree()
        defer { tree.remove() }
        try tree.write("a\n", to: name)
        let diff = "--- a/\(name)\n+++ b/\(name)\n@@ -1 +1 @@\n-a\n+b\n"
        let makefile = readText(tree.root + "/Makefile")
        try tree.write(makefile + "MODULE = \(name)\n", to: "Makefile")
        #expect(await refusedRules { _ = try await compile(tree, diff) } == (passes ? [] : ["unread-source"]))
        // A rule that nobody asks for, or without its prerequisites.
        try tree.write(makefile + "other.c: \(name)\n\tcp \(name) other.c\n", to: "Makefile")
        #expect(await refusedRules { _ = try await compile(tree, diff) } == ["unread-source"])
    }

    @Test(.needsOverlay) func `files that the build puts together into one unit need no unit of their own`()
        async throws
    {
        var tree = try SourceTree([
            "part.h": "#define PART 1\n", "part.c": "int part(void) { return PART; }\n",
            "Makefile": "all.o: all.c\n\tgcc -O2 -c -o all.o all.c\nall.c: part.h part.c\n\tcat $^ > $@\n",
        ])
        defer { tree.remove() }
        try runOrThrow("make", ["-s"], in: tree.root)
        tree.add("all.c")
        let unit = "\"directory\":\"\(tree.root)\",\"file\":\"all.c\",\"command\":\"gcc -O2 -c -o all.o all.c\""
        try tree.write("[{\(unit)}]", to: "compile_commands.json")
        var build = BuildCommand(["make", "-s"])
        build.directory = tree.root
        build.write(besides: tree.database.path)
        let input = try await compile(
            tree,
            "--- a/part.h\n+++ b/part.h\n@@ -1 +1 @@\n-#define PART 1\n+#define PART 2\n"
                + "--- a/part.c\n+++ b/part.c\n@@ -1 +1 @@\n-int part(void) { return PART; }\n"
                + "+int part(void) { return PART + 1; }\n")
        #expect(input.uncompiled.map(\.path) == ["part.c", "part.h"])
        #expect(input.notes.first?.hasSuffix("it made anew: all.c") == true)
        #expect(try changes(input) == ["part"])
    }

    @Test(.needsOverlay, arguments: [("cp", ["one", "two"]), ("test -e include/one.h || cp", [])])
    func `trap source-and-generator: a header that the build copies for some units`(copy: String, expected: [String])
        async throws
    {
        var tree = try SourceTree([
            "src/one.h": "static inline int one(void) { return 1; }\n",
            "a.c": "#include \"src/one.h\"\nint one_a(void) { return one(); }\n",
            "b.c": "#include <one.h>\nint two(void) { return one(); }\n",
            "Makefile": "all:\n\tmkdir -p include; \(copy) src/*.h include\n\tgcc -O2 -c a.c\n"
                + "\tgcc -O2 -Iinclude -c b.c\n",
        ])
        defer { tree.remove() }
        try runOrThrow("make", ["-s"], in: tree.root)
        tree.add("a.c")
        let units = [("a", ""), ("b", "-Iinclude")].map { unit, flag in
            "{\"directory\":\"\(tree.root)\",\"file\":\"\(unit).c\",\"command\":\"gcc -O2 \(flag) -c \(unit).c\"}"
        }
        try tree.write("[\(units.joined(separator: ","))]", to: "compile_commands.json")
        var build = BuildCommand(["make", "-s"])
        build.directory = tree.root
        build.write(besides: tree.database.path)
        let diff =
            "--- a/src/one.h\n+++ b/src/one.h\n@@ -1 +1 @@\n-static inline int one(void) { return 1; }\n"
            + "+static inline int one(void) { return 2; }\n"
        if expected.isEmpty {
            #expect(await refusedRules { _ = try await compile(tree, diff) } == ["source-and-generator"])
        } else {
            #expect(try changes(try await compile(tree, diff)) == ["one_a", "two"])
        }
    }

    @Test(.needsOverlay)
    func `trap source-and-generator: a new function's prototype is generated before its callers are compiled`()
        async throws
    {
        let tree = try generatedTree()
        defer { tree.remove() }
        let input = try await compile(tree, newFunction)
        #expect(input.notes.first?.hasSuffix("it made anew: proto.h") == true)
        #expect(try changes(input) == ["half"])
    }

    @Test(.needsOverlay) func `trap source-and-generator: new code that calls what nothing declares is refused`()
        async throws
    {
        let tree = try generatedTree(command: nil)
        defer { tree.remove() }
        let call = newFunction.replacing("(name(x)[0])", with: "name(x)").replacing(
            "+char *name(int x) { return (char *)0 + x; }\n", with: ""
        )
        .replacing("+3,3", with: "+3,2")
        // GCC 14 takes it for an error by itself.
        let undeclared = try withTemporaryDirectory { directory in
            try writeText("int f(void) { return g(); }\n", to: directory + "/a.c")
            return try run("gcc", ["-fsyntax-only", directory + "/a.c"]).status
        }
        if undeclared == 0 {
            #expect(await refusedRules { _ = try await compile(tree, call) } == ["source-and-generator"])
        } else {
            // A unit that can't be compiled is refused where a target has it.
            #expect(try await compile(tree, call).broken.map(\.refusal.rule) == ["compile-failed"])
        }
    }

    @Test(.needsOverlay) func `a repeated build can write nothing but its private view of the tree`() async throws {
        let outside = "\(temporaryDirectory)/patchbuild-outside-\(getpid())"
        let tree = try generatedTree(command: ["make", "-s", "EXTRA=touch \(outside)"])
        defer { tree.remove() }
        try writeText("", to: outside)
        defer { unlink(outside) }
        var before = stat()
        stat(outside, &before)
        let input = try await compile(tree, newFunction)
        #expect(input.broken.map(\.refusal.rule) == ["compile-failed"])
        #expect(input.broken.first?.refusal.why.hasSuffix(")") == true)
        var after = stat()
        stat(outside, &after)
        #expect(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_mtim.tv_sec == after.st_mtim.tv_sec)
    }

    @Test func `warnings of missing declarations are read as both compilers write them`() {
        let text = """
            a.c:3:5: warning: implicit declaration of function 'one' [-Wimplicit-function-declaration]
            a.c:4:5: warning: call to undeclared function 'two'; ISO C99 and later do not support implicit
            a.c:5:5: warning: implicit declaration of function 'three' is invalid in C99
            """
        #expect(undeclaredFunctions(inMessages: text) == ["one", "two", "three"])
    }
}
