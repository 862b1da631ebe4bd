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
        __attribute__((noipa, noclone)) static int helper(int x) { sink++; return x + 100; }
        __attribute__((noipa, noclone)) int answer(void) { sink++; return 1; }
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

    /// New code of `answer` that looks for a text in another one by a function that the target does not import.
    private func searching(_ function: String) throws -> HandMadePatch {
        var patch = try Programs.plainPatch()
        patch.source = patch.source.replacing(
            "mov $2, %eax",
            with: """
                lea text(%rip), %rdi
                lea needle(%rip), %rsi
                sub $8, %rsp
                call \(function)@PLT
                add $8, %rsp
                lea text(%rip), %rdi
                sub %rdi, %rax
                """)
        patch.source += ".section .rodata\ntext: .asciz \"forty-two\"\nneedle: .asciz \"two\"\n"
        return patch
    }

    @Test(
        "binding-scope: a pointer that was initialised with a symbol, and holds another now, is no slot",
        arguments: ["", "const"])
    func pointerOfProgram(qualifier: String) throws {
        var patch = try Programs.plainPatch()
        patch.source = patch.source.replacing(
            "mov $2, %eax", with: "mov $-41, %rdi\nsub $8, %rsp\ncall labs@PLT\nadd $8, %rsp")
        patch.linkFlags = ["-lc"]
        patch.bindings = [Binding(kind: .imported, symbol: "labs", version: "GLIBC_2.2.5")]
        let setting = qualifier.isEmpty ? "kept = (long (*)(long))srandom;" : ""
        let hook = """

            #include <stdlib.h>
            long (*\(qualifier) kept)(long) __attribute__((used)) = labs;
            __attribute__((constructor)) static void keep(void) { \(setting) }

            """
        patch.target = try Fixture.compile(
            Programs.plainSource + hook, ["-O2", "-g", "-pthread", "-pie", "-fPIE", "-Wl,--build-id"], output: "plain")
        #expect(try runOrThrow("readelf", ["-rW", patch.target]).stdout.contains("R_X86_64_64"))
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=41 ")
        }
    }

    @Test("binding-scope: an IFUNC that nothing in the process shows the choice of is asked for")
    func chosenAtRunTime() throws {
        var patch = try searching("strstr")
        patch.linkFlags = ["-lc"]
        #expect(try !runOrThrow("readelf", ["-rW", patch.target]).stdout.contains("strstr"))
        try withPatched(patch) { process, bundle in
            for _ in 0..<2 {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=6 ")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                let output = try livepatch("revert", bundle, "--pid", process.id)
                #expect(output.stdout.contains("resident") && output.status == 0, "\(output)")
                try process.waitForNew("answer=1 ")
            }
        }
    }

    @Test("binding-scope: a function that the resolver takes from the kernel's vDSO")
    func chosenFromKernel() throws {
        var patch = try Programs.plainPatch()
        // Seconds since 1970, divided by 2^29: 3 until 2038.
        patch.source = patch.source.replacing(
            "mov $2, %eax", with: "xor %edi, %edi\nsub $8, %rsp\ncall time@PLT\nadd $8, %rsp\nsar $29, %rax")
        patch.linkFlags = ["-lc"]
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=3 ")
        }
    }

    @Test("binding-scope: a call goes where the target's own slot leads that nothing was called through yet")
    func calledThroughUnboundSlot() throws {
        var patch = try searching("strstr")
        patch.linkFlags = ["-lc"]
        patch.bindings = [Binding(kind: .imported, symbol: "strstr", version: "GLIBC_2.2.5")]
        let unused = "\n#include <string.h>\nchar *volatile text; char *unused(void) { return strstr(text, text); }\n"
        patch.target = try Fixture.compile(
            Programs.plainSource + unused, ["-O2", "-g", "-pthread", "-Wl,--build-id", "-Wl,-z,lazy"], output: "plain")
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=6 ")
            let registry = try filledRegistry(of: process)
            #expect(try registry.state.patches.at(0).calls == nil)
        }
    }

    @Test(
        "a resolver that crashes, or gives no code: the program goes on, the patch is never used",
        arguments: ["*(volatile int *)0 = 1; return 0;", "return (void *)1;", "static int x; return &x;"])
    func badResolver(body: String) throws {
        let library = try Fixture.compile(
            "void *resolve(void) { \(body) }\nchar *seek(const char *, const char *) __attribute__((ifunc(\"resolve\")));\n",
            ["-shared", "-fPIC", "-O1"], output: "libseek.so")
        var patch = try searching("seek")
        patch.linkFlags = [library]
        try withTemporaryDirectory { directory in
            let bundle = try patch.write(to: directory)
            try withProcess(patch.target, environment: ["LD_PRELOAD": library]) { process in
                try process.waitForOutput("ready")
                let output = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
                #expect(
                    output.status == 4 && output.stderr.contains("implementation") || output.stderr.contains("gave"))
                try process.waitForNew("answer=1 ")
                #expect(try livepatch("status", "--pid", process.id).stdout.contains("never used"))
            }
        }
    }
}
