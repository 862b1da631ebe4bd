import Diagnostics
import TestSupport
import Testing

@testable import BuildGraph

/// A tree that is built by a script under observation.
struct TracedTree {
    let root: String

    init(_ files: [String: String]) throws {
        root = "\(temporaryDirectory)/patchbuild-graph-\(UInt64.random(in: 0 ... .max))"
        try makeDirectory(root)
        for (path, text) in files {
            let full = root + "/" + path
            try makeDirectory(String(full[..<(full.lastIndex(of: "/") ?? full.endIndex)]))
            try writeText(text, to: full)
        }
    }

    func build(_ script: String, after earlier: RecordedGraph? = nil) async throws -> TracedBuild {
        try await traceBuild(["sh", "-ec", script], directory: root, earlier: earlier)
    }

    func remove() { removeTree(root) }
}

extension RecordedGraph {
    /// Sources of the tree behind what the build left at a path of it.
    func sources(behind name: String, _ tree: TracedTree) -> [String] {
        let path = tree.root + "/" + name
        guard let number = paths.firstIndex(of: path),
            let version = versions.lastIndex(where: { $0.path == number && $0.digest != nil })
        else { return ["there is no \(name)"] }
        return behind([version]).versions.filter { versions[$0].isSource }.map { paths[versions[$0].path] }
            .filter { $0.hasPrefix(tree.root + "/") }.map { String($0.dropFirst(tree.root.count + 1)) }.sorted()
    }

    func commands(_ program: String) -> [BuildProcess] {
        processes.filter { $0.runs.last?.program.hasSuffix("/" + program) ?? false }
    }

    /// Each compilation's source and output.
    var compiled: [String] {
        compilations { word, _ in word.hasSuffix(".c") || word.hasSuffix(".S") || word.hasSuffix(".cc") }.map(\.file)
    }
}

private let program = "int value(void);\nint main(void) { return value(); }\n"
private let value = "#include \"value.h\"\nint value(void) { return VALUE; }\n"
private let simple = ["main.c": program, "value.c": value, "value.h": "#define VALUE 3\n"]

