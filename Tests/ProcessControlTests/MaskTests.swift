import Glibc
import TestSupport
import Testing

@testable import ProcessControl

/// Calls that wait with a signal mask of their own.
extension ProcessControl {
    @Suite(.needsPatching) struct MaskTests {
        /// Waits in the call that is named, with SIGUSR1 blocked and SIGUSR2 let through: outside of the call it is the
        /// other way round. With a second argument another thread sleeps.
        private let source = """
            #define _GNU_SOURCE
            #include <errno.h>
            #include <poll.h>
            #include <pthread.h>
            #include <signal.h>
            #include <stdio.h>
            #include <string.h>
            #include <sys/epoll.h>
            #include <sys/select.h>
            #include <unistd.h>
            static void on_first(int number) { (void)number; write(1, "first\\n", 6); }
            static void on_second(int number) { (void)number; write(1, "second\\n", 7); }
            static void *sleeper(void *none) { for (;;) sleep(1000); return none; }
            int main(int argc, char **argv) {
                sigset_t blocked, own, set;
                pthread_t thread;
                sigemptyset(&own);
                sigaddset(&own, SIGUSR1);
                sigemptyset(&blocked);
                sigaddset(&blocked, SIGUSR2);
                signal(SIGUSR1, on_first);
                signal(SIGUSR2, on_second);
                sigprocmask(SIG_SETMASK, &blocked, NULL);
                if (argc > 2) pthread_create(&thread, NULL, sleeper, NULL);
                puts("ready");
                fflush(stdout);
                int r = 0;
                fd_set none;
                struct epoll_event event;
                FD_ZERO(&none);
                struct timespec long_time = {1000, 0};
                switch (argv[1][0]) {
                case 's': r = sigsuspend(&own); break;
                case 'p': r = ppoll(NULL, 0, NULL, &own); break;
                case 't': r = pselect(0, &none, NULL, NULL, &long_time, &own); break;
                case 'e': r = epoll_pwait(epoll_create1(0), &event, 1, -1, &own); break;
                }
                sigprocmask(SIG_BLOCK, NULL, &set);
                int same = sigismember(&set, SIGUSR2) && !sigismember(&set, SIGUSR1);
                printf("returned %d %s, mask %s\\n", r, r < 0 ? strerrorname_np(errno) : "", same ? "kept" : "lost");
                fflush(stdout);
                for (;;) pause();
            }
            """

        private func withWaiting(_ arguments: [String], _ body: (RunningProcess) throws -> Void) throws {
            let program = try Fixture.compile(source, ["-O1", "-pthread"], output: "masks")
            try withProcess(program, arguments) { process in
                try process.waitForOutput("ready")
                let end = monotonicSeconds() + 20
                while SleepingCall.read(pid: process.pid, tid: process.pid)?.mayHaveMask != true {
                    try #require(monotonicSeconds() < end)
                    usleep(1_000)
                }
                try body(process)
            }
        }

        @Test(
            "saved-mask: a signal that the call's own mask blocks does not end a call whose thread is borrowed",
            arguments: ["sigsuspend", "ppoll", "timed pselect", "epoll_pwait"])
        func blockedSignal(call: String) throws {
            try withWaiting([call]) { process in
                for _ in 0..<3 {
                    _ = try runTracer(deadline: .seconds(20)) {
                        try withBorrowedThread(process.pid) { caller in
                            _ = try caller.systemCall(39)
                            process.send(SIGUSR1)
                            _ = try caller.systemCall(39)
                        }
                        return []
                    }
                }
                // As after a bare stop: the handler runs, and the call is made again.
                try process.waitForOutput("first")
                usleep(20_000)
                #expect(!process.stdout.contains("returned"), "\(process.stdout)")
                process.send(SIGUSR2)
                try process.waitForOutput("returned -1 EINTR, mask kept")
                #expect(process.stdout.contains("second"))
            }
        }

        @Test("saved-mask: a signal that the call waits for ends it, though its thread was borrowed")
        func awaitedSignal() throws {
            try withWaiting(["ppoll"]) { process in
                _ = try runTracer(deadline: .seconds(20)) {
                    try withBorrowedThread(process.pid) { caller in
                        _ = try caller.systemCall(39)
                        process.send(SIGUSR2)
                        _ = try caller.systemCall(39)
                    }
                    return []
                }
                try process.waitForOutput("returned -1 EINTR, mask kept")
            }
        }

        @Test("saved-mask: another thread is borrowed where there is one, even one that sleeps")
        func anotherThread() throws {
            try withWaiting(["ppoll", "with another thread"]) { process in
                let answer = try runTracer(deadline: .seconds(20)) {
                    var borrowed: Int32 = 0
                    try withBorrowedThread(process.pid) { borrowed = $0.tid }
                    return [borrowed == process.pid ? 1 : 2]
                }
                #expect(answer == [2])
            }
        }
    }
}
