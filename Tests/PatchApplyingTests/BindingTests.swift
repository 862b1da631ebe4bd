import PatchFormat
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    static let boundSource = """
        #include <stdio.h>
        #include <string.h>
        #include <unistd.h>
        volatile int sink;
        static volatile int counter = 1000;
        static __thread volatile int local = 20000;
        __attribute__((noinline, noclone)) static int helper(int x) { sink++; return x + 100; }
        __attribute__((noinline, noclone)) int answer(void) { sink++; return 1; }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            printf("ready %d\\n", (int)(getpid() + helper(argc) + counter + local));
            for (;;) { printf("answer=%d\\n", answer()); usleep(2000); }
        }
        """

    /// New code that uses one binding of every kind; each right one adds its digit.
    static let boundModule =
        Assembly.head
        + Assembly.replacement(
            "answer",
            new: """
                push %rbx
                mov $5, %edi
                .byte 0xe8
                place_call: .long 0
                mov %eax, %ebx
                mov got_counter(%rip), %rax
                add (%rax), %ebx
                mov got_local(%rip), %rax
                add %fs:(%rax), %ebx
                lea text(%rip), %rdi
                call strlen@PLT
                imul $100000, %eax, %eax
                add %eax, %ebx
                call *got_getpid(%rip)
                push %rax
                push %rax
                call getpid@PLT
                pop %rcx
                pop %rcx
                cmp %eax, %ecx
                jne 1f
                cmpq $0, nowhere@GOTPCREL(%rip)
                jne 1f
                mov data_pointer(%rip), %rax
                cmpb $0x61, (%rax)
                jne 1f
                add $1000000, %ebx
                1: mov %ebx, %eax
                pop %rbx
                ret
                """, old: "mov $1, %eax\nret")
            + """
            .weak nowhere
            .data
            .balign 8
            got_counter: .quad 0
            got_local: .quad 0
            got_getpid: .quad 0
            data_pointer: .quad text
            .section .rodata
            text: .asciz "abc"

            """
        + Assembly.bindings([
            ("place_call", 2, 0, -4), ("got_counter", 1, 1, 0), ("got_local", 18, 2, 0), ("got_getpid", 1, 3, 0),
        ])

    /// - Parameter flags: how the target is linked: position-independent or not, lazy or not.
    static func boundPatch(_ flags: [String]) throws -> HandMadePatch {
        let target = try Fixture.compile(boundSource, ["-O2", "-g", "-Wl,--build-id"] + flags, output: "bound")
        let symbols = try Fixture.symbols(target)
        let slots = try runOrThrow("readelf", ["-rW", target]).stdout.split(separator: "\n")
        let slot = try #require(slots.first { $0.contains(" getpid@") }?.split(separator: " ").first)
        var patch = HandMadePatch(id: "bound", target: target, source: boundModule, functions: ["answer"])
        patch.linkFlags = ["-lc"]
        patch.bindings = [
            Binding(kind: .target, symbol: "helper", address: try #require(symbols["helper"]).address),
            Binding(kind: .target, symbol: "counter", address: try #require(symbols["counter"]).address),
            Binding(kind: .threadLocal, symbol: "local", address: try #require(symbols["local"]).address),
            Binding(kind: .slot, symbol: "getpid", address: try #require(UInt64(slot, radix: 16))),
        ]
        return patch
    }
}

@Suite("bindings") struct BindingTests {
    @Test(
        "binding-scope: every kind of binding in position-independent, fixed, lazy and eager programs",
        arguments: [["-pie", "-fPIE", "-Wl,-z,now"], ["-pie", "-fPIE", "-Wl,-z,lazy"], ["-no-pie", "-fno-pie"]])
    func everyKind(flags: [String]) throws {
        try withPatched(try Programs.boundPatch(flags)) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=1321105")
            try expectStatus(0, try livepatch("revert", "bound", "--pid", process.id))
            try process.waitForNew("answer=1\n")
        }
    }

    @Test("binding-scope: a symbol that nobody defines is refused")
    func unbound() throws {
        var patch = try Programs.plainPatch()
        patch.source = patch.source.replacing("mov $2, %eax", with: "call nobody_defines_this@PLT")
        try withPatched(patch) { process, bundle in
            let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
            try expectRefusal("binding-scope", output)
        }
    }
}
