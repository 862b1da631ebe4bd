import Glibc
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

    /// In kB.
    private func proportionalSize(_ pid: Int32) -> Int {
        let line = readText("/proc/\(pid)/smaps_rollup").split(separator: "\n").first { $0.hasPrefix("Pss:") }
        return line?.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
}
