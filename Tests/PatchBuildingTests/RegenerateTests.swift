import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing
@testable import Recompiling
@testable import Toolchain

/// A tree whose Makefile makes `table.h` of `table.txt`, and `proto.h` of the functions in `main.c`, and links `lib.so`.
/// - Parameters:
///   - isClean: both are made when the build is recorded; else they came with the source, and no generator runs then.
///   - files: more of them, or others; what stands at `Makefile` is added to that.
private func generatedTree(
    isClean: Bool = true, _ arguments: [String] = [], files: [String: String] = [:]
) async throws -> SourceTree {
    var sources = [
        "table.txt": "17\n",
        "main.c":
            "#include \"table.h\"\n#include \"proto.h\"\n/* code */\nint half(int x) { return x / 2 + NUMBER; }\n",
        "Makefile": """
        lib.so: main.o
        \tgcc -shared -o $@ $^
        \t$(EXTRA)
        main.o: main.c table.h proto.h
        \tgcc -O2 -fPIC -c -o main.o main.c
        table.h: table.txt
        \t$(RUN) sed 's/^/#define NUMBER /' $< > $@
        proto.h: $(wildcard *.c)
        \tgrep '^[a-z]* [*a-z]*(.*{' $^ | sed 's/{.*/;/' > $@
        """ + "\n" + (files["Makefile"] ?? ""),
    ]
    if !isClean {
        sources["table.h"] = "#define NUMBER 17\n"
        sources["proto.h"] = "int half(int x);\n"
    }
    sources.merge(files.filter { $0.key != "Makefile" }) { $1 }
    let tree = try SourceTree(sources)
    try await recordMake(tree, arguments)
    return tree
}

