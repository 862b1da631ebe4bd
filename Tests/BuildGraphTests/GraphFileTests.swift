import Diagnostics
import TestSupport
import Testing

@testable import BuildGraph

private func sample() -> RecordedGraph {
    var shell = BuildProcess()
    shell.runs = [ProgramRun(program: "/bin/sh", arguments: ["sh", "-c", "x > y"], directory: "/t")]
    shell.missed = [4]
    var child = BuildProcess(parent: 0)
    child.runs = [
        ProgramRun(
            program: "/bin/x", arguments: ["x", "", "x"], directory: "/t/a",
            environment: ["LANG": "C", "EMPTY": "", "HOME": nil])
    ]
    child.reads = [0, 1]
    child.seen = [3]
    child.listed = [4]
    child.fedBy = [0]
    child.status = 2
    var made = FileVersion(path: 1)
    made.makers = [1]
    made.origins = [0]
    made.digest = String(repeating: "0f", count: 32)
    made.kind = .object
    return RecordedGraph(
        directory: "/t", command: ["sh", "build"], paths: ["/t/a", "/t/b", "/t/c", "/t/d", "/t/e"],
        processes: [shell, child],
        versions: [FileVersion(path: 0), FileVersion(path: 2), made])
}

private func why(_ body: () throws -> Void) -> String {
    do { try body() } catch let error as Refusal { return error.why } catch { return "\(error)" }
    return "nothing"
}

@Suite struct GraphFileTests {
    @Test func `a graph is read as it was written`() throws {
        try withTemporaryDirectory { directory in
            let file = directory + "/build.graph"
            try sample().write(to: file)
            var read = try #require(try RecordedGraph.read(file))
            // Other texts of the file follow.
            read.paths = Array(read.paths.prefix(5))
            #expect(read == sample())
            try sample().write(to: directory + "/again")
            #expect(readBytes(file) == readBytes(directory + "/again"))
        }
    }

    @Test func `a graph that is not there is none`() throws {
        #expect(try RecordedGraph.read("/nowhere/build.graph") == nil)
    }

    @Test func `the graph lies beside the commands`() {
        #expect(graphPath(besides: "/a/compile_commands.json") == "/a/build.graph")
        #expect(graphPath(besides: "/a/other.json") == "/a/other.graph")
    }

    @Test(arguments: [
        (#""version":1"#, #""version":2"#, "version is 2"), ("build graph", "something", "format"),
        (#""reads":"0-1""#, #""reads":"0-9""#, "leads out of the file"),
        (#""reads":"0-1""#, #""reads":"1-0""#, "list of numbers"),
        (#""reads":"0-1""#, #""reads":"0--1""#, "list of numbers"),
        (#""parent":0"#, #""parent":1"#, "before its parent"), (#""parent":0"#, #""parent":-1"#, "before its parent"),
        (#""path":0"#, #""path":99"#, "not there"), (#""environment":0"#, #""environment":7"#, "environment"),
        (#""digest":"0f"#, #""digest":"zz"#, "digest"), (#""kind":"object""#, #""kind":"tree""#, "kind"),
        (#""command""#, #""commando""#, "command"), (#""files""#, #""files":1,"files""#, "twice"),
    ]) func `what is wrong in a graph is said`(old: String, new: String, word: String) throws {
        try withTemporaryDirectory { directory in
            let file = directory + "/build.graph"
            try sample().write(to: file)
            let text = readText(file)
            try #require(text.contains(old))
            try writeText(text.replacing(old, with: new, maxReplacements: 1), to: file)
            let answer = why { _ = try RecordedGraph.read(file) }
            #expect(answer.contains(word), "\(answer)")
        }
    }

    @Test func `no damage of a graph ends the process`() throws {
        try withTemporaryDirectory { directory in
            let file = directory + "/build.graph"
            try sample().write(to: file)
            let bytes = readBytes(file)
            var random = SplitMix(state: 5)
            for _ in 0..<1500 {
                var damaged = bytes
                for _ in 0...Int(random.next() % 3) {
                    guard !damaged.isEmpty else { break }
                    let place = Int(random.next() % UInt64(damaged.count))
                    switch random.next() % 3 {
                    case 0: damaged[place] = UInt8(truncatingIfNeeded: random.next())
                    case 1: damaged.remove(at: place)
                    default: damaged = Array(damaged.prefix(place))
                    }
                }
                guard let graph = try? RecordedGraph(bytes: damaged) else { continue }
                _ = graph.compilations { word, _ in word.hasSuffix(".c") }
                _ = graph.behind(Array(graph.versions.indices))
            }
        }
    }

    @Test(arguments: [[], [0], [1, 2, 3], [5, 3, 4, 4, 9], [0, 2, 4]]) func `lists of numbers come back`(numbers: [Int])
    {
        #expect(NumberList.numbers(NumberList.text(numbers), below: 10) == numbers)
    }

    @Test(arguments: [
        "-", "1-", "-1", "1  2", " 1", "1 ", "01", "10", "0-10", "3-2", "a", "1-2-3", "99999999999999999999",
    ])
    func `what is no list of numbers is refused`(text: String) {
        #expect(NumberList.numbers(text, below: 10) == nil)
    }
}
