import Glibc
import TestSupport
import Testing

@testable import ProcessControl

/// A number may come to mean another process, and a process another program.
extension ProcessControl {
    @Suite(.needsPatching) struct BoundTests {
        /// Gives its child the process id that is asked for, and prints it. The child holds a word to be kept.
        private let reuse = """
            #define _GNU_SOURCE
            #include <linux/sched.h>
            #include <sched.h>
            #include <signal.h>
            #include <stdint.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <string.h>
            #include <sys/prctl.h>
            #include <sys/syscall.h>
            #include <unistd.h>
            volatile long word = 7;
            int main(int argc, char **argv) {
                pid_t wanted = argc > 1 ? atoi(argv[1]) : 0, child = 0;
                setvbuf(stdout, 0, _IONBF, 0);
                if (wanted) {
                    struct clone_args arguments = {.exit_signal = SIGCHLD};
                    arguments.set_tid = (uint64_t)&wanted;
                    arguments.set_tid_size = 1;
                    child = syscall(SYS_clone3, &arguments, sizeof arguments);
                    if (child < 0) { puts("not allowed"); pause(); }
                    if (child > 0) { for (;;) pause(); }
                    prctl(PR_SET_PDEATHSIG, SIGKILL);
                }
                printf("word %p ready\\n", (void *)&word);
                for (;;) if (word != 7) puts("harmed"), word = 7; else usleep(1000);
            }
            """

        @Test("pid-reuse: another process that has got the number is neither read nor written, stopped nor borrowed")
        func numberOfAnotherProcess() throws {
            let program = try Fixture.compile(reuse, ["-O1", "-no-pie"], output: "reuse")
            var found: (memory: RemoteMemory, place: RemoteAddress)?
            try withProcess(program) { process in
                try process.waitForOutput("ready")
                let word = process.stdout.split(separator: " ").compactMap { UInt64($0.dropFirst(2), radix: 16) }.last
                let memory = RemoteMemory(pid: process.pid)
                try memory.checkProcess()
                found = (memory, RemoteAddress(try #require(word)))
            }
            let (memory, place) = try #require(found)
            try withProcess(program, [String(memory.pid)]) { process in
                while !process.stdout.contains("ready"), !process.stdout.contains("not allowed") { usleep(2_000) }
                if process.stdout.contains("not allowed") { try Test.cancel("process ids can't be chosen here") }
                let other = try RemoteMemory(pid: memory.pid).read(place, as: UInt64.self)
                #expect(other == 7)
                #expect(throws: ProcessError.self) { try memory.write([1], at: place) }
                #expect(throws: ProcessError.self) { try memory.read(place, count: 8) }
                #expect(throws: ProcessError.self) { try memory.map() }
                #expect(throws: ProcessError.vanished(pid: memory.pid)) { try memory.checkProcess() }
                #expect(throws: ProcessError.self) {
                    _ = try runTracer(deadline: .seconds(20)) {
                        _ = try withStoppedProcess(memory) { _ in }
                        return []
                    }
                }
                #expect(throws: ProcessError.self) {
                    _ = try runTracer(deadline: .seconds(20)) {
                        try withBorrowedThread(memory) { _ = try $0.systemCall(39) }
                        return []
                    }
                }
                usleep(20_000)
                #expect(try ProcessInformation.read(pid: memory.pid).tracer == 0)
                #expect(!process.stdout.contains("harmed"))
            }
        }

        @Test(
            "pid-reuse: a program that the process has executed since is neither read nor written, stopped nor borrowed"
        )
        func anotherProgram() throws {
            let program = try Fixture.compile(
                """
                #include <signal.h>
                #include <stdio.h>
                #include <unistd.h>
                static volatile int go;
                static void on_signal(int number) { (void)number; go = 1; }
                int main(int argc, char **argv) {
                    signal(SIGUSR1, on_signal);
                    puts(argc > 1 ? "second" : "first");
                    fflush(stdout);
                    for (;;) {
                        if (go) execl("/proc/self/exe", argv[0], "again", (char *)0);
                        usleep(1000);
                    }
                }
                """, ["-O1"], output: "exec")
            try withProcess(program) { process in
                try process.waitForOutput("first")
                let memory = RemoteMemory(pid: process.pid)
                let place = try #require(try memory.map().mappings.first { $0.isWritable }).start
                let executed = ProcessError.executed(pid: process.pid)
                process.send(SIGUSR1)
                try process.waitForOutput("second")
                #expect(throws: executed) { try memory.write([1], at: place) }
                #expect(throws: executed) { try memory.read(place, count: 1) }
                // The same file, the same start time, another program all the same.
                #expect(throws: executed) { try memory.checkProcess() }
                #expect(throws: executed) {
                    _ = try runTracer(deadline: .seconds(20)) {
                        try withBorrowedThread(memory) { _ = try $0.systemCall(39) }
                        return []
                    }
                }
                #expect(process.isRunning)
                #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
            }
        }

        @Test("a process that has ended, and that nobody has waited for, has not become another program")
        func endedProcess() throws {
            try withProcess("sleep", ["60"]) { process in
                let memory = RemoteMemory(pid: process.pid)
                try memory.checkProcess()
                process.send(SIGKILL)
                var information = siginfo_t()
                #expect(waitid(P_PID, id_t(process.pid), &information, WEXITED | WNOWAIT) == 0)
                #expect(throws: ProcessError.vanished(pid: process.pid)) { try memory.checkProcess() }
            }
        }
    }
}
