import MachineCode
import TestSupport
import Testing

/// Trap changed-constant-escapes: a table that is only loaded from has no address that anyone kept.
@Suite("Address flow")
struct AddressFlowTests {
    /// The use of `table`, which the first instruction of `f` names in its last 4 bytes.
    private func use(_ source: String, pair: Bool = false) throws -> MemoryUse {
        let code = try assemble("f: lea table(%rip), %rcx\n inside: \(source)\n f_end: ret\n table: nop")
        let bytes = code.part("f", "f_end").bytes
        return addressUse(of: bytes, fieldOffset: 3, relocatedFields: [3], mayReturnPair: pair)
    }

    @Test(
        "trap changed-constant-escapes: an address that only serves loads",
        arguments: [
            "mov (%rcx,%rdi,4), %eax\n ret",
            "movslq %edi, %rdi\n movslq (%rcx,%rdi,4), %rax\n ret",
            "mov %rcx, %rdx\n mov (%rdx), %eax\n add 4(%rcx), %eax\n ret",
            "lea 40(%rcx), %rdx\n xor %eax, %eax\n 1: add (%rcx), %eax\n add $4, %rcx\n cmp %rdx, %rcx\n jne 1b\n ret",
            "test %edi, %edi\n je 1f\n movzbl (%rcx), %eax\n ret\n 1: xor %eax, %eax\n ret",
            "movdqu (%rcx), %xmm0\n movups %xmm0, (%rdi)\n ret",
            "mov (%rcx), %rcx\n mov %rcx, (%rdi)\n ret",
            "push %rbx\n mov %rcx, %rbx\n xor %ecx, %ecx\n call f_end\n mov (%rbx), %eax\n pop %rbx\n ret",
            "cmpb $3, (%rcx,%rdi)\n sete %al\n ret",
            "ud2",
            "cmove %rdi, %rcx\n mov (%rcx), %eax\n ret",
            "lea 8(%rcx,%rdi,8), %rsi\n mov (%rsi), %eax\n xor %esi, %esi\n ret",
        ])
    func loads(_ source: String) throws { #expect(try use(source) == .load) }

    @Test(
        "trap changed-constant-escapes: an address that gets out",
        arguments: [
            "mov %rcx, %rax\n ret",
            "mov %rcx, (%rdi)\n ret",
            "mov %rcx, 8(%rsp)\n ret",
            "push %rcx\n ret",
            "call f_end\n ret",
            "mov %rcx, %rdi\n call f_end\n ret",
            "jmp f_end",
            "je f_end\n ret",
            "jmp *%rcx",
            "movl $1, (%rcx)\n ret",
            "incl (%rcx)\n ret",
            "mov %ecx, %eax\n ret",
            "movq %rcx, %xmm0\n ret",
            "lea (%rcx,%rdi,4), %rax\n ret",
            "test %edi, %edi\n je 1f\n ret\n 1: mov %rcx, (%rsi)\n ret",
            "1: mov %rdx, (%rsi)\n mov %rcx, %rdx\n dec %edi\n jne 1b\n ret",
            "xchg %rcx, %rbx\n ret",
            "syscall\n ret",
            "mov (%rcx), %eax\n",
            "mov %rcx, %rax\n mulq %rdi\n xor %eax, %eax\n ret",
            "cmove %rdi, %rcx\n mov %rcx, (%rsi)\n ret",
            "cmove %rcx, %rdi\n mov %rdi, (%rsi)\n ret",
            "mov $1, %cl\n mov %rcx, (%rsi)\n ret",
            "mov %rcx, %rsi\n rep movsb\n xor %eax, %eax\n ret",
            "bsf %rdi, %rcx\n mov %rcx, (%rsi)\n ret",
            ".byte 0x06\n ret",
        ])
    func escapes(_ source: String) throws { #expect(try use(source) == .address) }

    @Test("a result of two registers carries the address that rdx still holds")
    func pair() throws {
        let source = "mov %rcx, %rdx\n xor %eax, %eax\n ret"
        #expect(try use(source) == .load)
        #expect(try use(source, pair: true) == .address)
    }

    @Test("a jump with a relocated field leaves the function, wherever its bytes point before the link")
    func relocatedJump() throws {
        let code = try assemble("f: lea f(%rip), %rdi\n .byte 0xe9, 0, 0, 0, 0\n ret\n f_end: nop")
        let bytes = code.part("f", "f_end").bytes
        #expect(addressUse(of: bytes, fieldOffset: 3, relocatedFields: [3, 8]) == .address)
        #expect(addressUse(of: bytes, fieldOffset: 3, relocatedFields: [3]) == .load)
    }

    @Test("what gcc makes of an indexed table, position-independent or not", arguments: ["-fPIE", "-fno-pie"])
    func compiled(_ model: String) throws {
        let source = """
            static const int table[] = {3, 1, 4, 1, 5, 9, 2, 6};
            int f(unsigned i) { return i < 8 ? table[i] : 0; }
            int g(void) { int s = 0; for (int i = 0; i < 8; i++) s ^= table[i] * i; return s; }
            const int *h(unsigned i) { return table + i; }
            """
        #expect(try uses(source, model, "f") == [.load])
        #expect(try uses(source, model, "h") == [.address])
    }

    /// The uses of `.rodata` in one function, from the relocations that `objdump -dr` shows.
    private func uses(_ source: String, _ model: String, _ name: String) throws -> [MemoryUse] {
        let flags = ["-O2", "-c", "-ffunction-sections", model, "-fcf-protection=none"]
        let object = try Fixture.compile(source, flags, output: "code.o")
        let section = ".text." + name
        let bytes = try withTemporaryDirectory { directory in
            try runOrThrow("objcopy", ["-O", "binary", "-j", section, object, directory + "/code"])
            return readBytes(directory + "/code")
        }
        let listing = try runOrThrow("objdump", ["-r", "-j", section, object]).stdout
        let fields = listing.split(separator: "\n").filter { $0.contains("rodata") }
            .compactMap { Int($0.prefix { $0 != " " }, radix: 16) }
        return fields.map { addressUse(of: bytes, fieldOffset: $0, relocatedFields: Set(fields), mayReturnPair: false) }
    }
}
