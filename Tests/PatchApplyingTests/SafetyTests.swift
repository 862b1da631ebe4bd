import Glibc
import PatchFormat
import PatchRegistry
import PatchSwitching
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

@Suite("safety") struct SafetyTests {
    @Test(
        "killed-between-entries: livepatch killed at any moment leaves a program that runs, and the next one recovers")
    func killedAnywhere() throws {
        try withPatched(try Programs.plainPatch(), arguments: ["8", "sleep"]) { process, bundle in
            for round in 0..<24 {
                let command = round % 2 == 0 ? ["apply", bundle, "--allow-unsigned"] : ["revert", bundle]
                try withProcess(toolPath("livepatch"), command + ["--pid", process.id]) { tool in
                    usleep(UInt32(5_000 + round * 4_000))
                    tool.send(SIGKILL)
                }
                #expect(process.isRunning)
                try process.waitForNew("answer=")
            }
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test(
        "killed-between-entries: an intent found in the registry is completed or taken back",
        arguments: [PatchState.activating, .deactivating, .loading, .unloading])
    func intents(state: PatchState) throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let view = try ProcessView(pid: process.pid)
            var registry = try filledRegistry(of: process)
            let entry = try registry.state.patches.at(0).functions.at(0)
            if state == .activating || state == .deactivating {
                // One of two entries is written: with the switch off it leads to the copy of the old code.
                try view.memory.write(try #require(bytesOfHex(entry.jump)), at: RemoteAddress(entry.entry))
            }
            try registry.update { $0.patches[0].state = state }
            try process.waitForNew("answer=1 second=11")
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("did not finish"))
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("hostile-registry: saved bytes that the manifest does not vouch for are refused")
    func savedBytes() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            try registry.update { $0.patches[0].modules[0].functions[0].saved = "cccccccccc" }
            let output = try livepatch("revert", bundle, "--pid", process.id)
            try expectStatus(1, output)
            try process.waitForNew("answer=2 second=22")
        }
    }

    @Test("hostile-registry: names can't command the terminal on which they are shown")
    func controlCharacters() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            try registry.update { $0.patches[0].modules[0].file = "\u{1b}[2Jclean" }
            let output = try livepatch("status", "--pid", process.id)
            #expect(output.stdout.contains("[2Jclean") && !output.stdout.contains("\u{1b}"), "\(output)")
        }
    }

    @Test("hostile-registry: ranges outside the module and the target, and spoilt digests, are refused")
    func outOfRange() throws {
        let changes: [(inout RegistryState) -> Void] = [
            { $0.patches[0].modules[0].functions[0].entry = 0x1000 },
            { $0.patches[0].modules[0].functions[0].ranges[0].size = .max },
            { $0.patches[0].modules[0].segments[0].address = 0x7fff_0000_0000 },
            { $0.patches[0].switchAddress = $0.patches[0].modules[0].targetBias },
            { $0.patches[0].modules[0].size = .max },
            { $0.patches[0].modules = [] },
            { $0.patches.append($0.patches[0]) },
        ]
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            let good = registry.state
            for change in changes {
                try registry.update(change)
                try expectRefusal("hostile-registry", try livepatch("activate", "fix", "--pid", process.id))
                try registry.update { $0 = good }
            }
            try expectStatus(0, try livepatch("activate", "fix", "--pid", process.id))
        }
    }

    @Test("pointer-anywhere: what has run stays mapped, and the next load uses it again")
    func pointerAnywhere() throws {
        var patch = try Programs.plainPatch()
        // The new code leaves its own address in the program's `sink8`.
        let target = try Fixture.compile(
            "volatile long sink8;\n" + Programs.plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"],
            output: "plain")
        patch.target = target
        let symbols = try Fixture.symbols(target)
        patch.source =
            patch.source.replacing(
                "mov $2, %eax\n",
                with: "lea new_answer(%rip), %rax\nmov got_sink(%rip), %rcx\nmov %rax, (%rcx)\nmov $2, %eax\n")
            + ".data\ngot_sink: .quad 0\n" + Assembly.bindings([("got_sink", 1, 0, 0)])
        patch.bindings = [
            Binding(kind: .target, symbol: "sink8", address: try #require(symbols["sink8"]).address)
        ]
        try withPatched(patch) { process, bundle in
            var bases: Set<UInt64> = []
            for _ in 0..<3 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2 second=22")
                let output = try livepatch("revert", bundle, "--pid", process.id)
                try expectStatus(0, output)
                #expect(output.stdout.contains("resident"), "\(output)")
                try process.waitForNew("answer=1 second=11")
                let registry = try filledRegistry(of: process)
                bases.formUnion(registry.state.patches.flatMap(\.modules).map(\.base))
            }
            #expect(bases.count == 1)
        }
    }

    @Test("foreign-stacks: memory that was made read-only is searched too")
    func readOnlyMemory() throws {
        let program = try Fixture.compile(
            """
            #include <stdio.h>
            #include <sys/mman.h>
            #include <unistd.h>
            int main(void) {
                long *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                page[3] = 0x5ec0de5ec0l << 4;
                mprotect(page, 4096, PROT_READ);
                puts("ready");
                fflush(stdout);
                for (;;) pause();
            }
            """, ["-O0"], output: "readonly")
        try withProcess(program) { process in
            try process.waitForOutput("ready")
            let view = try ProcessView(pid: process.pid)
            let table = ScanTable([.init(first: 0x5ec_0de5_ec00, last: 0x5ec_0de5_ec00, name: "it")])
            let search = MemorySearch(map: view.map, memory: view.memory, deadline: nil)
            #expect(try search.hits(table, except: []).isEmpty == false)
        }
    }

    @Test("a command that is at work is waited for, not taken for one that was killed", .needsPatching)
    func concurrent() throws {
        try withPatched(try Programs.blockedPatch(), arguments: ["b"]) { process, bundle in
            let command = ["apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "20"]
            try withProcess(toolPath("livepatch"), command) { first in
                let end = monotonicSeconds() + 10
                while try !livepatch("status", "--pid", process.id).stdout.contains("activating") {
                    try #require(monotonicSeconds() < end)
                }
                let second = try livepatch("revert", "fix", "--pid", process.id, "--timeout", "0.3")
                try expectStatus(3, second)
                #expect(second.stderr.contains("another livepatch"), "\(second)")
                process.send(SIGUSR1)
                try expectStatus(0, try first.wait(seconds: 30))
            }
            try process.waitForNew("answer=2")
        }
    }

    @Test("the id of a thread is not taken for a process's")
    func threadID() throws {
        try withPatched(try Programs.plainPatch(), arguments: ["2", "sleep"]) { process, bundle in
            let thread = try #require(try threadIDs(of: process.pid).first { $0 != process.pid })
            let output = try livepatch("apply", bundle, "--pid", String(thread), "--allow-unsigned")
            try expectRefusal("no-process", output)
            #expect(output.stderr.contains("--pid \(process.pid)"), "\(output)")
        }
    }

    @Test("a module that was never used is unmapped")
    func unmapped() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let output = try livepatch("unload", bundle, "--pid", process.id)
            #expect(output.stdout.contains("unloaded"), "\(output)")
            let registry = try #require(try Registry.find(in: ProcessView(pid: process.pid)))
            #expect(registry.state.patches.isEmpty)
        }
    }

    @Test("two-manifests: a bundle with something appended is refused")
    func twoManifests() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try writeBytes(readBytes(bundle) + readBytes(bundle), to: bundle)
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectRefusal("bad-bundle", output)
        }
    }
}
