import Diagnostics
import TestSupport
import Testing

@testable import Recompiling

private func sources() throws -> SourceTree { try SourceTree(["a.c": "int a;\n", "b.c": "int b;\n"]) }

private func recorded(_ tree: SourceTree, _ script: String) async throws -> RecordedBuild {
    try await record(
        command: ["sh", "-c", "cd \(tree.root) && \(script)"], output: tree.root + "/compile_commands.json")
}

@Test(.needsTracing) func `a build is recorded`() async throws {
    let tree = try sources()
    defer { tree.remove() }
    let build = try await recorded(tree, "gcc -O2 -c a.c && gcc -c b.c -o c.o")
    #expect(build == RecordedBuild(status: 0, units: 2, kept: 0))
    let units = try CompileDatabase.read(tree.root + "/compile_commands.json").units
    #expect(Set(units.map { $0.name(relativeTo: tree.root) }) == ["a.o", "c.o"])
}

@Test(.needsTracing) func `a failed build keeps its status and the earlier record`()
    async throws
{
    let tree = try sources()
    defer { tree.remove() }
    try tree.write("earlier", to: "compile_commands.json")
    #expect(try await recorded(tree, "gcc -c a.c; exit 7") == RecordedBuild(status: 7, units: nil, kept: 0))
    #expect(readText(tree.root + "/compile_commands.json") == "earlier")
}

@Test(.needsTracing) func `a build that compiles nothing is refused`() async throws {
    let tree = try sources()
    defer { tree.remove() }
    #expect(await refusedRules { _ = try await recorded(tree, "true") } == ["no-compile-command"])
}

@Test(.needsTracing) func `an incremental build keeps what it did not compile again`()
    async throws
{
    let tree = try sources()
    defer { tree.remove() }
    _ = try await recorded(tree, "gcc -c a.c -o a.o && gcc -c b.c -o b.o")
    #expect(try await recorded(tree, "gcc -O1 -c b.c -o b.o") == RecordedBuild(status: 0, units: 2, kept: 1))
}
