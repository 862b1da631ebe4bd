import Glibc
import PatchFormat
import SourceChanges
import TestSupport
import Testing

@testable import Recompiling

private let sources = [
    "main.c": "#include \"one.h\"\nint other(void);\nint main(void) { return ONE + other(); }\n",
    "other.c": "#include <made.h>\nint other(void) { return MADE; }\n",
    "one.h": "#define ONE 1\n", "in.txt": "#define MADE 2\n", "VERSION": "7\n", "notes.y": "x\n",
    "lone.c": "int lone;\n",
    "flags": "-DFLAG=1\n", "a/empty": "", "doc/x.txt": "x\n", "list.map": "{ local: nothing; };\n",
]

private let script = """
    set -e
    cp in.txt made.h
    gcc -DVERSION=$(cat VERSION) @flags -Ia -I. -c main.c
    gcc -Ia -I. -c other.c
    gcc -Wl,--version-script,list.map -o prog main.o other.o
    cp doc/x.txt doc/y.txt
    """

/// The compile commands of a tree that was recorded as it was built.
private func recorded(
    _ script: String = script, more: [String: String] = [:], before: (SourceTree) throws -> Void = { _ in }
) async throws -> (SourceTree, CompileDatabase) {
    let tree = try SourceTree(sources.merging(["build.sh": script]) { $1 }.merging(more) { $1 })
    try before(tree)
    let output = tree.root + "/compile_commands.json"
    _ = try await record(command: ["sh", "-c", "cd \(tree.root) && sh build.sh"], output: output)
    return (tree, try CompileDatabase.read(output))
}

private func units(_ tree: SourceTree, _ database: CompileDatabase, _ change: [String: String?]) async throws
    -> [String]
{
    try await affectedUnits(of: tree.change(change), in: database).units.map { $0.name(relativeTo: tree.root) }
}

