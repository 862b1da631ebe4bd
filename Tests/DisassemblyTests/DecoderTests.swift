import Disassembly
import TestSupport
import Testing

@Suite("Instructions")
struct DecoderTests {
    @Test("kinds and direct targets of branches")
    func kinds() throws {
        let code = try assemble(
            """
            f: endbr64
            call g
            je g
            notrack jmp *%rax
            jmp g
            .byte 0x66, 0x90
            nopw 0x0(%rax,%rax,1)
            jrcxz g
            syscall
            ud2
            g: rep ret
            """)
        let found = disassemble(code.bytes, at: Assembled.base)
        #expect(
            found.map(\.kind) == [
                .endbr64, .call, .conditionalJump, .jump, .jump, .nop, .nop, .conditionalJump, .systemCall, .trap, .ret,
            ])
        let g = code.address("g")
        #expect(found.map(\.target) == [nil, g, g, nil, g, nil, nil, g, nil, nil, nil])
        #expect(found[3].isIndirectBranch)
        #expect(found.map(\.mnemonic)[3] == "jmp")
        #expect(found.last?.end == Assembled.base + UInt64(code.bytes.count))
    }

    @Test("a rip-relative operand gives the address it names")
    func references() throws {
        let code = try assemble("f: mov g(%rip), %eax\n call *g(%rip)\n lea g(%rip), %rdi\n ret\n g: nop")
        let found = disassemble(code.bytes, at: Assembled.base, operands: true)
        #expect(found.map(\.ripRelativeTarget) == [code.address("g"), code.address("g"), code.address("g"), nil, nil])
        #expect(found.map(\.target) == [nil, nil, nil, nil, nil])
        #expect(found[0].operands.hasSuffix("(%rip),%eax"))
    }

    @Test("bytes that are no instruction, and an instruction cut short, are invalid")
    func invalid() {
        #expect(disassemble([0x06, 0xc3], at: 0).map(\.kind) == [.invalid, .ret])
        let cut = disassemble([0xc3, 0xe8, 0x01], at: 0)
        #expect(cut.first?.kind == .ret)
        #expect(cut.dropFirst().allSatisfy { $0.kind == .invalid })
        #expect(cut.reduce(0) { $0 + $1.length } == 3)
        #expect(disassemble([], at: 0).isEmpty)
    }

    @Test("every byte belongs to exactly one instruction, whatever the bytes")
    func anyBytes() {
        var state: UInt64 = 0x1234_5678
        let bytes = (0..<20_000).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        var next = UInt64.max - 10_000
        for instruction in disassemble(bytes, at: next) {
            #expect(instruction.address == next)
            next = instruction.end
        }
        #expect(next == UInt64.max &- 10_000 &+ 20_000)
    }
}
