import Glibc
import TestSupport
import Testing

@testable import ProcessControl

/// Processes in states that are rare, and the refusals or care that they need.
extension ProcessControl {
    @Suite struct OddProcesses {
        private func with<Result>(
            _ body: String, flags: [String] = [], in directory: String? = nil, _ run: (RunningProcess) throws -> Result
        ) throws -> Result {
            let source = """
                #define _GNU_SOURCE
                #include <errno.h>
                #include <pthread.h>
                #include <sched.h>
                #include <signal.h>
                #include <stdio.h>
                #include <stdlib.h>
                #include <string.h>
                #include <sys/mman.h>
                #include <sys/prctl.h>
                #include <sys/syscall.h>
                #include <sys/wait.h>
                #include <ucontext.h>
                #include <unistd.h>
                static void ready(void) { puts("ready"); fflush(stdout); }
                \(body)
                """
            let program = try Fixture.compile(source, ["-O1", "-pthread"] + flags, output: "odd")
            return try withProcess(program, in: directory) { process in
                try process.waitForOutput("ready")
                return try run(process)
            }
        }

        private func borrow(_ pid: Int32) throws {
            _ = try runTracer(deadline: .seconds(5)) {
                try withBorrowedThread(pid) { caller in
                    guard try caller.systemCall(39) == Int64(pid) else { throw ProcessError.failed("getpid") }
                }
                return []
            }
        }

        private func stop(_ pid: Int32, times: Int = 1) throws -> Int {
            let answer = try runTracer(deadline: .seconds(20)) {
                var count = 0
                for _ in 0..<times {
                    count = try withStoppedProcess(pid, maximumStop: .milliseconds(500), attempts: 3) {
                        $0.threads.count
                    }.value
                }
                return [UInt8(truncatingIfNeeded: count)]
            }
            return Int(try answer.at(0))
        }

        @Test("shared-memory-sibling: a process that shares the memory is found", .needsPatching)
        func sharedMemorySibling() throws {
            let body = """
                static int child(void *p) { for (;;) pause(); }
                int main(void) {
                    char *stack = malloc(65536);
                    printf("child %d\\n", clone(child, stack + 65536, CLONE_VM | SIGCHLD, NULL));
                    ready();
                    for (;;) pause();
                }
                """
            try with(body) { (process) throws in
                let child = process.stdout.split { $0 == " " || $0 == "\n" }.compactMap { Int32($0) }.first
                #expect(try processesSharingMemory(with: process.pid) == [child])
            }
            let output = try withWitness(["sleep=1"]) { (process) throws in
                #expect(try processesSharingMemory(with: process.pid) == [])
            }
            #expect(isUndisturbed(output))
        }

        @Test("a thread in vfork is seen")
        func vfork() throws {
            let body = """
                int main(void) {
                    ready();
                    if (vfork() == 0) { sleep(30); _exit(0); }
                    return 0;
                }
                """
            try with(body) { (process) throws in
                usleep(50_000)
                #expect(try threadsInVfork(of: process.pid) == [process.pid])
                #expect(throws: ProcessError.didNotStop(pid: process.pid, threads: [process.pid])) {
                    _ = try runTracer(deadline: .seconds(5)) {
                        _ = try withStoppedProcess(process.pid) { _ in }
                        return []
                    }
                }
            }
        }

        @Test("a zombie leader does not hide its threads", .needsPatching)
        func zombieLeader() throws {
            let body = """
                static void *work(void *p) { ready(); for (;;) usleep(1000); }
                int main(void) {
                    pthread_t t;
                    pthread_create(&t, NULL, work, NULL);
                    pthread_create(&t, NULL, work, NULL);
                    usleep(50000);
                    pthread_exit(NULL);
                }
                """
            try with(body) { (process) throws in
                usleep(150_000)
                #expect(try stop(process.pid, times: 5) == 2)
                try borrow(process.pid)
            }
        }

        @Test("threads that come and go are caught")
        func churn() throws {
            let body = """
                static long made;
                static void *brief(void *p) { __atomic_fetch_add(&made, 1, 5); return NULL; }
                static void *work(void *p) {
                    for (;;) {
                        pthread_t t[4];
                        for (int i = 0; i < 4; i++) if (pthread_create(&t[i], NULL, brief, NULL)) abort();
                        for (int i = 0; i < 4; i++) if (pthread_join(t[i], NULL)) abort();
                    }
                }
                int main(void) {
                    pthread_t t;
                    for (int i = 0; i < 4; i++) pthread_create(&t, NULL, work, NULL);
                    ready();
                    for (;;) pause();
                }
                """
            try with(body) { (process) throws in
                #expect(try stop(process.pid, times: 100) >= 5)
                usleep(20_000)
                #expect(process.isRunning)
                #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
                #expect(try stop(process.pid) >= 5)
            }
        }

