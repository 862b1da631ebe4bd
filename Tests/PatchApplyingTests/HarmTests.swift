import ElfFormat
import Glibc
import PatchFormat
import PatchRegistry
import PatchSwitching
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

/// What a process and its relatives could be made to suffer by a command.
@Suite struct HarmTests {
    @Test("cow-unshare: a search of all memory leaves pages shared with forks shared", .needsPatching)
    func searchLeavesPagesShared() throws {
        let program = try Fixture.compile(
            """
            #include <stdio.h>
            #include <stdlib.h>
            #include <string.h>
            #include <sys/prctl.h>
            #include <signal.h>
            #include <unistd.h>
            int main(void) {
                size_t size = 32 << 20;
                char *memory = aligned_alloc(4096, size);
                memset(memory, 1, size);
                for (int i = 0; i < 3; i++) {
                    int child = fork();
                    if (child == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        for (;;) pause();
                    }
                    printf("child %d\\n", child);
                }
                puts("ready");
                fflush(stdout);
                for (;;) pause();
            }
            """, ["-O1"], output: "forks")
        try withProcess(program) { process in
            try process.waitForOutput("ready")
            let children = process.stdout.split { $0 == " " || $0 == "\n" }.compactMap { Int32($0) }
            try #require(children.count == 3)
            let before = ([process.pid] + children).reduce(0) { $0 + proportionalSize($1) }
            let view = try ProcessView(pid: process.pid)
            let table = ScanTable([.init(first: 1, last: 1, name: "it")])
            let search = MemorySearch(map: view.map, memory: view.memory, deadline: nil)
            _ = try search.hits(table, except: [])
            let after = ([process.pid] + children).reduce(0) { $0 + proportionalSize($1) }
            // Each page that got a copy of its own would count: 32 MiB in all.
            #expect(before > 32 << 10 && after < before + (4 << 10), "\(before) kB, then \(after) kB")
        }
    }

