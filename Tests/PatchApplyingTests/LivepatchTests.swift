import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

@Suite("livepatch") struct LivepatchTests {
    @Test("apply switches to the new code and revert switches back")
    func applyAndRevert() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("each step alone, by id, with its state in status")
    func steps() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            func state() throws -> String { try livepatch("status", "--pid", process.id).stdout }
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            #expect(try state().contains("fix: loaded"))
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try livepatch("activate", "fix", "--pid", process.id))
            #expect(try state().contains("fix: active"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(1, try livepatch("unload", "fix", "--pid", process.id))
            try expectStatus(0, try livepatch("deactivate", "fix", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try livepatch("unload", "fix", "--pid", process.id))
            #expect(try state().contains("fix: resident"))
            try expectStatus(0, try livepatch("unload", "fix", "--pid", process.id))
        }
    }

    @Test("after a revert every byte of the text is the original")
    func textIsRestored() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let before = try text(of: process, "plain")
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            #expect(try text(of: process, "plain") != before)
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            #expect(try text(of: process, "plain") == before)
        }
    }

    @Test("memory does not grow with cycles of apply and revert under 64 threads")
    func manyCycles() throws {
        try withPatched(try Programs.plainPatch(), arguments: ["64", "sleep"]) { process, bundle in
            var sizes: [Int] = []
            for _ in 0..<6 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2 second=22")
                try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
                try process.waitForNew("answer=1 second=11")
                sizes.append(try MemoryMap.read(pid: process.pid).mappings.count)
            }
            #expect(sizes.last == sizes.first, "\(sizes)")
        }
    }

    @Test("JSON has the fields of the contract")
    func json() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--json")
            for field in [
                "\"processes\"", "\"pid\"", "\"state\" : \"active\"", "\"stopMicroseconds\"", "\"threads\"",
                "\"attempts\"",
            ] {
                #expect(output.stdout.contains(field), "\(output)")
            }
            let refused = try livepatch("unload", "nothing", "--pid", process.id, "--json")
            try expectStatus(1, refused)
            for field in ["\"refused\"", "\"rule\" : \"not-loaded\"", "\"subject\"", "\"why\"", "\"remedy\""] {
                #expect(refused.stdout.contains(field), "\(refused)")
            }
        }
    }

    @Test("exit statuses: help 0, bad usage 2, no such process 1")
    func statuses() throws {
        try expectStatus(0, try livepatch("--help"))
        try expectStatus(2, try livepatch("apply"))
        try expectStatus(2, try livepatch("apply", "x.lpatch", "--pid", "0"))
        try expectStatus(2, try livepatch("nonsense"))
        try expectStatus(1, try livepatch("revert", "fix", "--pid", "4194304"))
    }

    @Test("unsigned: refused without --allow-unsigned, and nothing is written")
    func unsigned() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let output = try livepatch("apply", bundle, "--pid", process.id)
            try expectRefusal("unsigned", output)
            #expect(try Registry.find(in: ProcessView(pid: process.pid)) == nil)
        }
    }

    @Test("wrong-build: the refusal names both build-ids")
    func wrongBuild() throws {
        var patch = try Programs.plainPatch()
        let other = try Fixture.compile(
            Programs.plainSource + "\nint more;\n", ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "plain")
        patch.target = other
        try withTemporaryDirectory { directory in
            let bundle = try patch.write(to: directory)
            try withProcess(try Programs.plain()) { process in
                try process.waitForOutput("ready")
                let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
                try expectRefusal("wrong-build", output)
            }
        }
    }

    @Test("target-not-mapped: another program is refused")
    func notMapped() throws {
        try withTemporaryDirectory { directory in
            let bundle = try Programs.plainPatch().write(to: directory)
            try withProcess("sleep", ["100"]) { process in
                usleep(50_000)
                let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
                try expectRefusal("target-not-mapped", output)
            }
        }
    }

    @Test("uprobe: an int3 in a replaced function is refused, its place named")
    func breakpoint() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let registry = try Fixture.symbols(try Programs.plain())
            let map = try MemoryMap.read(pid: process.pid)
            let base = try #require(map.mappings.first { $0.path.hasSuffix("/plain") }).start
            let place = base + (try #require(registry["second"])).address
            let memory = RemoteMemory(pid: process.pid)
            let byte = try memory.read(place + 1, count: 1)
            // A byte that the running program can do without for a moment: int3 would end it, so it is stopped.
            process.send(SIGSTOP)
            try memory.write([0xcc], at: place + 1)
            let output = try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned")
            try memory.write(byte, at: place + 1)
            process.send(SIGCONT)
            try expectRefusal("changed-bytes", output)
            // Only root can see the file that is mapped, and so the changed byte's offset; else the entry is shown.
            let isNamed = output.stderr.contains("0x1") || output.stderr.contains("the entry, at offset 0")
            #expect(output.stderr.contains("second") && isNamed, "\(output)")
        }
    }
}