@Suite(.needsTracing) struct BuildTests {
    @Test func `sources, objects and archives behind a program`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        let build = try await tree.build(
            "gcc -c main.c; gcc -pipe -c value.c -o sub.o; ar rc lib.a sub.o; gcc -o prog main.o lib.a; cp prog copy")
        #expect(build.status == 0 && build.leftovers == 0)
        #expect(build.graph.sources(behind: "prog", tree) == ["main.c", "value.c", "value.h"])
        #expect(build.graph.sources(behind: "copy", tree) == ["main.c", "value.c", "value.h"])
        #expect(build.graph.compiled == ["main.c", "value.c"])
        let kinds = build.graph.versions.compactMap(\.kind).map(\.rawValue).sorted()
        #expect(kinds == ["archive", "linked", "linked", "object", "object"])
        let made = build.graph.versions.first { $0.kind == .archive }
        #expect(made?.digest == digest(ofFile: tree.root + "/lib.a"))
    }

    @Test func `what nothing linked needs is left out`() async throws {
        let tree = try TracedTree(simple.merging(["notes": "x"]) { $1 })
        defer { tree.remove() }
        let graph = try await tree.build(
            """
            exec 5> config.log
            for i in 1 2 3; do echo 'int main;' > conftest.c; gcc -c conftest.c >&5 2>&1; rm conftest.*; done
            sh -c 'exec 5>>config.log; echo // > config.h; echo 2 >&5'
            gcc -include config.h main.c value.c -o prog; cat notes > other
            """
        ).graph
        #expect(graph.sources(behind: "prog", tree) == ["main.c", "value.c", "value.h"])
        #expect(graph.commands("cc1").count == 2 && !graph.paths.contains { $0.hasSuffix("conftest.c") })
        // It reads a source: what it told the shell is not known.
        #expect(graph.commands("cat").count == 1)
    }

    @Test(arguments: [
        "cat head.in > head.h", "sed s/A/B/ head.in | sort > head.h", "(cat head.in; echo) > head.h",
        "exec 5> head.h; cat head.in >&5; exec 5>&-", "cp head.in head.tmp; mv -f head.tmp head.h",
        "ln -s head.in head.h",
        "install -m 644 head.in head.h", "ln head.in head.h",
        "tar cf x.tar head.in; mkdir d; tar xf x.tar -C d; cp d/head.in head.h",
        "mkdir d; cp head.in d; mv d e; cp e/head.in head.h",
        "while read -r l; do echo \"$l\"; done < head.in > head.h",
        "x=$(cat head.in); echo \"$x\" > head.h", "bash -c 'cat <(cat head.in)' > head.h",
        "perl -pe 1 head.in > head.h", "echo 'cat head.in' > gen; chmod +x gen; ./gen > head.h",
        "dd if=head.in of=head.h", "cp head.in head.h; echo >> head.h; sed -i s/A/B/ head.h",
    ]) func `a header is followed to what it was made of`(way: String) async throws {
        let tree = try TracedTree([
            "main.c": "#include \"head.h\"\nint main(void) { return 0; }\n", "head.in": "// A\n",
        ])
        defer { tree.remove() }
        let graph = try await tree.build(way + "\ngcc -c main.c; gcc -o prog main.o").graph
        let behind = graph.sources(behind: "prog", tree)
        #expect(behind.contains("head.in"), "\(behind)")
    }

    @Test func `trap last-record-wins: the object that was linked counts`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        let graph = try await tree.build(
            "gcc -c main.c; gcc -O2 -c value.c; gcc -o prog main.o value.o; gcc -DUNIT_TEST -c value.c"
        ).graph
        let commands = graph.compilations { word, _ in word.hasSuffix(".c") }.map(\.arguments)
        #expect(commands.count == 2 && !commands.joined().contains("-DUNIT_TEST") && commands.joined().contains("-O2"))
    }

    @Test func `a file that was looked for in vain is known`() async throws {
        let tree = try TracedTree([
            "main.c": "#include <head.h>\nint main(void) { return 0; }\n", "b/head.h": "\n", "a/x": "",
        ])
        defer { tree.remove() }
        let graph = try await tree.build("gcc -Ia -Ib -c main.c; test -f option.mk || gcc -o prog main.o").graph
        let missed = graph.commands("cc1").flatMap(\.missed).map { graph.paths[$0] }
        #expect(missed.contains(tree.root + "/a/head.h"))
        #expect(graph.processes.flatMap(\.missed).contains { graph.paths[$0] == tree.root + "/option.mk" })
    }

    @Test func `files that a command names are read`() async throws {
        let tree = try TracedTree(simple.merging(["flags": "-DX=1\n-O1\n", "forced.h": "\n"]) { $1 })
        defer { tree.remove() }
        let graph = try await tree.build("gcc @flags -include forced.h -c value.c; gcc main.c value.o -o prog").graph
        // The driver reads the first, and starts the compiler by what it says.
        #expect(graph.sources(behind: "prog", tree) == ["forced.h", "main.c", "value.c", "value.h"])
        #expect(
            graph.commands("gcc").flatMap(\.reads).contains {
                graph.paths[graph.versions[$0].path] == tree.root + "/flags"
            })
    }

    @Test func `a parallel make is followed`() async throws {
        var files = [
            "Makefile":
                "prog: $(patsubst %.c,%.o,$(wildcard *.c))\n\tgcc -o $@ $^\n%.o: %.c\n\tcd . && gcc -c $< -o $@\n"
        ]
        for number in 0..<12 { files["f\(number).c"] = "int f\(number)(void) { return \(number); }\n" }
        files["main.c"] = "int main(void) { return 0; }\n"
        let tree = try TracedTree(files)
        defer { tree.remove() }
        let graph = try await tree.build("make -j4").graph
        #expect(graph.sources(behind: "prog", tree) == files.keys.filter { $0 != "Makefile" }.sorted())
        #expect(graph.compiled.count == 13)
        let make = try #require(graph.commands("make").first)
        #expect(make.listed.contains { graph.paths[$0] == tree.root })
        #expect(make.reads.contains { graph.paths[graph.versions[$0].path] == tree.root + "/Makefile" })
    }

    @Test func `an incremental build goes on from the earlier one`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        let first = try await tree.build("gcc -c main.c; gcc -c value.c; gcc -o prog main.o value.o").graph
        let build = try await tree.build("gcc -O1 -c value.c; gcc -o prog main.o value.o", after: first)
        #expect(build.graph.sources(behind: "prog", tree) == ["main.c", "value.c", "value.h"])
        let compilations = build.graph.compilations { word, _ in word.hasSuffix(".c") }
        #expect(
            compilations.map(\.file) == ["main.c", "value.c"] && compilations.last?.arguments.contains("-O1") == true)
        #expect(compilations.map { $0.process < build.earlier } == [true, false])
        let whole = try await tree.build(
            "rm *.o; gcc -c main.c; gcc -c value.c; gcc -o prog main.o value.o", after: build.graph)
        #expect(whole.earlier == 0 && whole.graph.commands("cc1").count == 2)
    }

    @Test func `what a build leaves running is ended`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        let build = try await tree.build("gcc main.c value.c -o prog; setsid sleep 600 > /dev/null 2>&1 &")
        #expect(build.status == 0 && build.leftovers == 1 && build.graph.compiled.count == 2)
    }

    @Test func `the environment that a build sets is kept, and no other`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        let graph = try await tree.build("CPATH=/x gcc -c main.c; gcc main.o value.c -o prog").graph
        let environments = graph.commands("cc1").compactMap(\.runs.last?.environment)
        #expect(environments.first?["CPATH"] == "/x" && environments.last?["CPATH"] == nil)
        #expect(!graph.processes.flatMap(\.runs).contains { $0.environment["HOME"] != nil })
    }

    @Test func `a failed build has its status`() async throws {
        let tree = try TracedTree(simple)
        defer { tree.remove() }
        #expect(try await tree.build("gcc -c main.c; exit 7").status == 7)
    }
}