        @Test("a stopped job stays stopped, and goes on when told")
        func groupStop() throws {
            let output = try withWitness(["epoll=2", "sleep=1"]) { (process) throws in
                process.send(SIGSTOP)
                usleep(20_000)
                #expect(try stop(process.pid, times: 3) == 4)
                usleep(20_000)
                #expect(try ProcessInformation.read(pid: process.pid).state == UInt8(ascii: "T"))
                process.send(SIGCONT)
            }
            // SIGCONT itself gives EINTR where signal(7) says so.
            #expect(isUndisturbed(output, interruptions: 3), "\(output)")
        }

        @Test("rseq: a thread in a restartable sequence is not borrowed", .needsPatching)
        func rseq() throws {
            let body = """
                struct rseq { unsigned a, b; unsigned long cs; unsigned flags; } __attribute__((aligned(32)));
                static struct { unsigned version, flags; unsigned long start, length, abort; }
                    __attribute__((aligned(32))) cs;
                extern const long __rseq_offset;
                int main(void) {
                    struct rseq *r = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
                    ready();
                    __asm__ volatile(
                        "lea 1f(%%rip), %%rax\\n mov %%rax, 8(%1)\\n movq $2f - 1f, 16(%1)\\n lea 3f(%%rip), %%rax\\n"
                        "mov %%rax, 24(%1)\\n jmp 4f\\n .long 0x53053053\\n3: jmp 4f\\n"
                        "4: mov %1, 8(%0)\\n1: jmp 1b\\n2:\\n" : : "r"(r), "r"(&cs) : "rax", "memory");
                }
                """
            try with(body, flags: ["-fcf-protection=none"]) { (process) throws in
                usleep(20_000)
                do {
                    try borrow(process.pid)
                    Issue.record("borrowed")
                } catch ProcessError.noSuitableThread(_, let reasons) {
                    #expect(try reasons.at(0).contains("restartable"))
                }
                #expect(process.isRunning)
            }
        }

        @Test("frame-room: neither a coroutine's stack nor a nearly full one is borrowed", .needsPatching)
        func frameRoom() throws {
            let coroutine = """
                static ucontext_t here, there;
                static void run(void) { ready(); for (;;) ; }
                int main(void) {
                    getcontext(&there);
                    there.uc_stack.ss_sp = malloc(8192);
                    there.uc_stack.ss_size = 8192;
                    makecontext(&there, run, 0);
                    swapcontext(&here, &there);
                }
                """
            let full = """
                static void *work(void *p) {
                    pthread_attr_t a;
                    void *low;
                    size_t size;
                    pthread_getattr_np(pthread_self(), &a);
                    pthread_attr_getstack(&a, &low, &size);
                    ready();
                    __asm__ volatile("lea 4096(%0), %%rsp\\n1: jmp 1b" : : "r"(low));
                    return NULL;
                }
                int main(void) {
                    pthread_t t;
                    pthread_create(&t, NULL, work, NULL);
                    usleep(50000);
                    pthread_exit(NULL);
                }
                """
            for (body, reason) in [(coroutine, "own stack"), (full, "little room")] {
                try with(body) { (process) throws in
                    usleep(150_000)
                    do {
                        try borrow(process.pid)
                        Issue.record("borrowed")
                    } catch ProcessError.noSuitableThread(_, let reasons) {
                        #expect(reasons.contains { $0.contains(reason) }, "\(reasons)")
                    }
                    #expect(try stop(process.pid) == 1)
                }
            }
        }

        @Test(
            "restart-block: a sleeper is borrowed when there is nobody else, even after it was restarted",
            .needsPatching)
        func restartBlock() throws {
            let body = """
                #include <time.h>
                int main(void) {
                    struct timespec t = {1, 500000000}, a, b;
                    clock_gettime(CLOCK_MONOTONIC, &a);
                    ready();
                    int r = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
                    clock_gettime(CLOCK_MONOTONIC, &b);
                    long ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
                    return r != 0 || ms < 1500 || ms > 2100;
                }
                """
            try with(body) { (process) throws in
                for _ in 0..<5 {
                    // The last try is half a sleep after the start: a sleep that began anew there would last too long.
                    usleep(150_000)
                    #expect(try stop(process.pid) == 1)
                    do {
                        try borrow(process.pid)
                    } catch ProcessError.noSuitableThread(_, let reasons)
                        where reasons.contains(where: { $0.hasSuffix("sleeps in an unknown call") })
                    {
                        // Documentation/limits.md, Processes.
                        try Test.cancel("this C library has no number of the call in its code (glibc 2.41)")
                    }
                }
                #expect(try process.wait(seconds: 5).status == 0)
            }
        }