    /// The program waits in the replaced function, so that the command tries again and again; then it is killed.
    @Test("intended-counts: killed between the entries and the switch, then reverted", .needsPatching)
    func killedBeforeTheSwitch() throws {
        var patch = try Programs.blockedPatch()
        // The copy of the old code waits for a signal (`pause`).
        patch.source =
            Assembly.head
            + Assembly.replacement(
                "answer", new: "mov $2, %eax\nret", old: "mov $34, %eax\nsyscall\nmov $1, %eax\nret")
        try withPatched(patch, arguments: ["b"]) { process, bundle in
            let command = ["apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "60"]
            try withProcess(toolPath("livepatch"), command) { tool in
                let end = monotonicSeconds() + 20
                while try !livepatch("status", "--pid", process.id).stdout.contains("activating") {
                    try #require(monotonicSeconds() < end)
                }
                tool.send(SIGKILL)
                _ = try tool.wait(seconds: 10)
            }
            let function = try filledRegistry(of: process).state.patches.at(0).functions.at(0)
            let memory = RemoteMemory(pid: process.pid)
            try memory.write(try #require(bytesOfHex(function.jump)), at: RemoteAddress(function.entry))
            process.send(SIGUSR1)
            try waitUntilInside(process, function.oldRanges)
            let output = try livepatch("revert", "fix", "--pid", process.id)
            try expectStatus(0, output)
            #expect(output.stdout.contains("resident"), "\(output)")
            process.send(SIGUSR1)
            try process.waitForNew("answer=1")
        }
    }

    @Test("terminal-stop: a command that is stopped with its whole group goes on with the process", .needsPatching)
    func stoppedCommand() throws {
        try withPatched(try Programs.blockedPatch(), arguments: ["b"]) { process, bundle in
            let command = ["apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "60"]
            try withProcess(toolPath("livepatch"), command) { tool in
                let end = monotonicSeconds() + 20
                while try !livepatch("status", "--pid", process.id).stdout.contains("activating") {
                    try #require(monotonicSeconds() < end)
                }
                kill(-tool.pid, SIGSTOP)
                process.send(SIGUSR1)
                try process.waitForNew("answer=2")
                kill(-tool.pid, SIGCONT)
                try expectStatus(0, try tool.wait(seconds: 30))
            }
        }
    }

    /// Until the main thread waits in one of these ranges.
    private func waitUntilInside(_ process: RunningProcess, _ ranges: [AddressRange]) throws {
        let end = monotonicSeconds() + 20
        while true {
            let place = readText("/proc/\(process.pid)/syscall").split { $0 == " " || $0 == "\n" }.last
            let address = place.flatMap { UInt64($0.dropFirst(2), radix: 16) } ?? 0
            if ranges.contains(where: { address >= $0.address && address <= $0.end }) { return }
            try #require(monotonicSeconds() < end)
            usleep(2_000)
        }
    }

    @Test("half-made: a place for the registry that a killed command has left is used", .needsPatching)
    func abandonedRegistry() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let record = RegisteredPatch(
                id: "fix", manifestDigest: "", sequence: 0, state: .loading, consistency: .stack, requires: [],
                supersedes: [], linkDigest: "", modules: [], switchAddress: 0)
            let answer = try runTracer(deadline: .seconds(20)) {
                let limits = StopLimits(maximumStop: 20, deadline: monotonicNanoseconds() + 10_000_000_000)
                let mapper = ModuleMapper(process: try LoadedProcess(pid: process.pid), limits: limits)
                return littleEndian(try mapper.mapRegistry(for: record).address)
            }
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
            #expect(littleEndian(try filledRegistry(of: process).address) == answer)
        }
    }

    @Test("half-made: a load that was taken back leaves no mapping, whatever lies beside it", .needsPatching)
    func takenBackWhole() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            let module = try registry.state.patches.at(0).modules.at(0)
            // The program's memory, merged by the kernel with the module's data.
            let end = (module.base + module.size + 4095) & ~4095
            _ = try runTracer(deadline: .seconds(20)) {
                try withBorrowedThread(process.pid) { caller in
                    try caller.map(at: RemoteAddress(end), size: 4096, .readWrite)
                }
                return []
            }
            try registry.update { $0.patches[0].state = .loading }
            let output = try livepatch("unload", "fix", "--pid", process.id)
            #expect(output.status == 1, "\(output)")
            let map = try ProcessView(pid: process.pid).map
            #expect(map.mapping(containing: RemoteAddress(module.base)) == nil)
            #expect(map.mapping(containing: RemoteAddress(end - 1)) == nil)
            #expect(map.mapping(containing: RemoteAddress(end)) != nil)
        }
    }

    @Test("erased-header: a library that has wiped its ELF header keeps what its jumps lead to", .needsPatching)
    func erasedHeader() throws {
        try withTemporaryDirectory { scratch in
            let directory = try Programs.library()
            let bundle = try Programs.libraryPatch().write(to: scratch)
            try withProcess(directory + "/main") { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2")
                let bias = try filledRegistry(of: process).state.patches.at(0).modules.at(0).targetBias
                let memory = RemoteMemory(pid: process.pid)
                try memory.write([UInt8](repeating: 0, count: 64), at: RemoteAddress(bias))
                let output = try livepatch("revert", "fix", "--pid", process.id)
                try expectStatus(0, output)
                #expect(output.stdout.contains("still holds its jump"), "\(output)")
                try process.waitForNew("answer=1")
                try expectStatus(0, try livepatch("unload", "fix", "--pid", process.id))
                try process.waitForNew("answer=1")
                // A command that died while it unloaded is completed in the same way.
                var registry = try filledRegistry(of: process)
                try registry.update { $0.patches[0].state = .unloading }
                _ = try livepatch("unload", "fix", "--pid", process.id)
                try process.waitForNew("answer=1")
                #expect(process.isRunning)
            }
        }
    }

    /// In kB.
    private func proportionalSize(_ pid: Int32) -> Int {
        let line = readText("/proc/\(pid)/smaps_rollup").split(separator: "\n").first { $0.hasPrefix("Pss:") }
        return line?.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
}
