// System calls that Swift can't reach (variadic, marked unavailable, or behind _GNU_SOURCE). No logic.
// Every function that can fail returns -errno.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// `user_regs_struct` of x86-64: what PTRACE_GETREGS fills.
struct lp_registers {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

/// `ptrace_rseq_configuration`.
struct lp_rseq_configuration {
    uint64_t abi_pointer;
    uint32_t abi_size, signature, flags, pad;
};

/// `sock_filter`: one instruction of classic BPF.
struct lp_filter {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};

/// One range of another process's memory and where its bytes go.
struct lp_transfer {
    uint64_t remote;
    uint64_t local;
    uint64_t length;
};

enum {
    LP_PEEKDATA = 2,
    LP_POKEDATA = 5,
    LP_POKEUSER = 6,
    LP_CONT = 7,
    LP_GETREGS = 12,
    LP_SETREGS = 13,
    LP_DETACH = 17,
    LP_SYSCALL = 24,
    LP_GETEVENTMSG = 0x4201,
    LP_GETSIGINFO = 0x4202,
    LP_GETREGSET = 0x4204,
    LP_SEIZE = 0x4206,
    LP_INTERRUPT = 0x4207,
    LP_LISTEN = 0x4208,
    LP_GETSIGMASK = 0x420a,
    LP_SETSIGMASK = 0x420b,
    LP_SECCOMP_GET_FILTER = 0x420c,
    LP_GET_RSEQ_CONFIGURATION = 0x420f,

    LP_O_TRACESYSGOOD = 1,
    LP_O_TRACECLONE = 8,
    LP_O_TRACEEXEC = 16,

    LP_EVENT_CLONE = 3,
    LP_EVENT_EXEC = 4,
    LP_EVENT_STOP = 128,

    LP_WALL = 0x40000000,
    LP_WNOHANG = 1,
    LP_NT_X86_XSTATE = 0x202,
};

long lp_ptrace(long request, int32_t tid, uint64_t address, uint64_t data);
/// PTRACE_GETREGSET: the number of bytes the kernel filled in.
long lp_get_regset(int32_t tid, uint64_t type, void *buffer, size_t size);
long lp_waitpid(int32_t tid, int32_t *status, int32_t flags);
/// The same status, left in place: the id of the thread, 0 when there is none with LP_WNOHANG.
long lp_peek_status(int32_t tid, int32_t *status, int32_t flags);
long lp_fork(void);
_Noreturn void lp_exit(int32_t status);

/// At most 1024 transfers; the number of bytes moved before the first fault.
long lp_read_memory(int32_t pid, const struct lp_transfer *transfers, size_t count);

/// kcmp(KCMP_VM): 0 when both share one address space.
long lp_kcmp_vm(int32_t a, int32_t b);
long lp_open_pidfd(int32_t pid);
long lp_tgkill(int32_t pid, int32_t tid, int32_t signal);

/// The child ends with its parent, has a process group of its own, ignores terminal stops, and has default signal dispositions, nothing blocked, and the best nice value it may.
long lp_prepare_tracer(int32_t parent);
/// SCHED_FIFO at the priority given, SCHED_OTHER at 0.
long lp_set_realtime(int32_t priority);
/// Where another thread's list of robust mutexes begins; 0 when it has none.
long lp_robust_list(int32_t tid, uint64_t *head);
/// Fills in the set of processors that a thread may run on (0: the caller); the number of bytes filled in.
long lp_processors_of(int32_t tid, void *words, size_t size);
/// The calling thread's id.
int32_t lp_thread(void);
/// The processor that the calling thread runs on.
int32_t lp_processor(void);
/// Where the calling thread may run: a set, or one processor.
long lp_set_processors(const void *words, size_t size);
long lp_set_processor(int32_t number);
/// A thread that nobody waits for, with all signals blocked.
long lp_start_thread(void *(*body)(void *), void *argument);
/// SIGALRM without effect every `interval_ns`, first after `first_ns`, so that a wait returns EINTR; 0, 0 ends it.
long lp_tick(uint64_t first_ns, uint64_t interval_ns);
uint64_t lp_monotonic_ns(void);
/// CLOCK_MONOTONIC, for waits that must not burn the processor.
void lp_sleep_ns(uint64_t ns);

/// CPUID leaf 0xd: offset and size of an XSAVE component in the standard format.
void lp_xsave_component(uint32_t component, uint32_t *offset, uint32_t *size);
/// Offset of the first occurrence, or -1.
long lp_find(const void *haystack, size_t size, const void *needle, size_t length);
