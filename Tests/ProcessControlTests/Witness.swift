import TestSupport

/// A process whose threads check all they can see, and count what is not as it should be.
///
/// Arguments: how many threads of each kind, as `kind=count`. On SIGTERM it prints `errors N signals SENT GOT interrupted N`
/// and exits. Kinds: sleep, epoll, recv, futex, sigwait, semop, poll, busy, signal, altstack, wait (epoll without end).
let witnessSource = #"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <linux/futex.h>
    #include <poll.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/ipc.h>
    #include <sys/sem.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static volatile int stop;
    static int errors, sent, got, interrupted;
    static void wrong(const char *what) {
        if (errno == EINTR) {
            __atomic_fetch_add(&interrupted, 1, __ATOMIC_SEQ_CST);
            return;
        }
        __atomic_fetch_add(&errors, 1, __ATOMIC_SEQ_CST);
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
    }
    static void check(int good, const char *what) { if (!good) wrong(what); }
    static const struct timespec brief = {0, 30000000};

    static void do_sleep(void) {
        int r = clock_nanosleep(CLOCK_MONOTONIC, 0, &brief, NULL);
        errno = r;
        check(r == 0, "sleep");
    }
    static void do_epoll(void) {
        static __thread int fd;
        if (!fd) fd = epoll_create1(0);
        struct epoll_event e;
        check(epoll_wait(fd, &e, 1, 30) == 0, "epoll_wait");
    }
    static void do_wait(void) {
        int fd = epoll_create1(0);
        struct epoll_event e;
        while (!stop) check(epoll_wait(fd, &e, 1, 60000) == 0 || stop, "long epoll_wait");
    }
    static void do_recv(void) {
        static __thread int fds[2];
        if (!fds[0]) {
            socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
            struct timeval t = {0, 30000};
            setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
        }
        char c;
        check(recv(fds[0], &c, 1, 0) == -1 && errno == EAGAIN, "recv");
    }
    static void do_futex(void) {
        int word = 1;
        long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &brief, NULL, 0);
        check(r == -1 && errno == ETIMEDOUT, "futex");
    }
    static void do_sigwait(void) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        check(sigtimedwait(&set, NULL, &brief) == -1 && errno == EAGAIN, "sigtimedwait");
    }
    static void do_semop(void) {
        static __thread int id = -1;
        if (id < 0) id = semget(IPC_PRIVATE, 1, 0600);
        struct sembuf b = {0, -1, 0};
        check(semtimedop(id, &b, 1, &brief) == -1 && errno == EAGAIN, "semtimedop");
        if (stop) semctl(id, 0, IPC_RMID);
    }
    static void do_poll(void) { check(poll(NULL, 0, 30) == 0, "poll"); }
    // Registers with known values, checked after a while of doing nothing; the red zone too.
    static void do_busy(void) {
        long bad;
        double value[4] = {1.5, -2.25, 3.125, 1e300};
        __asm__ volatile(
            "vmovupd (%1), %%ymm0\n vmovapd %%ymm0, %%ymm7\n vmovapd %%ymm0, %%ymm15\n"
            "mov $0x1122334455667788, %%r12\n mov %%r12, %%r13\n mov %%r12, %%r11\n mov %%r12, %%rcx\n"
            "mov %%r12, -8(%%rsp)\n mov %%r12, -120(%%rsp)\n mov $3000000, %%rax\n std\n"
            "1: dec %%rax\n jnz 1b\n"
            "pushfq\n pop %%rax\n cld\n xor %0, %0\n bt $10, %%rax\n jc 2f\n inc %0\n"
            "2: cmp %%r12, %%r13\n je 3f\n inc %0\n3: cmp %%r12, %%r11\n je 4f\n inc %0\n"
            "4: cmp %%r12, %%rcx\n je 5f\n inc %0\n5: cmp %%r12, -120(%%rsp)\n je 6f\n inc %0\n"
            "6: vcmpeqpd (%1), %%ymm7, %%ymm7\n vcmpeqpd (%1), %%ymm15, %%ymm15\n vcmpeqpd (%1), %%ymm0, %%ymm0\n"
            "vandpd %%ymm7, %%ymm15, %%ymm7\n vandpd %%ymm0, %%ymm7, %%ymm7\n vmovmskpd %%ymm7, %%eax\n"
            "cmp $15, %%eax\n je 7f\n inc %0\n7: vzeroupper\n"
            : "=&r"(bad) : "r"(value)
            : "rax", "rcx", "r11", "r12", "r13", "memory", "cc", "xmm0", "xmm7", "xmm15");
        check(bad == 0, "registers");
    }
    static void on_signal(int n) { (void)n; __atomic_fetch_add(&got, 1, __ATOMIC_SEQ_CST); }
    static void do_signal(void) {
        union sigval v = {0};
        if (pthread_sigqueue(pthread_self(), SIGRTMIN, v) == 0) __atomic_fetch_add(&sent, 1, __ATOMIC_SEQ_CST);
        usleep(2000);
    }
    static void do_altstack(void) {
        static __thread char *mine;
        stack_t s = {0}, now;
        if (!mine) {
            s.ss_sp = mine = malloc(65536);
            s.ss_size = 65536;
            sigaltstack(&s, NULL);
        }
        for (int i = 0; i < 1000; i++) {
            sigset_t m;
            pthread_sigmask(SIG_BLOCK, NULL, &m);
            check(sigismember(&m, SIGUSR2) && !sigismember(&m, SIGUSR1) && !sigismember(&m, SIGINT), "mask");
            check(sigaltstack(NULL, &now) == 0 && now.ss_sp == mine && now.ss_flags == 0, "altstack");
        }
    }
    static struct { const char *name; void (*run)(void); } kinds[] = {
        {"sleep", do_sleep}, {"epoll", do_epoll}, {"recv", do_recv}, {"futex", do_futex}, {"sigwait", do_sigwait},
        {"semop", do_semop}, {"poll", do_poll}, {"busy", do_busy}, {"signal", do_signal}, {"altstack", do_altstack},
        {"wait", do_wait},
    };
    static void *loop(void *run) {
        while (!stop) ((void (*)(void))run)();
        return NULL;
    }
    static void on_term(int n) { (void)n; }

    int main(int argc, char **argv) {
        pthread_t threads[2000];
        int count = 0;
        sigset_t blocked;
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGUSR2);
        sigaddset(&blocked, SIGTERM);
        sigprocmask(SIG_SETMASK, &blocked, NULL);
        struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigaction(SIGRTMIN, &a, NULL);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 131072);
        for (int i = 1; i < argc; i++)
            for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
                size_t n = strlen(kinds[k].name);
                if (strncmp(argv[i], kinds[k].name, n) || argv[i][n] != '=') continue;
                for (int j = atoi(argv[i] + n + 1); j > 0; j--)
                    pthread_create(&threads[count++], &attributes, loop, (void *)kinds[k].run);
            }
        puts("ready");
        fflush(stdout);
        sigset_t term;
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        while (sigwaitinfo(&term, NULL) != SIGTERM) wrong("sigwaitinfo");
        stop = 1;
        for (int i = 0; i < count && i < 200; i++) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 2;
            if (pthread_timedjoin_np(threads[i], NULL, &until)) break;
        }
        printf("errors %d signals %d %d interrupted %d\n", errors, sent, got, interrupted);
        fflush(stdout);
        _exit(errors != 0);
    }
    """#

/// Starts the witness, runs `body` with it, and returns what it saw: standard output and errors.
func withWitness(_ kinds: [String], _ body: (RunningProcess) throws -> Void) throws -> Output {
    let program = try Fixture.compile(witnessSource, ["-O2", "-g", "-mavx", "-pthread"], output: "witness")
    return try withProcess(program, kinds) { process in
        try process.waitForOutput("ready")
        try body(process)
        process.send(15)
        return try process.wait(seconds: 20)
    }
}

/// The witness's verdict: nothing was disturbed and no signal was lost.
///
/// - Parameter interruptions: how many calls may have seen EINTR. When the tracer is killed between interrupting a thread
///   and looking at it, nobody is left to have the call started again.
func isUndisturbed(_ output: Output, interruptions: Int = 0) -> Bool {
    let numbers = output.stdout.split { $0 == " " || $0 == "\n" }.compactMap { Int($0) }
    return output.status == 0 && numbers.count == 4 && numbers[0] == 0 && numbers[1] == numbers[2]
        && numbers[3] <= interruptions
}
