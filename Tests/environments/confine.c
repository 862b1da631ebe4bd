/* confine [--docker] [--loopback] COMMAND...
   --docker: refuses, for what it runs, the system calls that Docker's default seccomp profile refuses to a container without
   extra capabilities and that anything here could want. --loopback: brings up the loopback device of this network namespace.
   Built and used by Tests/environments/run only. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)
#define REFUSE(code) ANSWER(SECCOMP_RET_ERRNO | (code))
#define IF(value, ...) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), __VA_ARGS__
#define NO(call) IF(SYS_##call, REFUSE(EPERM))

static struct sock_filter rules[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    REFUSE(ENOSYS),
    LOAD(nr),
    /* Without CAP_SYS_ADMIN. */
    NO(bpf), NO(fanotify_init), NO(fsconfig), NO(fsmount), NO(fsopen), NO(fspick), NO(lookup_dcookie), NO(mount),
    NO(mount_setattr), NO(move_mount), NO(open_tree), NO(perf_event_open), NO(quotactl), NO(setdomainname), NO(sethostname),
    NO(setns), NO(syslog), NO(umount2), NO(unshare),
    /* Without CAP_SYS_PTRACE; ptrace and process_vm_* are allowed since Linux 4.8. */
    NO(kcmp), NO(pidfd_getfd), NO(process_madvise),
    /* Of other capabilities, or allowed to nobody. */
    NO(acct), NO(add_key), NO(clock_settime), NO(delete_module), NO(finit_module), NO(get_mempolicy),
    NO(init_module), NO(io_uring_enter), NO(io_uring_register), NO(io_uring_setup), NO(ioperm), NO(iopl), NO(kexec_load),
    NO(keyctl), NO(mbind), NO(move_pages), NO(open_by_handle_at), NO(pivot_root), NO(reboot), NO(request_key),
    NO(set_mempolicy), NO(settimeofday), NO(swapoff), NO(swapon), NO(userfaultfd), NO(vhangup),
    /* The C library takes ENOSYS as "use clone", whose flags a filter can see. */
    IF(SYS_clone3, REFUSE(ENOSYS)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
             CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET, 0, 1),
    REFUSE(EPERM),
    ANSWER(SECCOMP_RET_ALLOW),
};

static int refuse_calls(void) {
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int raise_loopback(void) {
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
    strcpy(request.ifr_name, "lo");
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return any < 0 ? -1 : ioctl(any, SIOCSIFFLAGS, &request);
}

int main(int argc, char **argv) {
    int at = 1, docker = 0;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--docker") == 0) docker = 1;
        else if (strcmp(argv[at], "--loopback") == 0 && raise_loopback() != 0) return perror("loopback"), 2;
    }
    if (at == argc) return fprintf(stderr, "confine [--docker] [--loopback] COMMAND...\n"), 2;
    if (docker && refuse_calls() != 0) return perror("seccomp"), 2;
    execvp(argv[at], argv + at);
    return perror(argv[at]), 127;
}
