import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// Threads that sleep in a call which is never restarted, one that computes, and one that is woken all the time. All count
    /// what an interrupted call would tell them.
    static let walkedSource = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/epoll.h>
        #include <unistd.h>
        volatile long sink;
        static int interrupted;
        __attribute__((noipa)) int answer(void) { sink++; return 1; }
        static void *sleeper(void *unused) {
            int descriptor = epoll_create1(0);
            struct epoll_event event;
            for (;;) if (epoll_wait(descriptor, &event, 1, -1) < 0) __atomic_fetch_add(&interrupted, 1, __ATOMIC_SEQ_CST);
            return unused;
        }
        static void *worker(void *unused) { for (;;) sink++; return unused; }
        int main(void) {
            setvbuf(stdout, 0, _IONBF, 0);
            pthread_t t;
            for (int i = 0; i < 12; i++) pthread_create(&t, 0, sleeper, 0);
            pthread_create(&t, 0, worker, 0);
            usleep(50000);
            printf("ready\\n");
            for (;;) { usleep(10000); printf("answer=%d interrupted=%d\\n", answer(), interrupted); }
        }
        """

    static func walkedPatch() throws -> HandMadePatch {
        let target = try Fixture.compile(
            walkedSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "walked")
        let source =
            Assembly.head + Assembly.replacement("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(id: "fix", target: target, source: source, functions: ["answer"])
    }
}

/// `livepatch` is killed at its N-th system call, for many N: `PATCHBUILD_KILL_WALK` says how many, "all" for each.
@Suite(
    "kill walk", .needs("strace", "taskset"), .needsPatching, .needsRealTime,
    .enabled(if: sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1, "this machine has one processor"))
struct KillWalkTests {
    /// On a processor that the program does not run on, strace is in nobody's way who holds the program's.
    private func traced(_ options: [String], _ command: [String]) throws -> Output {
        try run("taskset", ["-c", "0", "strace", "-f", "-qq"] + options + [toolPath("livepatch")] + command)
    }

    private func onOneProcessor(
        _ patch: HandMadePatch, _ body: (RunningProcess, String) throws -> Void
    ) throws {
        try withTemporaryDirectory { directory in
            let bundle = try patch.write(to: directory)
            try withProcess("taskset", ["-c", "1", patch.target]) { process in
                try process.waitForOutput("ready")
                try body(process, bundle)
            }
        }
    }

    private func untraced(_ command: [String]) throws -> Output {
        try run(toolPath("livepatch"), command, seconds: 60)
    }

    /// System calls of the process that makes most.
    private func calls(_ command: [String]) throws -> Int {
        try withTemporaryDirectory { directory in
            try expectStatus(0, try traced(["-o", directory + "/log"], command))
            let processes = readText(directory + "/log").split(separator: "\n").map { $0.prefix { $0 != " " } }
            return Dictionary(grouping: processes) { $0 }.values.map(\.count).max() ?? 0
        }
    }

    private func points(_ count: Int) -> [Int] {
        let wish = getenv("PATCHBUILD_KILL_WALK").map { String(cString: $0) } ?? "6"
        let number = wish == "all" ? count : Int(wish) ?? 6
        return (0..<number).map { 1 + $0 * count / number }
    }

    @Test("killed at any system call: nothing is harmed, no call is interrupted, nothing is lost")
    func walk() throws {
        try onOneProcessor(try Programs.walkedPatch()) { process, bundle in
            let apply = ["apply", bundle, "--pid", process.id, "--allow-unsigned"]
            let revert = ["revert", "fix", "--pid", process.id]
            for (command, before, after) in [(apply, revert, "answer=2"), (revert, apply, "answer=1")] {
                let count = try calls(command)
                _ = try untraced(before)
                for point in points(count) {
                    let killed = try traced(["-o", "/dev/null", "-e", "inject=all:signal=KILL:when=\(point)"], command)
                    try process.waitForNew("interrupted=0")
                    #expect([0, 1, 4, 137].contains(killed.status) || killed.status < 0, "\(point): \(killed)")
                    // Whatever was left, the same command completes it, and the other takes it back.
                    try expectStatus(0, try untraced(command))
                    try process.waitForNew(after)
                    try expectStatus(0, try livepatch("verify", "--pid", process.id))
                    try expectStatus(0, try untraced(before))
                }
                try expectStatus(0, try untraced(command))
            }
            let registry = try filledRegistry(of: process)
            #expect(registry.state.patches.count == 1)
            let map = try ProcessView(pid: process.pid).map
            let code = map.mappings.filter { $0.kind == .anonymous && $0.isExecutable }
            #expect(code.count == 1)
            #expect(map.mappings.count { $0.range.count == registry.size } == 1)
            #expect(process.isRunning && process.stdout.contains("interrupted=0"))
        }
    }
}