private func recordMake(_ tree: SourceTree, _ arguments: [String] = []) async throws {
    let output = tree.root + "/compile_commands.json"
    let built = try await record(command: ["make", "-s", "-C", tree.root] + arguments, output: output)
    try #require(built.status == 0)
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

@Suite(.needsTracing, .needsOverlay) struct RegenerateTests {
    @Test(arguments: [true, false])
    func `trap source-and-generator: the recorded build makes anew what a generator makes of the change`(
        isClean: Bool
    ) async throws {
        let tree = try await generatedTree(isClean: isClean)
        defer { tree.remove() }
        let input = try await compile(tree, newTable)
        #expect(input.notes.first?.hasSuffix("it made anew: table.h") == true)
        #expect(try changes(input) == ["half"])
        #expect(readText(tree.root + "/table.h") == "#define NUMBER 17\n")
        #expect(readText(tree.root + "/table.txt") == "17\n")
    }

    @Test func `trap source-and-generator: a generator of a recorded build that finds nothing new has run`()
        async throws
    {
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

    @Test func `trap source-and-generator: without a record of the build it is refused, and the remedy helps`()
        async throws
    {
        let tree = try await generatedTree()
        defer { tree.remove() }
        removeTree(tree.root + "/build.graph")
        #expect(await refusedRules { _ = try await compile(tree, newTable) } == ["unread-source"])
        for name in ["lib.so", "main.o", "table.h", "proto.h"] { removeTree(tree.root + "/" + name) }
        try await recordMake(tree)
        #expect(try changes(try await compile(tree, newTable)) == ["half"])
    }

    @Test func `without a record of the build a note says who was asked`() async throws {
        let tree = try await generatedTree()
        defer { tree.remove() }
        removeTree(tree.root + "/build.graph")
        let input = try await compile(tree, newFunction)
        #expect(input.notes.first?.hasPrefix("compilers alone were asked who reads the touched files") == true)
    }

    @Test(arguments: ["test -e table.h ||", "test -e stamp || touch stamp; test -e table.h ||"])
    func `trap source-and-generator: a build that does not run the generator proves nothing`(run: String) async throws {
        // It ends well, and the change would be lost.
        let tree = try await generatedTree(["RUN=" + run])
        defer { tree.remove() }
        #expect(await refusedRules { _ = try await compile(tree, newTable) } == ["unread-source"])
    }

    /// The remedy of what a repeated build does not show.
    @Test(arguments: ["", "flags.mk"])
    func `trap source-and-generator: a second tree that was built shows what is made`(other: String) async throws {
        let makefile = "-include flags.mk\n"
        let tree = try await generatedTree(
            ["RUN=test -e table.h ||"], files: ["Makefile": makefile, "flags.mk": "X = 1\n"])
        defer { tree.remove() }
        let new = tree.base + "/new"
        try runOrThrow("cp", ["-a", tree.root, new], in: tree.base)
        for name in ["compile_commands.json", "table.h"] { removeTree(new + "/" + name) }
        try writeText("18\n", to: new + "/table.txt")
        if !other.isEmpty { try writeText("X = 2\n", to: new + "/" + other) }
        try runOrThrow("make", ["-s"], in: new)
        var clock = StageClock()
        let input = PatchInput.newSource(source: tree.root, compileCommands: nil, newSource: new)
        if other.isEmpty {
            let compiled = try await compileInput(input, scratch: tree.scratch, &clock)
            #expect(try changes(compiled) == ["half"])
        } else {
            let rules = await refusedRules { _ = try await compileInput(input, scratch: tree.scratch, &clock) }
            #expect(Set(rules) == ["no-compile-command"])
        }
    }

    @Test func `a repeated build that makes anew what decides about commands proves nothing`() async throws {
        let makefile = "flags.mk: flags.in\n\tsed 's/@/FLAGS = -D/' flags.in > flags.mk\n-include flags.mk\n"
        let tree = try await generatedTree(files: ["Makefile": makefile, "flags.in": "@ONE\n"])
        defer { tree.remove() }
        let diff = "--- a/flags.in\n+++ b/flags.in\n@@ -1 +1 @@\n-@ONE\n+@TWO\n"
        do {
            _ = try await compile(tree, newTable + diff)
            Issue.record("it is taken")
        } catch let refusals as Refusals {
            #expect(refusals.refusals.map(\.rule).contains("unread-source"))
            #expect(try refusals.refusals.at(0).why.contains("flags.mk"))
        }
    }

    @Test func `a header that nothing has read waits for targets of other builds`() async throws {
        let tree = try await generatedTree(files: ["lone.h": "#define OTHER 1\n"])
        defer { tree.remove() }
        let newHeader = "--- a/lone.h\n+++ b/lone.h\n@@ -1 +1 @@\n-#define OTHER 1\n+#define OTHER 2\n"
        let input = try await compile(tree, newHeader)
        #expect(input.uncompiled.map(\.path) == ["lone.h"])
        #expect(input.uncompiled.map(\.reach) == [.outsideOfRecord])
    }

    @Test(arguments: [
        // Nobody asked for the rule.
        ("other.inc: lone.conf\n\tcp lone.conf other.inc\n", true), ("MODULE = lone.conf\n", true),
        // Make would have run what it has.
        ("main.o: lone.conf\nlone.conf:\n", true),
        ("main.o: copy.inc\ncopy.inc: lone.conf\n\tcp lone.conf copy.inc\n", true),
        // A shell has asked whether it is there, or how large it is.
        ("lib.so: two.so\ntwo.so: main.o\n\t[ -s lone.conf ]; gcc -shared -o $@ $^; true\n", false),
    ])
    func `what no part of a program is made of is passed over, whatever makefiles say`(
        makefile: String, passes: Bool
    ) async throws {
        let tree = try await generatedTree(files: ["Makefile": makefile, "lone.conf": "a\n"])
        defer { tree.remove() }
        let diff = "--- a/lone.conf\n+++ b/lone.conf\n@@ -1 +1 @@\n-a\n+b\n"
        #expect(await refusedRules { _ = try await compile(tree, diff) } == (passes ? [] : ["unread-source"]))
    }

    @Test func `files that the build puts together into one unit need no unit of their own`() async throws {
        let tree = try SourceTree([
            "part.h": "#define PART 1\n", "part.c": "int part(void) { return PART; }\n",
            "Makefile": "lib.so: all.c\n\tgcc -O2 -fPIC -c -o all.o all.c\n\tgcc -shared -o lib.so all.o\n"
                + "all.c: part.h part.c\n\tcat $^ > $@\n",
        ])
        defer { tree.remove() }
        try await recordMake(tree)
        let input = try await compile(
            tree,
            "--- a/part.h\n+++ b/part.h\n@@ -1 +1 @@\n-#define PART 1\n+#define PART 2\n"
                + "--- a/part.c\n+++ b/part.c\n@@ -1 +1 @@\n-int part(void) { return PART; }\n"
                + "+int part(void) { return PART + 1; }\n")
        #expect(input.uncompiled.map(\.path) == ["part.c", "part.h"])
        #expect(input.notes.first?.hasSuffix("it made anew: all.c") == true)
        #expect(try changes(input) == ["part"])
    }

    @Test(arguments: [("cp", ["one", "two"]), ("test -e include/one.h || cp", [])])
    func `trap source-and-generator: a header that the build copies for some units`(copy: String, expected: [String])
        async throws
    {
        let tree = try SourceTree([
            "src/one.h": "static inline int one(void) { return 1; }\n",
            "a.c": "#include \"src/one.h\"\nint one_a(void) { return one(); }\n",
            "b.c": "#include <one.h>\nint two(void) { return one(); }\n",
            "Makefile": "all:\n\tmkdir -p include; \(copy) src/*.h include\n\tgcc -O2 -fPIC -c a.c\n"
                + "\tgcc -O2 -fPIC -Iinclude -c b.c\n\tgcc -shared -o lib.so a.o b.o\n",
        ])
        defer { tree.remove() }
        try await recordMake(tree)
        let diff =
            "--- a/src/one.h\n+++ b/src/one.h\n@@ -1 +1 @@\n-static inline int one(void) { return 1; }\n"
            + "+static inline int one(void) { return 2; }\n"
        if expected.isEmpty {
            #expect(await refusedRules { _ = try await compile(tree, diff) } == ["source-and-generator"])
        } else {
            #expect(try changes(try await compile(tree, diff)) == ["one_a", "two"])
        }
    }

    @Test
    func `trap source-and-generator: a new function's prototype is generated before its callers are compiled`()
        async throws
    {
        let tree = try await generatedTree()
        defer { tree.remove() }
        let input = try await compile(tree, newFunction)
        #expect(input.notes.first?.hasSuffix("it made anew: proto.h") == true)
        #expect(try changes(input) == ["half"])
    }

    @Test func `trap source-and-generator: new code that calls what nothing declares is refused`()
        async throws
    {
        let tree = try await generatedTree()
        defer { tree.remove() }
        removeTree(tree.root + "/build.graph")
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

    @Test func `a repeated build can write nothing but its private view of the tree`() async throws {
        let outside = "\(temporaryDirectory)/patchbuild-outside-\(getpid())"
        let tree = try await generatedTree(["EXTRA=touch \(outside)"])
        defer { tree.remove() }
        defer { unlink(outside) }
        var before = stat()
        stat(outside, &before)
        #expect(await refusedRules { _ = try await compile(tree, newFunction) } == ["source-and-generator"])
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
