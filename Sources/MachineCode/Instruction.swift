import CZydis

/// One x86-64 instruction, as Zydis decodes it.
public struct Instruction: Sendable, Hashable {
    public enum Kind: UInt8, Sendable {
        case call, jump, conditionalJump, ret
        /// Any instruction that is there to do nothing: `nop` in all its lengths, `xchg %ax,%ax`.
        case nop
        case endbr64
        /// Enters the kernel and comes back behind itself: `syscall`, `sysenter`, `int`.
        case systemCall
        /// Never goes on: `int3`, `ud2`, `hlt`.
        case trap
        case other
        /// The bytes are no instruction, or end in its midst.
        case invalid
    }

    public var address: UInt64
    /// Bytes, 1 to 15.
    public var length: Int
    public var kind: Kind
    public var operation: Operation
    /// Absolute address that a direct call or jump goes to; nil for an indirect one and for everything else.
    public var target: UInt64?
    /// Absolute address of a rip-relative memory operand; of an indirect call's or jump's slot, too.
    public var ripRelativeTarget: UInt64?
    /// Where the encoding holds the address's displacement and the immediate value.
    public var displacement = EncodedField(offset: 0, size: 0)
    public var immediate = EncodedField(offset: 0, size: 0)
    /// In Intel's order, the destination first; those that are not written down behind. Empty unless asked for.
    public var operands: [Operand] = []
    /// Repeated, or with a bus lock.
    public var hasRepeatOrLock = false

    /// The address behind the instruction: where a call returns to.
    public var end: UInt64 { address &+ UInt64(length) }
    public var isIndirectBranch: Bool { (kind == .call || kind == .jump) && target == nil }
    /// It makes a value of the address that its operand names, and reads nothing there.
    public var takesAddress: Bool { operation == .lea }
}

/// What an instruction does, without its operands: the decoder's number of the mnemonic.
public struct Operation: Hashable, Sendable {
    var number: UInt32

    init(_ mnemonic: ZydisMnemonic) { number = mnemonic.rawValue }

    public static let mov = Operation(ZYDIS_MNEMONIC_MOV)
    public static let lea = Operation(ZYDIS_MNEMONIC_LEA)
    public static let add = Operation(ZYDIS_MNEMONIC_ADD)
    public static let sub = Operation(ZYDIS_MNEMONIC_SUB)
    public static let xor = Operation(ZYDIS_MNEMONIC_XOR)
    public static let cmp = Operation(ZYDIS_MNEMONIC_CMP)
    public static let test = Operation(ZYDIS_MNEMONIC_TEST)
    public static let inc = Operation(ZYDIS_MNEMONIC_INC)
    public static let dec = Operation(ZYDIS_MNEMONIC_DEC)
    public static let push = Operation(ZYDIS_MNEMONIC_PUSH)
    public static let pop = Operation(ZYDIS_MNEMONIC_POP)
    public static let leave = Operation(ZYDIS_MNEMONIC_LEAVE)
    public static let int3 = Operation(ZYDIS_MNEMONIC_INT3)

    public static let movzx = Operation(ZYDIS_MNEMONIC_MOVZX)

    /// They put a value into their first operand that does not depend on the old one.
    public static let moves: Set<Operation> = [
        .mov, .movzx, Operation(ZYDIS_MNEMONIC_MOVSX), Operation(ZYDIS_MNEMONIC_MOVSXD),
    ]
    /// They put a value into their first operand that depends on the old one, and change nothing else but flags.
    public static let arithmetic: Set<Operation> = [
        .add, .sub, .xor, Operation(ZYDIS_MNEMONIC_AND), Operation(ZYDIS_MNEMONIC_OR), Operation(ZYDIS_MNEMONIC_ADC),
        Operation(ZYDIS_MNEMONIC_SBB), Operation(ZYDIS_MNEMONIC_NOT), Operation(ZYDIS_MNEMONIC_NEG),
    ]
    public static let shifts: Set<Operation> = [
        Operation(ZYDIS_MNEMONIC_SHL), Operation(ZYDIS_MNEMONIC_SHR), Operation(ZYDIS_MNEMONIC_SAR),
    ]
    public static let imul = Operation(ZYDIS_MNEMONIC_IMUL)
    /// Moves between vector registers and memory.
    public static let vectorMoves: Set<Operation> = Set(
        [
            ZYDIS_MNEMONIC_MOVUPS, ZYDIS_MNEMONIC_MOVUPD, ZYDIS_MNEMONIC_MOVSS, ZYDIS_MNEMONIC_MOVSD,
            ZYDIS_MNEMONIC_MOVAPS, ZYDIS_MNEMONIC_MOVAPD, ZYDIS_MNEMONIC_MOVDQA, ZYDIS_MNEMONIC_MOVDQU,
            ZYDIS_MNEMONIC_MOVQ,
        ].map { Operation($0) })

