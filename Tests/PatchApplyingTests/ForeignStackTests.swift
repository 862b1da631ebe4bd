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
}
