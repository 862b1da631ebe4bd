import Glibc
import PatchFormat
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

/// Programs whose threads stand in, or look as if they stood in, a replaced function.
extension Programs {
    static let blockedSource = """
        #include <pthread.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <ucontext.h>
        #include <unistd.h>
        volatile int sink, go, kind;
        __attribute__((noinline, noclone)) static void wait_for_go(void) { while (!go) usleep(1000); }
        #ifdef CONTEXTS
        static ucontext_t outer, inner;
        __attribute__((noinline, noclone)) static void leave(void) { swapcontext(&inner, &outer); }
        #else
        static void leave(void) {}
        #endif
        __attribute__((noipa)) int answer(void) {
            sink++;
            if (kind == 1) { wait_for_go(); sink++; }
            if (kind == 3) { raise(SIGUSR2); sink++; }
            if (kind == 2) { leave(); sink++; }
            return 1;
        }
        static void *worker(void *unused) { answer(); return unused; }
        static void on_signal(int number) { (void)number; go = 1; kind = 0; }
        static void *idle(void *unused) {
            sigset_t all;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, 0);
            for (;;) sleep(100);
            return unused;
        }
        // A handler on an alternate stack, within the stack whose code it interrupts or elsewhere, that sleeps or spins.
        static volatile int in_handler;
        static void on_alternate(int number) {
            (void)number;
            printf("handler\\n");
            while (!go) if (in_handler == 1) usleep(1000); else sink++;
        }
        static void use_alternate(char *stack, size_t size, char how) {
            stack_t alternate = {.ss_sp = stack, .ss_size = size};
            struct sigaction action = {.sa_handler = on_alternate, .sa_flags = SA_ONSTACK};
            sigaltstack(&alternate, 0);
            sigaction(SIGUSR2, &action, 0);
            in_handler = how == 's' ? 1 : 2;
        }
        __attribute__((noinline, noclone)) static void interrupted(char where, char how, char in) {
            char within[65536];
            static char elsewhere[65536];
            memset(within, 0, sizeof within);
            use_alternate(where == 'w' ? within : elsewhere, sizeof within, how);
            kind = in == 'f' ? 3 : 0;
            if (kind == 3) answer(); else raise(SIGUSR2);
            sink += within[sink & 1023];
            kind = 0;
        }
        #ifdef CONTEXTS
        static char stack[65536];
        static void coroutine(void) { answer(); }
        #endif
        __attribute__((noinline, noclone)) static void stale(void) {
            // A slot of a live frame that keeps an address inside answer(), as a former call leaves one.
            volatile unsigned long slots[64];
            memset((void *)slots, 0, sizeof slots);
            slots[32] = (unsigned long)answer + 4;
            while (!go) usleep(1000);
            sink += (int)slots[0];
        }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            signal(SIGUSR1, on_signal);
            pthread_t t;
            switch (argc > 1 ? argv[1][0] : 0) {
            case 'b': kind = 1; pthread_create(&t, 0, worker, 0); break;
        #ifdef CONTEXTS
            case 'c':
                kind = 2;
                getcontext(&inner);
                inner.uc_stack.ss_sp = stack;
                inner.uc_stack.ss_size = sizeof stack;
                inner.uc_link = &outer;
                makecontext(&inner, coroutine, 0);
                swapcontext(&outer, &inner);
                kind = 0;
                break;
        #endif
            case 's': printf("ready\\n"); stale(); break;
            case 'a': pthread_create(&t, 0, idle, 0); printf("ready\\n"); interrupted(argv[1][1], argv[1][2], argv[1][3]); break;
            case 'f': if (vfork() == 0) { sleep(60); _exit(0); } break;
            }
            usleep(20000);
            printf("ready\\n");
            for (;;) {
        #ifdef CONTEXTS
                if (go == 1) { go = 2; swapcontext(&outer, &inner); }
        #endif
                printf("answer=%d\\n", kind ? 0 : answer());
                usleep(2000);
            }
        }
        """

    static func blockedPatch(contexts: Bool = false) throws -> HandMadePatch {
        let target = try Fixture.compile(
            blockedSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"] + (contexts ? ["-DCONTEXTS"] : []),
            output: "blocked")
        let source =
            Assembly.head + Assembly.replacement("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(id: "fix", target: target, source: source, functions: ["answer"])
    }
}

@Suite("stopping") struct StopTests {
    @Test("a replaced function in progress is busy, thread and function named; then it goes")
    func inProgress() throws {
        try withPatched(try Programs.blockedPatch(), arguments: ["b"]) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "1.5")
            try expectStatus(3, output)
            #expect(output.stderr.contains("is in answer"), "\(output)")
            #expect(output.stderr.contains("try again when the call has returned"), "\(output)")
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("0 patches"))
            process.send(SIGUSR1)
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
        }
    }

    @Test("a call that runs as long as the process says what helps, since trying again does not")
    func mainInProgress() throws {
        var patch = try Programs.blockedPatch()
        patch.source = Assembly.head + Assembly.replacement("main", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        patch.functions = ["main"]
        try withPatched(patch) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "0.5")
            try expectStatus(3, output)
            let help = "restart the process, or build the patch with --allow never-returns=main"
            #expect(output.stderr.contains(help), "\(output)")
        }
    }

    @Test("--consistency entry lets calls in progress finish in the old code")
    func entryConsistency() throws {
        try withPatched(try Programs.blockedPatch(), arguments: ["b"]) { process, bundle in
            try expectStatus(
                0,
                try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--consistency", "entry"))
            process.send(SIGUSR1)
            try process.waitForNew("answer=2")
        }
    }

    @Test("ipa-contract: entry consistency is refused for a function coupled to its callers")
    func coupled() throws {
        var patch = try Programs.blockedPatch()
        patch.abiCoupled = true
        try withPatched(patch) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--consistency", "entry")
            try expectRefusal("patch-state", output)
        }
    }

    @Test("stale-slot: a word that only looks like a call in progress is proven stale and passed over")
    func staleSlot() throws {
        try withPatched(try Programs.blockedPatch(), arguments: ["s"]) { process, bundle in
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--json")
            try expectStatus(0, output)
            process.send(SIGUSR1)
            try process.waitForNew("answer=2")
        }
    }

    @Test("foreign-stacks: a coroutine suspended in a replaced function is busy")
    func foreignStacks() throws {
        try withPatched(try Programs.blockedPatch(contexts: true), arguments: ["c"]) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "1.5")
            try expectStatus(3, output)
            #expect(output.stderr.contains("answer"), "\(output)")
        }
    }

    @Test("foreign-stacks: a program that can switch stacks, but has none suspended there, is patched")
    func noSuspendedCall() throws {
        try withPatched(try Programs.blockedPatch(contexts: true)) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
        }
    }

    @Test("shared-memory-sibling: a thread in vfork is busy")
    func vforkIsBusy() throws {
        try withTemporaryDirectory { directory in
            let patch = try Programs.blockedPatch()
            let bundle = try patch.write(to: directory)
            try withProcess(patch.target, ["f"]) { process in
                usleep(100_000)
                let output = try livepatch(
                    "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "1.5")
                try expectStatus(3, output)
            }
        }
    }
}