    /// Its result is one of its operands, or both: it moves under a condition.
    public var isConditionalMove: Bool { Operation.conditionalMoves.contains(self) }

    private static let conditionalMoves: Set<Operation> = Set(
        [
            ZYDIS_MNEMONIC_CMOVB, ZYDIS_MNEMONIC_CMOVBE, ZYDIS_MNEMONIC_CMOVL, ZYDIS_MNEMONIC_CMOVLE,
            ZYDIS_MNEMONIC_CMOVNB, ZYDIS_MNEMONIC_CMOVNBE, ZYDIS_MNEMONIC_CMOVNL, ZYDIS_MNEMONIC_CMOVNLE,
            ZYDIS_MNEMONIC_CMOVNO, ZYDIS_MNEMONIC_CMOVNP, ZYDIS_MNEMONIC_CMOVNS, ZYDIS_MNEMONIC_CMOVNZ,
            ZYDIS_MNEMONIC_CMOVO, ZYDIS_MNEMONIC_CMOVP, ZYDIS_MNEMONIC_CMOVS, ZYDIS_MNEMONIC_CMOVZ,
        ].map { Operation($0) })

    /// They leave their result as it was where there is none, which the decoder does not say.
    static let mayLeaveResult: Set<Operation> = [
        Operation(ZYDIS_MNEMONIC_BSF), Operation(ZYDIS_MNEMONIC_BSR), Operation(ZYDIS_MNEMONIC_LAR),
        Operation(ZYDIS_MNEMONIC_LSL),
    ]

    /// For a jump under a condition: the one that jumps where this one does not.
    public var opposite: Operation? { Operation.opposites[self] }

    private static let opposites: [Operation: Operation] = {
        let pairs = [
            (ZYDIS_MNEMONIC_JZ, ZYDIS_MNEMONIC_JNZ), (ZYDIS_MNEMONIC_JL, ZYDIS_MNEMONIC_JNL),
            (ZYDIS_MNEMONIC_JLE, ZYDIS_MNEMONIC_JNLE), (ZYDIS_MNEMONIC_JB, ZYDIS_MNEMONIC_JNB),
            (ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE), (ZYDIS_MNEMONIC_JS, ZYDIS_MNEMONIC_JNS),
            (ZYDIS_MNEMONIC_JP, ZYDIS_MNEMONIC_JNP), (ZYDIS_MNEMONIC_JO, ZYDIS_MNEMONIC_JNO),
        ].map { (Operation($0), Operation($1)) }
        return Dictionary(uniqueKeysWithValues: pairs + pairs.map { ($1, $0) })
    }()
}

extension Instruction {
    public var explicitOperands: [Operand] { operands.filter(\.isExplicit) }

    /// General registers whose value it uses: those that it reads, and those that an address is made of.
    public var registersRead: RegisterSet { valuesRead.union(addressRegisters) }

    /// General registers that it reads as a value: those of addresses aside.
    public var valuesRead: RegisterSet {
        operands.reduce(into: []) { set, operand in
            if let part = operand.register, operand.access.contains(.read) { set.formUnion(RegisterSet(part.register)) }
        }
    }

    /// General registers that the addresses of its memory operands are made of.
    public var addressRegisters: RegisterSet {
        operands.reduce(into: []) { set, operand in
            if let memory = operand.memory { set.formUnion(memory.registers) }
        }
    }

    /// General registers that it may write, a part of one included.
    public var registersWritten: RegisterSet {
        operands.reduce(into: []) { set, operand in
            if let part = operand.register, operand.access.contains(.write) {
                set.formUnion(RegisterSet(part.register))
            }
        }
    }

    /// General registers of which nothing is left as it was. Whether it reads them before is another question.
    public var registersReplaced: RegisterSet {
        operands.reduce(into: []) { set, operand in
            guard let part = operand.register, part.clearsRest, operand.access.contains(.write),
                !operand.access.contains(.conditional), !Operation.mayLeaveResult.contains(operation)
            else { return }
            set.formUnion(RegisterSet(part.register))
        }
    }

    /// `xor %eax, %eax`: the result does not depend on the operands.
    public var isZeroing: Bool {
        let explicit = explicitOperands
        return (operation == .xor || operation == .sub) && explicit.count == 2 && explicit[0].register != nil
            && explicit[0].value == explicit[1].value
    }
}
