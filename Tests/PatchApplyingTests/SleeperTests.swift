import Glibc
import PatchFormat
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// Sleeps in calls that a stop would end early or begin anew, beside a thread that computes.
    static let sleepingSource = """
        #define _GNU_SOURCE
        #include <pthread.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/epoll.h>
        #include <unistd.h>
        volatile long sink, go, rounds;
        static int ends[2];
        static char text[1 << 20];
        __attribute__((noipa)) int answer(void) { sink++; return 1; }
        __attribute__((noipa)) int inside(void) { while (!go) usleep(1000); return 1; }
        static void *writer(void *unused) {
            long done = write(ends[1], text, sizeof text);
            printf("written=%ld\\n", done);
            return unused;
        }
        static void *timer(void *unused) {
            int descriptor = epoll_create1(0);
            struct epoll_event event;
            for (;;) {
                if (epoll_wait(descriptor, &event, 1, 300) != 0) printf("wrong\\n");
                __atomic_fetch_add(&rounds, 1, __ATOMIC_SEQ_CST);
            }
            return unused;
        }
        static void *waiter(void *unused) { inside(); return unused; }
        static void *worker(void *unused) { for (;;) sink++; return unused; }
        static void on_signal(int number) { go = number; }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            signal(SIGUSR1, on_signal);
            pthread_t t;
            pipe(ends);
            pthread_create(&t, 0, worker, 0);
            if (argv[1][0] == 'w') pthread_create(&t, 0, writer, 0);
            if (argv[1][0] == 't') { pthread_create(&t, 0, timer, 0); pthread_create(&t, 0, waiter, 0); }
            usleep(50000);
            printf("ready\\n");
            for (;;) {
                usleep(20000);
                long left = go && argv[1][0] == 'w' ? sizeof text : 0;
                while (left > 0) left -= read(ends[0], text, 4096);
                printf("answer=%d rounds=%ld\\n", answer(), rounds);
            }
        }
        """

    static func sleepingPatch(_ function: String = "answer") throws -> HandMadePatch {
        let target = try Fixture.compile(
            sleepingSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "sleeping")
        let source =
            Assembly.head + Assembly.replacement(function, new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(id: "fix", target: target, source: source, functions: [function])
    }
}

@Suite("sleepers") struct SleeperTests {
    @Test("short-io: a thread that waits in write is not interrupted, and writes all", .needsPatching, .needsRealTime)
    func shortWrite() throws {
        try withPatched(try Programs.sleepingPatch(), arguments: ["w"]) { process, bundle in
            for _ in 0..<5 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            }
            #expect(!process.stdout.contains("written"))
            process.send(SIGUSR1)
            try process.waitForNew("written=1048576")
        }
    }

    @Test("frozen-timeouts: while a patch waits for a function to end, timeouts of others expire", .needsPatching)
    func timeouts() throws {
        try withPatched(try Programs.sleepingPatch("inside"), arguments: ["t"]) { process, bundle in
            try process.waitForNew("answer=1")
            let before = try rounds(process)
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "3")
            try expectStatus(3, output)
            #expect(output.stderr.contains("is in inside"), "\(output)")
            try process.waitForNew("answer=1")
            #expect(try rounds(process) - before >= 3)
        }
    }

    private func rounds(_ process: RunningProcess) throws -> Int {
        try #require(process.stdout.split { $0 == "=" || $0 == "\n" }.last.flatMap { Int($0) })
    }

    @Test("what a stop has interrupted is counted, for people and programs", .needsPatching, .needsRealTime)
    func counted() throws {
        try withPatched(try Programs.sleepingPatch(), arguments: ["w"]) { process, bundle in
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--json")
            try expectStatus(0, output)
            let report = try JSON(output.stdout)["processes"][0]
            #expect(report["threads"] == .number(3) && report["interrupted"] != .number(3), "\(output)")
            #expect(report["interruptedCalls"] != .null)
            let reverted = try livepatch("revert", bundle, "--pid", process.id)
            #expect(reverted.stdout.contains("interrupted)"), "\(reverted)")
        }
    }

    @Test(
        "altstack-within: a replaced function below a handler's alternate stack is busy", .needsPatching,
        arguments: ["awsf", "awbf", "aesf", "aebf"])
    func belowHandler(_ kind: String) throws {
        try withPatched(try Programs.blockedPatch(), arguments: [kind]) { process, bundle in
            try process.waitForOutput("handler")
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "1")
            try expectStatus(3, output)
            #expect(output.stderr.contains("answer"), "\(output)")
            process.send(SIGUSR1)
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
        }
    }

    @Test(
        "altstack-within: a handler above code that is not replaced is no obstacle", .needsPatching,
        arguments: ["awsm", "awbm", "aesm", "aebm"])
    func besideHandler(_ kind: String) throws {
        try withPatched(try Programs.blockedPatch(), arguments: [kind]) { process, bundle in
            try process.waitForOutput("handler")
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            process.send(SIGUSR1)
            try process.waitForNew("answer=2")
        }
    }
}
