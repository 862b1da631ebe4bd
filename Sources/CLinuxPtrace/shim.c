#define _GNU_SOURCE
#include "CLinuxPtrace.h"

#include <cpuid.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long result(long value) { return value < 0 ? -errno : value; }

// The system call itself: glibc's wrapper gives PTRACE_PEEK* another meaning.
long lp_ptrace(long request, int32_t tid, uint64_t address, uint64_t data) {
    return result(syscall(SYS_ptrace, request, (long)tid, address, data));
}

long lp_get_regset(int32_t tid, uint64_t type, void *buffer, size_t size) {
    struct iovec vector = {buffer, size};
    long r = lp_ptrace(LP_GETREGSET, tid, type, (uint64_t)&vector);
    return r < 0 ? r : (long)vector.iov_len;
}

long lp_waitpid(int32_t tid, int32_t *status, int32_t flags) { return result(waitpid(tid, status, flags)); }

long lp_peek_status(int32_t tid, int32_t *status, int32_t flags) {
    siginfo_t info = {0};
    int any = tid < 0;
    if (waitid(any ? P_ALL : P_PID, any ? 0 : (id_t)tid, &info, WEXITED | WSTOPPED | WNOWAIT | flags) < 0) return -errno;
    int ended = info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    *status = ended ? 0 : info.si_status << 8 | 0x7f;
    return info.si_pid;
}

long lp_fork(void) { return result(fork()); }
void lp_exit(int32_t status) { _exit(status); }

// 0L: the call reads whole words, and the upper half of an int among them is not defined.
static long transfer(long number, int32_t pid, const struct lp_transfer *transfers, size_t count) {
    struct iovec local[1024], remote[1024];
    if (count > 1024) return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        local[i] = (struct iovec){(void *)transfers[i].local, transfers[i].length};
        remote[i] = (struct iovec){(void *)transfers[i].remote, transfers[i].length};
    }
    return result(syscall(number, (long)pid, local, count, remote, count, 0L));
}

long lp_read_memory(int32_t pid, const struct lp_transfer *transfers, size_t count) {
    return transfer(SYS_process_vm_readv, pid, transfers, count);
}

long lp_kcmp_vm(int32_t a, int32_t b) { return result(syscall(SYS_kcmp, (long)a, (long)b, 1L, 0L, 0L)); }
long lp_open_pidfd(int32_t pid) { return result(syscall(SYS_pidfd_open, (long)pid, 0L)); }

long lp_tgkill(int32_t pid, int32_t tid, int32_t signal) {
    return result(syscall(SYS_tgkill, (long)pid, (long)tid, (long)signal));
}

long lp_prepare_tracer(int32_t parent) {
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    // What a terminal sends to its group must not stop us while others stand still because of us. Not a session: the
    // kernel would schedule it as a group of its own (autogroup), in which a nice value says nothing of the others.
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    if (setpgid(0, 0) < 0) return -errno;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // Preparing takes milliseconds, but seconds behind a hundred busy threads. Not permitted: slower, no less right.
    setpriority(PRIO_PROCESS, 0, -20);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return -errno;
    return getppid() == parent ? 0 : -ESRCH;
}

long lp_set_realtime(int32_t priority) {
    struct sched_param parameter = {.sched_priority = priority};
    return result(sched_setscheduler(0, priority > 0 ? SCHED_FIFO : SCHED_OTHER, &parameter));
}

long lp_robust_list(int32_t tid, uint64_t *head) {
    size_t size = 0;
    return result(syscall(SYS_get_robust_list, (long)tid, head, &size));
}

long lp_processors_of(int32_t tid, void *words, size_t size) {
    return result(syscall(SYS_sched_getaffinity, (long)tid, size, words));
}

int32_t lp_thread(void) { return (int32_t)syscall(SYS_gettid); }

int32_t lp_processor(void) { return sched_getcpu(); }

long lp_set_processors(const void *words, size_t size) {
    return result(syscall(SYS_sched_setaffinity, 0L, size, words));
}

long lp_set_processor(int32_t number) {
    unsigned long words[128] = {0};
    unsigned bits = sizeof words[0] * CHAR_BIT;
    if (number < 0 || (unsigned)number / bits >= sizeof words / sizeof words[0]) return -EINVAL;
    words[(unsigned)number / bits] = 1UL << ((unsigned)number % bits);
    return lp_set_processors(words, sizeof words);
}

long lp_start_thread(void *(*body)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

static void nothing(int number) { (void)number; }

long lp_tick(uint64_t first_ns, uint64_t interval_ns) {
    struct sigaction action = {.sa_handler = nothing};
    if (sigaction(SIGALRM, &action, NULL) < 0) return -errno;
    struct itimerval timer = {
        .it_interval = {interval_ns / 1000000000, interval_ns / 1000 % 1000000},
        .it_value = {first_ns / 1000000000, first_ns / 1000 % 1000000},
    };
    return result(setitimer(ITIMER_REAL, &timer, NULL));
}

uint64_t lp_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void lp_sleep_ns(uint64_t ns) {
    struct timespec duration = {ns / 1000000000, ns % 1000000000};
    nanosleep(&duration, NULL);
}

void lp_xsave_component(uint32_t component, uint32_t *offset, uint32_t *size) {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(0xd, component, &a, &b, &c, &d);
    *offset = b;
    *size = a;
}

long lp_find(const void *haystack, size_t size, const void *needle, size_t length) {
    const char *found = memmem(haystack, size, needle, length);
    return found ? found - (const char *)haystack : -1;
}
