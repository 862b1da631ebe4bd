import Glibc
import TestSupport
import Testing

@testable import PatchApplying

/// Programs with calls, or with what looks like calls, outside of their threads' own stacks.
extension Programs {
    /// `answer` ends in a call without return, and `next` begins at its end.
    static let tableSource = """
        #include <stdio.h>
        #include <stdlib.h>
        #include <ucontext.h>
        #include <unistd.h>
        volatile int kind;
        int answer(void);
        void next(void);
        __asm__(".text\\n.globl answer, next\\n.type answer, @function\\n.type next, @function\\n"
            "answer: movl kind(%rip), %eax\\n testl %eax, %eax\\n jne 1f\\n movl $1, %eax\\n ret\\n"
            "1: pushq %rax\\n call abort@PLT\\n.size answer, .-answer\\n"
            "next: ret\\n.size next, .-next\\n");
        // Initialised by a relocation.
        void (*table[])(void) = {next, next};
        // Stored by the program.
        static void (*volatile stored[2])(void);
        static ucontext_t outer, inner;
        static char stack[65536];
        static void coroutine(void) { swapcontext(&inner, &outer); }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            getcontext(&inner);
            inner.uc_stack.ss_sp = stack;
            inner.uc_stack.ss_size = sizeof stack;
            makecontext(&inner, coroutine, 0);
            swapcontext(&outer, &inner);
            if (argc > 1) stored[1] = next;
            printf("ready\\n");
            for (;;) {
                table[argc > 9]();
                printf("answer=%d\\n", answer());
                usleep(2000);
            }
        }
        """

    static func tablePatch() throws -> HandMadePatch {
        let target = try Fixture.compile(tableSource, ["-O2", "-g", "-Wl,--build-id"], output: "table")
        let source =
            Assembly.head + Assembly.replacement("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(
            id: "fix", target: target, source: source, functions: ["answer"], endsWithCall: true)
    }

    /// Coroutines whose switch is written by hand: no library is used, and nothing in the symbol tables tells. The first
    /// argument is where one is suspended: in `answer` (`a`), elsewhere (`e`), or it runs and sleeps in `answer` (`r`).
    static let handWrittenSource = """
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        volatile int sink, kind;
        static void *outer, *inner;
        void exchange(void **from, void *to);
        __asm__(".text\\n.type exchange, @function\\nexchange:\\n"
            "pushq %rbp\\npushq %rbx\\npushq %r12\\npushq %r13\\npushq %r14\\npushq %r15\\n"
            SWITCH
            "popq %r15\\npopq %r14\\npopq %r13\\npopq %r12\\npopq %rbx\\npopq %rbp\\nret\\n"
            ".size exchange, .-exchange\\n");
        __attribute__((noinline, noclone)) static void leave(void) { exchange(&inner, outer); }
        __attribute__((noinline, noclone)) static void rest(void) { for (;;) sleep(100); }
        __attribute__((noipa)) int answer(void) {
            sink++;
            if (kind == 'a') { kind = 0; leave(); sink++; }
            if (kind == 'r') { kind = 0; rest(); sink++; }
            return 1;
        }
        __attribute__((noipa)) static void coroutine(void) {
            if (kind == 'e') leave();
            answer();
            for (;;) leave();
        }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            kind = argc > 1 ? argv[1][0] : 0;
            if (kind == 'r') printf("ready\\n");
            void **top = (void **)((char *)malloc(65536) + 65536 - 64);
            top[0] = (void *)coroutine;
            inner = top - 6;
            exchange(&outer, inner);
            kind = 0;
            printf("ready\\n");
            for (;;) {
                printf("answer=%d\\n", answer());
                usleep(2000);
            }
        }
        """

    /// How the stack pointer is exchanged: as in libco and in boost.context, and as in greenlet, which moves it.
    static let switches = [
        "movq %rsp, (%rdi)\\nmovq %rsi, %rsp\\n", "movq %rsp, %rax\\nmovq %rsi, %rsp\\nmovq %rax, (%rdi)\\n",
        "movq %rsp, %rax\\nmovq %rax, (%rdi)\\nsubq %rax, %rsi\\naddq %rsi, %rsp\\n",
    ]

    static func handWrittenPatch(_ exchange: String) throws -> HandMadePatch {
        let target = try Fixture.compile(
            "#define SWITCH \"\(exchange)\"\n" + handWrittenSource, ["-O2", "-g", "-Wl,--build-id"], output: "hand")
        let source =
            Assembly.head + Assembly.replacement("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(id: "fix", target: target, source: source, functions: ["answer"])
    }
}

@Suite("foreign stacks") struct ForeignStackTests {
    @Test("relocated-slot: a table's address of the next function is no return address of the last one")
    func relocatedSlot() throws {
        try withPatched(try Programs.tablePatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            try process.waitForNew("answer=1")
        }
    }

    @Test("relocated-slot: the same address, stored by the program, may be a return address")
    func storedAddress() throws {
        try withPatched(try Programs.tablePatch(), arguments: ["stored"]) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "0.5")
            try expectStatus(3, output)
            #expect(output.stderr.contains("answer"), "\(output)")
        }
    }

    @Test("foreign-stacks: a call that a hand-written switch has suspended is busy", arguments: Programs.switches)
    func suspendedByHand(exchange: String) throws {
        for place in ["a", "r"] {
            try withPatched(try Programs.handWrittenPatch(exchange), arguments: [place]) { process, bundle in
                usleep(50_000)
                let output = try livepatch(
                    "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "0.5")
                try expectStatus(3, output)
                // A thread on such a stack can't be borrowed either.
                #expect(place == "r" || output.stderr.contains("inside answer"), "\(output)")
            }
        }
    }

    @Test("foreign-stacks: what a hand-written switch has suspended elsewhere is in nobody's way")
    func suspendedElsewhere() throws {
        let patch = try Programs.handWrittenPatch(Programs.switches[0])
        try withPatched(patch, arguments: ["e"]) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2")
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            try process.waitForNew("answer=1")
        }
    }
}