@Suite(.needsTracing) struct RecordedReadersTests {
    @Test func `the recorded build tells who reads a file`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        #expect(try await units(tree, database, ["one.h": "#define ONE 2\n"]) == ["main.o"])
        #expect(try await units(tree, database, ["made.h": "#define MADE 3\n"]) == ["other.o"])
        let affected = try await affectedUnits(of: tree.change(["main.c": "int main;\n"]), in: database)
        let dependencies = try #require(affected.dependencies.first ?? nil)
        #expect(dependencies.isSuperset(of: [tree.root + "/one.h", tree.root + "/main.c"]))
        #expect(!dependencies.contains { $0.hasSuffix(".s") || $0.hasSuffix(".o") })
    }

    @Test func `trap named-by-command: a file that a command names is read by its unit`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        #expect(try await units(tree, database, ["flags": "-DFLAG=2\n"]) == ["main.o"])
    }

    @Test func `a unit is known by the linked files that have it`() async throws {
        let script =
            "gcc -c lone.c -o one.o; cp lone.c twin.c; gcc -c twin.c -o two.o; ar rc one.a one.o; ar rc two.a two.o; "
            + "for n in one two; do gcc -shared -o $n.so -Wl,--whole-archive $n.a -Wl,--no-whole-archive; done"
        let (tree, database) = try await recorded(script)
        defer { tree.remove() }
        guard case .whole(let readers) = try BuildRecord(database: database, root: tree.root) else {
            Issue.record("no record")
            return
        }
        // Both libraries have the same bytes.
        let holders = database.units.map { readers.files(holding: $0)?.map(\.path) }
        #expect(holders == [[tree.root + "/one.so"], [tree.root + "/two.so"]])
    }

    @Test func `a symbolic link that leads elsewhere is read by whom it led to a file`() async throws {
        let tree = try SourceTree(sources.merging(["build.sh": script, "real.h": "#define ONE 1\n"]) { $1 })
        defer { tree.remove() }
        removeTree(tree.root + "/one.h")
        try #require(symlink("real.h", tree.root + "/one.h") == 0)
        let output = tree.root + "/compile_commands.json"
        _ = try await record(command: ["sh", "-c", "cd \(tree.root) && sh build.sh"], output: output)
        let database = try CompileDatabase.read(output)
        #expect(try await units(tree, database, ["one.h": "#define ONE 2\n"]) == ["main.o"])
        #expect(try await units(tree, database, ["real.h": "#define ONE 2\n"]) == ["main.o"])
    }

    @Test func `one command that compiles several sources reads for each of them`() async throws {
        let (tree, database) = try await recorded("cp in.txt made.h; gcc @flags -Ia -I. main.c other.c -o prog")
        defer { tree.remove() }
        for source in ["main.c", "other.c"] {
            let changed = (sources[source] ?? "") + "int more;\n"
            let affected = try await affectedUnits(of: tree.change([source: changed]), in: database)
            #expect(affected.units.contains { $0.file.hasSuffix(source) })
        }
    }

    @Test func `a new file that was looked for in vain is read`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        #expect(try await units(tree, database, ["a/made.h": "#define MADE 4\n"]) == ["other.o"])
        #expect(try await units(tree, database, ["b/made.h": "#define MADE 4\n"]) == [])
    }

    @Test func `what nothing linked has read has no effect, whatever it is called`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        let change = tree.change([
            "lone.c": "int lone = 1;\n", "notes.y": "y\n", "unused.h": "\n", "sub/Makefile.am": "x\n",
            "doc/x.txt": "y\n",
            "list.map": "{ };\n", "one.h": "#define ONE 2\n",
        ])
        let affected = try await affectedUnits(of: change, in: database)
        #expect(affected.units.count == 1)
        // A target that this build did not make may know them.
        #expect(affected.unread.map(\.path) == ["lone.c", "notes.y"])
        #expect(affected.unread.allSatisfy { $0.reach == .outsideOfRecord })
        #expect(
            affected.linkedFiles == [
                LinkedFile(path: tree.root + "/prog", digest: Digest.sha256(readBytes(tree.root + "/prog")))
            ])
        #expect(
            affected.ignored.map(\.path) == [
                "doc/x.txt", "list.map", "lone.c", "notes.y", "sub/Makefile.am", "unused.h",
            ])
    }

    @Test(arguments: [
        ("in.txt", "unread-source"), ("VERSION", "no-compile-command"), ("new.c", "no-compile-command"),
    ]) func `what decides or is turned into source is refused`(path: String, rule: String) async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        let rules = await refusedRules { _ = try await units(tree, database, [path: "#define MADE 9\n"]) }
        #expect(rules == [rule])
    }

    @Test func `trap source-and-generator: a header that is copied, too`() async throws {
        let (tree, database) = try await recorded(
            script + "\ncat one.h >> made.h; gcc -c -Ia -I. other.c; gcc -o prog main.o other.o")
        defer { tree.remove() }
        let rules = await refusedRules { _ = try await units(tree, database, ["one.h": "#define MADE 9\n"]) }
        #expect(rules == ["source-and-generator"])
    }

    @Test(arguments: ["gen.c", "one.h"])
    func `trap source-and-generator: what a generator is made of`(path: String) async throws {
        let generator =
            "#include <stdio.h>\n#include \"one.h\"\nint main(void) { printf(\"#define GEN %d\\n\", ONE); }\n"
        let (tree, database) = try await recorded(
            "gcc -c gen.c; gcc -o gen gen.o; ./gen > gen.h; " + script + "\ngcc -include gen.h -I. -Ia -c main.c\n"
                + "gcc -o prog main.o other.o",
            more: ["gen.c": generator])
        defer { tree.remove() }
        let text = (path == "gen.c" ? generator : "") + "#define ONE 9\n"
        let rules = await refusedRules { _ = try await units(tree, database, [path: text]) }
        #expect(rules == ["source-and-generator"])
        #expect(try await units(tree, database, ["made.h": "#define MADE 3\n"]) == ["other.o"])
    }

    @Test func `the script of a build is refused`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        let rules = await refusedRules { _ = try await units(tree, database, ["build.sh": "x\n"]) }
        #expect(rules == ["no-compile-command"])
    }

    @Test func `what a shell only asks about decides as well`() async throws {
        let (tree, database) = try await recorded(
            script + "\nif grep -q x notes.y; then gcc -c lone.c; gcc -o two main.o other.o lone.o; fi")
        defer { tree.remove() }
        let rules = await refusedRules { _ = try await units(tree, database, ["notes.y": "y\n"]) }
        #expect(rules == ["no-compile-command"])
    }

    private static let install =
        "if install -D -m 644 one.h out/include/one.h; then install -D -m 644 in.txt out/share/in.txt; fi"

    @Test(
        .needsOverlay,
        arguments: [
            (install, "#define ONE 2\n", true),
            ("if grep -q ONE one.h; then gcc -c lone.c; fi", "#define ONE 2\n", true),
            ("if grep -q ONE one.h; then gcc -c lone.c; fi", "#define TWO 2\n", false),
            ("cp one.h saved; if cmp -s one.h saved; then gcc -c lone.c; fi", "#define ONE 2\n", false),
            ("cp one.h saved; if diff one.h saved; then gcc -c lone.c; fi", "#define ONE 2\n", false),
            // What it would have said is not known.
            ("if grep -q TWO one.h; then gcc -c lone.c; fi", "#define ONE 2\n", false),
            ("if grep -q ONE < one.h; then gcc -c lone.c; fi", "#define ONE 2\n", false),
            ("if cat main.c | cmp -s - one.h; then :; else gcc -c lone.c; fi", "#define ONE 2\n", false),
            // A copy is asked in its place.
            ("cp one.h saved; if grep -q '#define ONE 1' saved; then gcc -c lone.c; fi", "#define ONE 2\n", false),
            ("cp one.h saved; mv saved kept; if grep -q 1 kept; then gcc -c lone.c; fi", "#define ONE 2\n", false),
        ])
    func `what is asked about a file and answers the same over the changed one decides nothing`(
        more: String, text: String, passes: Bool
    ) async throws {
        let (tree, database) = try await recorded(script + "\n" + more + "\ngcc -o two main.o other.o")
        defer { tree.remove() }
        let change = tree.change(["one.h": text])
        let record = try BuildRecord(database: database, root: tree.root)
        let readers = try #require(record.readers)
        var affected: AffectedUnits?
        let rules = await refusedRules {
            let settled = try await settledFiles(change, by: readers, database: database, scratch: tree.scratch)
            affected = try await affectedUnits(of: change, in: database, by: record, settled: settled)
        }
        #expect(rules == (passes ? [] : ["no-compile-command"]))
        #expect((affected?.units.map { $0.name(relativeTo: tree.root) } ?? []) == (passes ? ["main.o"] : []))
    }

    @Test func `make's time stamps and patterns count`() async throws {
        let make = "prog: main.o other.o\\n\\tgcc -o prog main.o other.o\\nmade.h: in.txt\\nmain.o other.o: made.h\\n"
        let (tree, database) = try await recorded(
            "cp in.txt made.h; printf '\(make)' > Makefile; make CPPFLAGS=-I. X='$(wildcard *.zz)' prog")
        defer { tree.remove() }
        #expect(await refusedRules { _ = try await units(tree, database, ["in.txt": "x\n"]) } == ["unread-source"])
        #expect(try await units(tree, database, ["one.h": "#define ONE 2\n"]) == ["main.o"])
    }

    @Test func `what an earlier make asked about says nothing once all that it made is made again`() async throws {
        let make =
            "prog: main.o other.o lone.o\\n\\tgcc -o $@ $^\\n%%.o: %%.c | Makefile.dep\\n\\tgcc -I. -c $<\\n"
            + "Makefile.dep:\\n\\tgcc -I. -MM main.c other.c >$@\\n-include Makefile.dep\\n"
        let script = "cp in.txt made.h; printf '\(make)' > Makefile; [ -e lone.o ] || gcc -c lone.c; make"
        let (tree, _) = try await recorded(script)
        defer { tree.remove() }
        for file in ["main.o", "other.o", "Makefile.dep"] { removeTree(tree.root + "/" + file) }
        let output = tree.root + "/compile_commands.json"
        let again = try await record(command: ["sh", "-c", "cd \(tree.root) && sh build.sh"], output: output)
        #expect(again.kept == 1)
        let database = try CompileDatabase.read(output)
        #expect(try await units(tree, database, ["one.h": "#define ONE 2\n"]) == ["main.o"])
    }

    @Test func `an archive that was made before and brought up to date is of its units alone`() async throws {
        let script =
            "cp in.txt made.h; gcc -I. -c main.c; gcc -I. -c other.c; ar r lib.a other.o; gcc -o prog main.o lib.a"
        let (tree, _) = try await recorded(script)
        defer { tree.remove() }
        let output = tree.root + "/compile_commands.json"
        _ = try await record(command: ["sh", "-c", "cd \(tree.root) && sh build.sh"], output: output)
        let database = try CompileDatabase.read(output)
        let changed = (sources["other.c"] ?? "") + "int more;\n"
        #expect(try await units(tree, database, ["other.c": changed]) == ["other.o"])
    }

    @Test func `a tree that was edited since it was recorded is asked anew`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        try tree.write("#include \"lone.c\"\n" + (sources["main.c"] ?? ""), to: "main.c")
        #expect(try await units(tree, database, ["lone.c": "int lone = 1;\n"]) == ["main.o"])
    }

    @Test(arguments: ["flags", "doc/z.dat"])
    func `an edited tree is refused what is no source, and a new record helps`(path: String) async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        try tree.write("x\n", to: "doc/z.dat")
        try tree.write((sources["main.c"] ?? "") + "int more;\n", to: "main.c")
        let change = [path: "-DFLAG=2\n"]
        let rules = await refusedRules { _ = try await units(tree, database, change) }
        #expect(rules == ["unread-source"])
        let (output, command) = (tree.root + "/compile_commands.json", "cd \(tree.root) && sh build.sh")
        _ = try await record(command: ["sh", "-c", command], output: output)
        #expect(try await units(tree, try CompileDatabase.read(output), change) == (path == "flags" ? ["main.o"] : []))
    }

    @Test func `a compiler's cache that reads nothing does not hide who reads a header`() async throws {
        let cache = """
            #!/bin/sh
            case "$*" in *other.c*) cat other.c > hash; gzip -dc kept.gz > other.o;; *) exec "$@";; esac
            """
        let script = """
            cp in.txt made.h; chmod +x ccache; ./ccache gcc -Ia -I. -c main.c; ./ccache gcc -I. -c other.c
            gcc -o prog main.o other.o
            """
        let (tree, database) = try await recorded(script, more: ["ccache": cache]) { tree in
            try runOrThrow(
                "sh", ["-c", "cp in.txt made.h; gcc -I. -c other.c -o kept; gzip kept; rm made.h"], in: tree.root)
        }
        defer { tree.remove() }
        #expect(try await units(tree, database, ["made.h": "#define MADE 3\n"]) == ["other.o"])
        #expect(try await units(tree, database, ["one.h": "#define ONE 2\n"]) == ["main.o"])
        #expect(await refusedRules { _ = try await units(tree, database, ["in.txt": "#define MADE 9\n"]) } != [])
    }

    @Test func `a file that was there only while the build ran does not matter`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        removeTree(tree.root + "/in.txt")
        #expect(try await units(tree, database, ["flags": "-DFLAG=2\n"]) == ["main.o"])
    }

    @Test func `objects that come from elsewhere leave the compilers to be asked`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        try tree.write("int lone; // again\n", to: "lone.c")
        try runOrThrow("gcc", ["-c", "lone.c"], in: tree.root)
        let output = tree.root + "/compile_commands.json"
        _ = try await record(
            command: ["sh", "-c", "cd \(tree.root) && gcc -c -Ia -I. other.c && gcc -o prog main.o other.o lone.o"],
            output: output)
        let rules = await affectedRules(tree, database, ["lone.c": "int lone = 2;\n"])
        #expect(rules == ["unread-source"])
    }

    private func affectedRules(_ tree: SourceTree, _ database: CompileDatabase, _ change: [String: String]) async
        -> [String]
    {
        (try? await affectedUnits(of: tree.change(change), in: database).unread.map(\.refusal.rule)) ?? []
    }

    @Test func `a damaged graph is said to be so`() async throws {
        let (tree, database) = try await recorded()
        defer { tree.remove() }
        let text = readText(tree.root + "/build.graph")
        try writeText(String(text.dropLast(20)), to: tree.root + "/build.graph")
        #expect(await refusedRules { _ = try await units(tree, database, ["one.h": "x\n"]) } == ["bad-input"])
    }
}

extension BuildRecord {
    fileprivate var readers: RecordedReaders? { if case .whole(let readers) = self { readers } else { nil } }
}
