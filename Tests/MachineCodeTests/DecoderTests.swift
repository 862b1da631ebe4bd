import MachineCode
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
        let found = decode(code.bytes, at: Assembled.base)
        #expect(
            found.map(\.kind) == [
                .endbr64, .call, .conditionalJump, .jump, .jump, .nop, .nop, .conditionalJump, .systemCall, .trap, .ret,
            ])
        let g = code.address("g")
        #expect(found.map(\.target) == [nil, g, g, nil, g, nil, nil, g, nil, nil, nil])
        #expect(try found.at(3).isIndirectBranch)
        #expect(found.last?.end == Assembled.base + UInt64(code.bytes.count))
    }

    @Test("a rip-relative operand gives the address it names")
    func references() throws {
        let code = try assemble("f: mov g(%rip), %eax\n call *g(%rip)\n lea g(%rip), %rdi\n ret\n g: nop")
        let found = decode(code.bytes, at: Assembled.base, operands: true)
        #expect(found.map(\.ripRelativeTarget) == [code.address("g"), code.address("g"), code.address("g"), nil, nil])
        #expect(found.map(\.target) == [nil, nil, nil, nil, nil])
        let load = try #require(found.first)
        #expect(load.explicitOperands.map(\.access) == [.write, .read])
        #expect(load.explicitOperands.first?.register?.register == .rax)
        #expect(load.explicitOperands.last?.memory?.isRIPRelative == true)
        #expect(load.displacement == EncodedField(offset: 2, size: 4))
    }

    @Test("what an instruction reads and writes, whether it says so or not")
    func effects() throws {
        func only(_ source: String) throws -> Instruction {
            let code = try assemble("f: \(source)\n f_end: nop")
            return try #require(decode(code.part("f", "f_end").bytes, at: 0, operands: true).first)
        }
        let division = try only("idiv %rcx")
        #expect(division.valuesRead.isSuperset(of: RegisterSet([.rax, .rcx, .rdx])))
        #expect(division.registersWritten.isSuperset(of: RegisterSet([.rax, .rdx])))
        let copy = try only("rep movsb")
        #expect(copy.registersRead.isSuperset(of: RegisterSet([.rcx, .rsi, .rdi])))
        #expect(copy.hasRepeatOrLock)
        let move = try only("cmove %rdi, %rcx")
        #expect(move.registersWritten == RegisterSet(.rcx))
        #expect(move.registersReplaced.isEmpty)
        #expect(try only("mov %al, %cl").registersReplaced.isEmpty)
        #expect(try only("mov %eax, %ecx").registersReplaced == RegisterSet(.rcx))
        #expect(try only("xor %edx, %edx").isZeroing)
        #expect(try !only("xor %edx, %ecx").isZeroing)
        #expect(try only("mov %fs:-8, %rax").operands.contains { $0.memory?.segment == .fs })
        let indexed = try only("mov 16(%rsp,%rbx,4), %r9d")
        #expect(indexed.addressRegisters == RegisterSet([.rsp, .rbx]))
        #expect(indexed.explicitOperands.first?.register?.size == 4)
        #expect(try only("jne f").operation.opposite == only("je f").operation)
        #expect(try only("call *%rax").registersRead.contains(.rax))
    }

    @Test("bytes that are no instruction, and an instruction cut short, are invalid")
    func invalid() {
        #expect(decode([0x06, 0xc3], at: 0).map(\.kind) == [.invalid, .ret])
        let cut = decode([0xc3, 0xe8, 0x01], at: 0)
        #expect(cut.first?.kind == .ret)
        #expect(cut.dropFirst().allSatisfy { $0.kind == .invalid })
        #expect(cut.reduce(0) { $0 + $1.length } == 3)
        #expect(decode([], at: 0).isEmpty)
    }

    @Test("every byte belongs to exactly one instruction, whatever the bytes")
    func anyBytes() {
        var state: UInt64 = 0x1234_5678
        let bytes = (0..<20_000).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        var next = UInt64.max - 10_000
        for instruction in decode(bytes, at: next) {
            #expect(instruction.address == next)
            next = instruction.end
        }
        #expect(next == UInt64.max &- 10_000 &+ 20_000)
    }
}