        private func filtered(_ filter: String) -> String {
            """
            #include <linux/filter.h>
            #include <linux/seccomp.h>
            int main(void) {
                struct sock_filter f[] = {\(filter)};
                struct sock_fprog p = {sizeof f / sizeof *f, f};
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if (prctl(PR_SET_SECCOMP, 2, &p)) return 1;
                ready();
                for (;;) pause();
            }
            """
        }

        @Test("seccomp: a call that a filter would kill for is not made", .needsPatching)
        func seccompKills() throws {
            // getpid: kill the process; everything else: allowed.
            let filter = "{0x20, 0, 0, 0}, {0x15, 0, 1, 39}, {6, 0, 0, 0x80000000}, {6, 0, 0, 0x7fff0000}"
            try with(filtered(filter)) { (process) throws in
                guard Machine.filterObstacle == nil else {
                    let hidden =
                        "its seccomp filters can't be read without CAP_SYS_ADMIN: "
                        + "run livepatch as root, outside of containers"
                    #expect(throws: ProcessError.unsupported(pid: process.pid, what: hidden)) {
                        try borrow(process.pid)
                    }
                    #expect(process.isRunning)
                    return
                }
                let what = "its seccomp filter forbids system call 39"
                #expect(throws: ProcessError.unsupported(pid: process.pid, what: what)) { try borrow(process.pid) }
                #expect(process.isRunning)
                #expect(try ProcessInformation.read(pid: process.pid).noNewPrivileges)
                _ = try runTracer(deadline: .seconds(5)) {
                    try withBorrowedThread(process.pid) { _ = try $0.systemCall(110) }
                    return []
                }
                #expect(process.isRunning)
            }
        }

        @Test("mdwe: systemd's filter against writable and executable memory does not stand in the way", .needsFilters)
        func mdweFilter() throws {
            // mmap: EPERM when the protection (argument 2) has PROT_WRITE and PROT_EXEC.
            let filter = """
                {0x20, 0, 0, 0}, {0x15, 0, 4, 9}, {0x20, 0, 0, 32}, {0x54, 0, 0, 6}, {0x15, 0, 1, 6},
                {6, 0, 0, 0x50001}, {6, 0, 0, 0x7fff0000}
                """
            try with(filtered(filter)) { (process) throws in
                let map = try MemoryMap.read(pid: process.pid)
                let text = try #require(map.mappings.first { $0.isExecutable })
                let hole = try #require(findHole(in: map, near: text.range, size: 4096, rules: HoleRules()))
                _ = try runTracer(deadline: .seconds(5)) {
                    try withBorrowedThread(process.pid) { try $0.map(at: hole, size: 4096, .readExecute) }
                    return []
                }
                #expect(try MemoryMap.read(pid: process.pid).mapping(containing: hole)?.isExecutable == true)
                #expect(throws: ProcessError.self) {
                    _ = try runTracer(deadline: .seconds(5)) {
                        try withBorrowedThread(process.pid) { _ = try $0.systemCall(9, 0, 4096, 7, 0x22, .max, 0) }
                        return []
                    }
                }
            }
        }

        @Test("a process that calls exec while it is being stopped is left alone")
        func execWhileStopping() throws {
            let body = """
                int main(int argc, char **argv) {
                    ready();
                    if (argc < 200) {
                        char *next[300];
                        memcpy(next, argv, argc * sizeof *argv);
                        next[argc] = "x";
                        next[argc + 1] = NULL;
                        usleep(3000);
                        execv("/proc/self/exe", next);
                    }
                    for (;;) pause();
                }
                """
            try with(body) { (process) throws in
                for _ in 0..<60 {
                    do {
                        #expect(try stop(process.pid) == 1)
                    } catch ProcessError.executed, ProcessError.didNotStop {}
                }
                usleep(50_000)
                #expect(process.isRunning)
                #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
            }
        }

        private let executing = """
            char path[] = "/proc/self/exe", word[] = "again";
            char *arguments[] = {path, word, NULL};
            static void *other(void *seconds) {
                while (access("go", F_OK) != 0) usleep(1000);
                execv(path, arguments);
                return NULL;
            }
            int main(int argc, char **argv) {
                pthread_t thread;
                if (argc > 1) puts("second life");
                printf("%p %p\\n", (void *)path, (void *)arguments);
                if (argc == 1) pthread_create(&thread, NULL, other, NULL);
                ready();
                for (;;) pause();
            }
            """

        @Test("exec-under-borrow: a borrowed thread that executes another program is let go untouched", .needsPatching)
        func execOfTheBorrowedThread() throws {
            try with(executing) { (process) throws in
                let places = process.stdout.split { $0 == " " || $0 == "\n" }.compactMap { word in
                    UInt64(word.dropFirst(2), radix: 16)
                }
                try #require(places.count == 2)
                let (path, arguments) = (try places.at(0), try places.at(1))
                #expect(throws: ProcessError.executed(pid: process.pid)) {
                    _ = try runTracer(deadline: .seconds(20)) {
                        try withBorrowedThread(process.pid) { _ = try $0.systemCall(59, path, arguments, 0) }
                        return []
                    }
                }
                try process.waitForOutput("second life")
                try expectLetGo(process)
            }
        }

        @Test("exec-under-borrow: another thread executes a program while one is borrowed", .needsPatching)
        func execOfAnotherThread() throws {
            try withTemporaryDirectory { directory in
                try with(executing, in: directory) { (process) throws in
                    #expect(throws: ProcessError.executed(pid: process.pid)) {
                        _ = try runTracer(deadline: .seconds(20)) {
                            // The other one could not execute anything while it is borrowed.
                            let isOther: (StoppedThread) -> String? = { $0.tid == process.pid ? nil : "the other" }
                            try withBorrowedThread(process.pid, unfitness: isOther) { caller in
                                _ = try caller.systemCall(39)
                                try writeText("", to: directory + "/go")
                                while true { _ = try caller.systemCall(39) }
                            }
                            return []
                        }
                    }
                    try process.waitForOutput("second life")
                    try expectLetGo(process)
                }
            }
        }

        @Test(
            "exec-under-borrow: a program that executes itself again and again is borrowed at any moment",
            .needsPatching)
        func execAtAnyMoment() throws {
            let body = """
                int main(int argc, char **argv) {
                    char number[16];
                    int count = argc > 1 ? atoi(argv[1]) : 0;
                    if (count == 0) ready();
                    snprintf(number, sizeof number, "%d", count + 1);
                    if (count < 400) execl("/proc/self/exe", "odd", number, NULL);
                    puts("survived");
                    fflush(stdout);
                    for (;;) pause();
                }
                """
            try with(body) { (process) throws in
                let end = monotonicSeconds() + 60
                while !process.stdout.contains("survived"), process.isRunning, monotonicSeconds() < end {
                    _ = try? borrow(process.pid)
                }
                #expect(process.isRunning)
                try process.waitForOutput("survived")
                try borrow(process.pid)
                try expectLetGo(process)
            }
        }

        @Test("exec-under-borrow: a fault of our own code is not given to the program", .needsPatching)
        func faultOfOurOwn() throws {
            let body = """
                static void hurt(int number) { (void)number; write(1, "hurt\\n", 5); }
                int main(void) {
                    signal(SIGSEGV, hurt);
                    ready();
                    for (;;) pause();
                }
                """
            try with(body) { (process) throws in
                let call = try gadgetPage(of: process.pid)
                #expect(throws: ProcessError.crashed(pid: process.pid, signal: SIGSEGV)) {
                    _ = try runTracer(deadline: .seconds(20)) {
                        try withBorrowedThread(process.pid) { caller in
                            // The code that makes the call can't be run again after it.
                            guard try caller.systemCall(10, call.rawValue, 4096, 0) == 0 else {
                                throw ProcessError.failed("mprotect")
                            }
                            _ = try caller.systemCall(39)
                        }
                        return []
                    }
                }
                #expect(process.isRunning && !process.stdout.contains("hurt"))
                try expectLetGo(process)
                process.send(SIGSEGV)
                try process.waitForOutput("hurt")
            }
        }

        private func gadgetPage(of pid: Int32) throws -> RemoteAddress {
            try CallGadgets.find(in: try MemoryMap.read(pid: pid), of: RemoteMemory(pid: pid)).call.page
        }

        private func expectLetGo(_ process: RunningProcess) throws {
            #expect(process.isRunning)
            #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
        }

        @Test("static programs are borrowed too", .needsPatching)
        func staticProgram() throws {
            try with("int main(void) { ready(); for (;;) pause(); }", flags: ["-static"]) { (process) throws in
                try borrow(process.pid)
                #expect(process.isRunning)
            }
        }

        @Test("a process that another traces is refused")
        func alreadyTraced() throws {
            let output = try withWitness(["sleep=1"]) { (process) throws in
                let answer = try runTracer(deadline: .seconds(5)) {
                    let tracer = getpid()
                    _ = try withStoppedProcess(process.pid, maximumStop: .seconds(2)) { _ in
                        do {
                            _ = try runTracer(deadline: .seconds(1)) {
                                _ = try withStoppedProcess(process.pid) { _ in }
                                return []
                            }
                            throw ProcessError.failed("traced twice")
                        } catch ProcessError.alreadyTraced(_, tracer) {}
                    }
                    return [1]
                }
                #expect(answer == [1])
            }
            #expect(isUndisturbed(output), "\(output)")
        }
    }
}
