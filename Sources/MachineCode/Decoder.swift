import CZydis

/// The instructions of `bytes`, in order, without gap or overlap: an undecodable byte is one instruction of kind
/// `invalid`. `address` is that of the first byte. Operands are decoded only when asked for, since that is slower.
public func decode(_ bytes: [UInt8], at address: UInt64, operands: Bool = false) -> [Instruction] {
    var instructions: [Instruction] = []
    instructions.reserveCapacity(bytes.count / 4)
    forEachInstruction(bytes[...], at: address, operands: operands) { instructions.append($0) }
    return instructions
}

/// Hands each instruction of `bytes` to `body`: for whole sections, where an array would be large.
public func forEachInstruction(
    _ bytes: ArraySlice<UInt8>, at address: UInt64, operands: Bool = false, _ body: (Instruction) -> Void
) {
    var decoder = Decoder()
    bytes.withUnsafeBytes { buffer in
        var offset = 0
        while offset < buffer.count {
            let rest = UnsafeRawBufferPointer(rebasing: buffer[offset...])
            let instruction = decoder.next(in: rest, at: address &+ UInt64(offset), operands: operands)
            body(instruction)
            offset += instruction.length
        }
    }
}

private struct Decoder {
    private var decoder = ZydisDecoder()
    private var raw = ZydisDecodedInstruction()
    private var context = ZydisDecoderContext()
    private let isReady: Bool

    init() {
        isReady = Self.succeeded(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64))
    }

    /// `ZYAN_SUCCESS`, a macro.
    private static func succeeded(_ status: ZyanStatus) -> Bool { status & 0x8000_0000 == 0 }

    /// - Parameter bytes: not empty.
    mutating func next(in bytes: UnsafeRawBufferPointer, at address: UInt64, operands: Bool) -> Instruction {
        guard isReady,
            Self.succeeded(
                ZydisDecoderDecodeInstruction(&decoder, &context, bytes.baseAddress, ZyanUSize(bytes.count), &raw))
        else {
            return Instruction(
                address: address, length: 1, kind: .invalid, operation: Operation(ZYDIS_MNEMONIC_INVALID))
        }
        var instruction = Instruction(
            address: address, length: Int(raw.length), kind: Self.kind(raw), operation: Operation(raw.mnemonic))
        // The second immediate value of the few instructions that have two is no address.
        instruction.immediate = EncodedField(offset: Int(raw.raw.imm.0.offset), size: Int(raw.raw.imm.0.size) / 8)
        instruction.displacement = EncodedField(offset: Int(raw.raw.disp.offset), size: Int(raw.raw.disp.size) / 8)
        if raw.raw.imm.0.is_relative != 0 {
            instruction.target = instruction.end &+ UInt64(bitPattern: raw.raw.imm.0.value.s)
        }
        let hasModRM = raw.attributes & UInt64(ZYDIS_ATTRIB_HAS_MODRM) != 0
        if hasModRM, raw.raw.modrm.mod == 0, raw.raw.modrm.rm == 5 {
            instruction.ripRelativeTarget = instruction.end &+ UInt64(bitPattern: raw.raw.disp.value)
        }
        let prefixes = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_LOCK
        instruction.hasRepeatOrLock = raw.attributes & UInt64(prefixes) != 0
        if operands { instruction.operands = readOperands() }
        return instruction
    }

    private mutating func readOperands() -> [Operand] {
        let count = raw.operand_count
        return withUnsafeTemporaryAllocation(of: ZydisDecodedOperand.self, capacity: Int(ZYDIS_MAX_OPERAND_COUNT)) {
            guard let first = $0.baseAddress,
                Self.succeeded(ZydisDecoderDecodeOperands(&decoder, &context, &raw, first, count))
            else { return [] }
            return $0.prefix(Int(count)).map { Operand($0) }
        }
    }

    private static func kind(_ raw: ZydisDecodedInstruction) -> Instruction.Kind {
        switch raw.mnemonic {
        case ZYDIS_MNEMONIC_CALL: .call
        case ZYDIS_MNEMONIC_JMP: .jump
        case ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ,
            ZYDIS_MNEMONIC_SYSRET, ZYDIS_MNEMONIC_SYSEXIT:
            .ret
        case ZYDIS_MNEMONIC_NOP: .nop
        case ZYDIS_MNEMONIC_ENDBR64: .endbr64
        case ZYDIS_MNEMONIC_SYSCALL, ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_INT: .systemCall
        case ZYDIS_MNEMONIC_INT3, ZYDIS_MNEMONIC_UD2, ZYDIS_MNEMONIC_HLT: .trap
        case ZYDIS_MNEMONIC_XBEGIN: .conditionalJump
        default: raw.meta.category == ZYDIS_CATEGORY_COND_BR ? .conditionalJump : .other
        }
    }
}
