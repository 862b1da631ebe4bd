import MachineCode
import Testing

/// Trap changed-constant-escapes: what is not a plain load lets the constant's address out.
@Suite("Memory use")
struct MemoryUseTests {
    /// Assembles one instruction that names `x`, whose relocated field ends `tail` bytes before the instruction's end.
    private func use(_ source: String, tail: Int = 0, size: Int = 4) throws -> MemoryUse {
        let code = try assemble("f: nop\n \(source)\n x: nop")
        return memoryUse(of: code.bytes, fieldOffset: code.offset("x") - tail - size, fieldSize: size)
    }

    @Test(
        "trap changed-constant-escapes: loads",
        arguments: [
            "mov x(%rip), %eax", "movzbl x(%rip), %eax", "movslq x(,%rdi,4), %rax", "cmp %eax, x(%rip)",
            "add x(%rip), %rcx", "test %eax, x(%rip)", "movaps x(%rip), %xmm0", "ucomisd x(%rip), %xmm1",
            "pushq x(%rip)", "call *x(%rip)", "jmp *x(,%rax,8)", "mulq x(%rip)", "fldl x(%rip)",
            "cvtsi2sdl x(%rip), %xmm0",
            "vaddps x(%rip), %ymm1, %ymm2", "mov %fs:x, %eax", "prefetcht0 x(%rip)", "cmove x(%rip), %eax",
        ])
    func loads(_ source: String) throws { #expect(try use(source) == .load) }

    @Test("trap changed-constant-escapes: loads with an immediate behind the field")
    func loadsWithImmediate() throws {
        #expect(try use("cmpl $0x12345678, x(%rip)", tail: 4) == .load)
        #expect(try use("cmpb $1, x(%rip)", tail: 1) == .load)
        #expect(try use("imul $100, x(%rip), %eax", tail: 1) == .load)
        #expect(try use("pshufd $3, x(%rip), %xmm0", tail: 1) == .load)
        #expect(try use("btl $3, x(%rip)", tail: 1) == .load)
    }

    @Test(
        "trap changed-constant-escapes: the address escapes",
        arguments: [
            "lea x(%rip), %rax", "push $x", "mov $x, %eax", "movq $x, (%rdi)", "cmpq $x, 8(%rsi)", "add $x, %rax",
            "movl $x, 0x11223344(%rdi)",
        ])
    func addresses(_ source: String) throws { #expect(try use(source) == .address) }

    @Test("trap changed-constant-escapes: 8-byte fields")
    func wide() throws {
        #expect(try use("movabs $x, %rax", size: 8) == .address)
        #expect(try use("movabs x, %rax", size: 8) == .load)
        #expect(try use("movabs %rax, x", size: 8) == .store)
    }

    @Test(
        "trap changed-constant-escapes: stores",
        arguments: [
            "mov %eax, x(%rip)", "add %eax, x(%rip)", "incl x(%rip)", "sete x(%rip)", "xchg %eax, x(%rip)",
            "lock xadd %eax, x(%rip)", "lock cmpxchg %ecx, x(%rip)", "movups %xmm0, x(%rip)", "fstpl x(%rip)",
            "bts %eax, x(%rip)", "popq x(%rip)", "fistpl x(%rip)",
        ])
    func stores(_ source: String) throws { #expect(try use(source) == .store) }

    @Test("branches, and fields that no instruction holds")
    func others() throws {
        #expect(try use("call x") == .branch)
        #expect(memoryUse(of: [0xe8, 0, 0, 0, 0], fieldOffset: 1) == .branch)
        #expect(memoryUse(of: [0x90, 0x90], fieldOffset: 0) == .unknown)
        #expect(memoryUse(of: [0xe8, 0, 0], fieldOffset: 1) == .unknown)
        #expect(memoryUse(of: [], fieldOffset: 0) == .unknown)
        #expect(memoryUse(of: [0x90], fieldOffset: -1) == .unknown)
    }
}
