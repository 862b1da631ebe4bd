/// Rules about applying a patch to a process.
let explanationsOfProcesses: [(rule: Rule, text: RuleExplanation)] = [
    (
        .noPermission,
        RuleExplanation(
            "The system does not let this user trace the process, or write its memory.",
            example: "livepatch apply fix.lpatch --pid 1              // as an ordinary user",
            remedy: "run as root or as the owner of the process, with CAP_SYS_PTRACE",
            wayOut: "Run as root or as the owner of the process, with CAP_SYS_PTRACE in the process's own namespaces.")
    ),
    (
        .noProcess,
        RuleExplanation(
            "There is no such process, or it has ended.", example: "livepatch apply fix.lpatch --pid 99999",
            remedy: "check the process id",
            wayOut: "Check the process id, or use --all.")
    ),
    (
        .notMapped,
        RuleExplanation(
            "The process has none of the bundle's targets mapped, or a part of what is patched together: code that relies on the fix would run beside code without it.",
            example: "a patch of libxslt.so, a process that has never loaded it",
            remedy: "check that the bundle is for this program: `patchbuild show FIX.lpatch`",
            wayOut:
                "Compare the targets that `patchbuild show FIX.lpatch` lists with /proc/PID/maps. Where a part is missing, restart."
        )
    ),
    (
        .wrongBuild,
        RuleExplanation(
            "The process runs the file, but another build of it: the build-ids differ.",
            example: "a bundle for 7.0.15-1, a process of 7.0.15-2",
            remedy: "build the bundle for the build-id that runs",
            wayOut: "Build the bundle for the build-id that runs.")
    ),
    (
        .changedBytes,
        RuleExplanation(
            "The code in memory is not the file's: another patcher's jump, a debugger's breakpoint, a uprobe. Copying or overwriting it would break one of both.",
            example: "perf probe -x /usr/sbin/server handle_call",
            remedy: "take the other patch, breakpoint or uprobe off first",
            wayOut: "Take the other patch, breakpoint or probe off first.")
    ),
    (
        .notLoaded,
        RuleExplanation(
            "The process does not hold the patch that is to be activated, deactivated or unloaded.",
            example: "livepatch activate fix --pid 1234               // before load",
            remedy: "load the bundle first",
            wayOut: "Load the bundle first, or use apply.")
    ),
    (
        .patchState,
        RuleExplanation(
            "The patch is in a state that the command does not follow: already active, or half taken back.",
            example: "livepatch unload fix --pid 1234                 // while it is active",
            remedy: "see `livepatch status`",
            wayOut: "See `livepatch status`; revert is deactivate and unload.")
    ),
    (
        .overlap,
        RuleExplanation(
            "Another active patch replaces the same function, and this one was built from the original source: it would undo the other.",
            example: "fix-b.lpatch and fix-a.lpatch both replace parse()",
            remedy: "build the second patch on the first: `patchbuild build --requires FIRST.lpatch` or `--supersedes`",
            wayOut:
                "Build the second on the first: `patchbuild build --diff a --diff b --requires fix-a.lpatch`, or --supersedes."
        )
    ),
    (
        .missingRequirement,
        RuleExplanation(
            "The bundle was built on another one, which is not applied.",
            example: "livepatch apply fix-b.lpatch --pid 1234         // without fix-a",
            remedy: "apply the required patch first",
            wayOut: "Apply the required patch first: `patchbuild show` names it.")
    ),
    (
        .requiredByOthers,
        RuleExplanation(
            "Another active patch was built on this one.", example: "livepatch revert fix-a --pid 1234",
            remedy: "revert the patches that require it first",
            wayOut: "Revert the patches that require it first, the last one first.")
    ),
    (
        .unboundSymbol,
        RuleExplanation(
            "A symbol that the module needs is not in the process: the library that has it is not loaded, or lacks the version. Or the process found another object's definition before that of the target, which it would go on with.",
            example:
                "new code calls dlopen'ed code's function before it is loaded; a program has its own copy of the library's function",
            remedy: "the library must be loaded in the process",
            wayOut: "Apply the patch when the library is loaded; patch the object whose definition the process uses.")
    ),
    (
        .noHole,
        RuleExplanation(
            "There is no free memory within 2 GiB of the target, which a 5-byte jump could reach.",
            example: "a process that has mapped hundreds of gigabytes around its program",
            remedy: "no free memory within 2 GiB of the target; restart",
            wayOut: "Restart the process with the fixed program.")
    ),
    (
        .foreignStacks,
        RuleExplanation(
            "The process can switch stacks (coroutines, ucontext), and frames of replaced functions may lie where nobody finds them.",
            example: "a server that runs each request on a makecontext() stack",
            remedy: "use --consistency entry if a call in progress may finish in the old code",
            wayOut: "Use --consistency entry if a call in progress may finish in the old code.")
    ),
    (
        .sharedMemory,
        RuleExplanation(
            "Another process shares the memory (clone with CLONE_VM, a vfork child) and would go on running while code is written.",
            example: "posix_spawn in progress",
            remedy: "wait until the other process has exited or called exec",
            wayOut: "Try again when the other process has exited or called exec.")
    ),
    (
        .unsupportedProcess,
        RuleExplanation(
            "The process has something that patching would break: a seccomp filter that forbids mmap, a shadow stack, a runtime that moves stacks.",
            example: "a Go program; a sandboxed renderer",
            remedy: "restart the process with the fixed program",
            wayOut: "Restart the process with the fixed program.")
    ),
    (
        .hostileMemory,
        RuleExplanation(
            "The record of patches in the process's memory contradicts the bundle. The memory is untrusted: it is not written by what it says.",
            example: "a process that has overwritten its own registry",
            remedy: "restart the process",
            wayOut: "Restart the process.")
    ),
]
