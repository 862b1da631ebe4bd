import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

/// Variables that get another value at the switch.
@Suite("values") struct ValueTests {
    /// `limit` and `level` are 10 and 30, and become 20 and 40; with a third argument the program sets `limit` to 99.
    static func patch(id: String = "fix") throws -> HandMadePatch {
        let source = Programs.plainSource
            .replacing("volatile int sink;", with: "volatile int sink, limit = 10, level = 30;")
            .replacing(
                "printf(\"answer=%d second=%d\\n\", a, b);",
                with: "printf(\"answer=%d limit=%d level=%d\\n\", a, limit, level);"
            ).replacing("printf(\"ready\\n\");", with: "if (argc > 3) limit = atoi(argv[3]);\nprintf(\"ready\\n\");")
        let target = try Fixture.compile(source, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "valued")
        var patch = try Programs.plainPatch(id: id)
        patch.target = target
        let symbols = try Fixture.symbols(target)
        patch.values = [
            ValuePatch(
                name: "limit", address: try #require(symbols["limit"]).address, original: "0a000000", new: "14000000"),
            ValuePatch(
                name: "level", address: try #require(symbols["level"]).address, original: "1e000000", new: "28000000"),
        ]
        return patch
    }

    @Test("written at the switch, put back by revert")
    func written() throws {
        try withPatched(try Self.patch()) { process, bundle in
            try process.waitForNew("answer=1 limit=10 level=30")
            for _ in 0..<2 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2 limit=20 level=40")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                let status = try JSON(try livepatch("status", "--pid", process.id, "--json").stdout)
                let values = status["processes"][0]["patches"][0]["values"].elements
                #expect(values.compactMap { $0["outcome"].text } == ["written", "written"])
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 limit=10 level=30")
            }
        }
    }

    @Test(
        "what the program has changed, or set to the very value, is left alone and reported", arguments: ["99", "20"])
    func leftAlone(value: String) throws {
        try withPatched(try Self.patch(), arguments: ["0", "sleep", value]) { process, bundle in
            let why = value == "99" ? "the program had changed it" : "it had it already"
            let applied = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectStatus(0, applied)
            #expect(applied.stdout.contains("limit") && applied.stdout.contains(why), "\(applied)")
            #expect(!applied.stdout.contains("level"), "\(applied)")
            try process.waitForNew("answer=2 limit=\(value) level=40")
            for command in ["status", "verify"] {
                #expect(try livepatch(command, "--pid", process.id).stdout.contains(why))
            }
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 limit=\(value) level=30")
        }
    }

    @Test("what the program changes after the switch is not put back")
    func changedSince() throws {
        let patch = try Self.patch()
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            let registry = try filledRegistry(of: process)
            let limit = try #require(registry.state.patches.at(0).values.first)
            try registry.memory.write([77, 0, 0, 0], at: RemoteAddress(limit.address))
            let reverted = try livepatch("revert", bundle, "--pid", process.id)
            try expectStatus(0, reverted)
            #expect(reverted.stdout.contains("the program has changed it since"), "\(reverted)")
            try process.waitForNew("answer=1 limit=77 level=30")
        }
    }

    @Test("killed-between-entries: with the switch on, the values that are missing are written by the next command")
    func completed() throws {
        try withPatched(try Self.patch()) { process, bundle in
            for state in [PatchState.activating, .deactivating] {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                var registry = try filledRegistry(of: process)
                let level = try #require(registry.state.patches.at(0).values.last)
                try registry.memory.write([30, 0, 0, 0], at: RemoteAddress(level.address))
                try registry.update { registry in
                    registry.patches[0].state = state
                    if state == .activating { registry.patches[0].updateValues { _ in .intended } }
                }
                try process.waitForNew("answer=2 limit=20 level=30")
                try expectStatus(0, try livepatch("activate", "fix", "--pid", process.id))
                try process.waitForNew("answer=2 limit=20 level=40")
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 limit=10 level=30")
            }
        }
    }

    @Test("killed-between-entries: livepatch killed at any moment leaves old code with old values, or new code")
    func killedAnywhere() throws {
        try withPatched(try Self.patch(), arguments: ["8", "sleep"]) { process, bundle in
            var generator = SystemRandomNumberGenerator()
            for round in 0..<30 {
                let command = round % 2 == 0 ? ["apply", bundle, "--allow-unsigned"] : ["revert", bundle]
                try withProcess(toolPath("livepatch"), command + ["--pid", process.id]) { tool in
                    usleep(UInt32.random(in: 1_000...250_000, using: &generator))
                    tool.send(SIGKILL)
                }
                #expect(process.isRunning)
                try process.waitForNew("answer=")
                guard round % 5 == 4 else { continue }
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2 limit=20 level=40")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 limit=10 level=30")
            }
            // Old code has never seen a new value; a line may straddle one switch.
            let lines = process.stdout.split(separator: "\n").filter { $0.hasPrefix("answer=") }
            let mixed = lines.filter { $0.contains("answer=1") && ($0.contains("limit=20") || $0.contains("level=40")) }
            #expect(mixed.count <= 30, "\(mixed.prefix(5))")
        }
    }

    @Test("patches-undo-each-other: a patch that writes values is not superseded, in whichever order both are loaded")
    func superseded() throws {
        let first = try Self.patch(id: "a")
        var second = try Self.patch(id: "b")
        second.values = []
        second.supersedes = try withTemporaryDirectory { directory in
            [try Bundle.read(path: try first.write(to: directory)).reference]
        }
        try withPatches([first, second]) { process, bundles in
            let run = { try livepatch($0, bundles[$1], "--pid", process.id, "--allow-unsigned") }
            try expectStatus(0, try run("apply", 0))
            try expectRefusal("patches-undo-each-other", try run("apply", 1))
            try expectStatus(0, try livepatch("revert", "a", "--pid", process.id))
            try expectStatus(0, try run("load", 1))
            try expectStatus(0, try run("apply", 0))
            let output = try livepatch("activate", "b", "--pid", process.id)
            try expectRefusal("patches-undo-each-other", output)
            #expect(output.stderr.contains("writes values"), "\(output)")
            try process.waitForNew("answer=2 limit=20 level=40")
        }
    }

    @Test("places outside of the target's variables, and a second patch of the same value, are refused")
    func refused() throws {
        var wrong = try Self.patch(id: "wrong")
        wrong.values[0].address = 0x1000
        var second = try Self.patch(id: "second")
        second.functions = ["second"]
        second.values = [second.values[0]]
        var first = try Self.patch(id: "first")
        first.functions = ["answer"]
        try withPatches([first, second, wrong]) { process, bundles in
            let apply = { try livepatch("apply", bundles[$0], "--pid", process.id, "--allow-unsigned") }
            try expectRefusal("bad-bundle", try apply(2))
            try expectStatus(0, try apply(0))
            let output = try apply(1)
            try expectRefusal("patches-undo-each-other", output)
            #expect(output.stderr.contains("writes its value too"), "\(output)")
            var registry = try filledRegistry(of: process)
            let good = registry.state
            try registry.update {
                $0.patches[0].modules[0].values?[0].address = good.patches[0].functions[0].entry & ~7
            }
            try expectRefusal("hostile-registry", try livepatch("deactivate", "first", "--pid", process.id))
        }
    }
}
