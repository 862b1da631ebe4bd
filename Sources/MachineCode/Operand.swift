import CZydis

/// What an instruction does with an operand. Both are possible at once.
public struct Access: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let read = Access(rawValue: 1)
    public static let write = Access(rawValue: 2)
    /// It reads or writes under a condition only (`cmov`), so that the old value may stay.
    public static let conditional = Access(rawValue: 4)
}

/// An operand that is written down, or one that the instruction has without saying so (`push` and the stack pointer).
public struct Operand: Hashable, Sendable {
    public enum Value: Hashable, Sendable {
        case register(RegisterPart)
        /// Vectors, segments, flags, `rip`: by the decoder's number of the register.
        case otherRegister(UInt32)
        case memory(Memory)
        case immediate(Int64)
        /// A far pointer.
        case pointer
    }

    public var value: Value
    public var access: Access
    /// Bits.
    public var size: Int
    /// Written down in assembler source.
    public var isExplicit: Bool

    public var register: RegisterPart? { if case .register(let part) = value { part } else { nil } }
    public var memory: Memory? { if case .memory(let memory) = value { memory } else { nil } }
    public var immediate: Int64? { if case .immediate(let number) = value { number } else { nil } }
}

/// An address: `segment:displacement(base, index, scale)`.
public struct Memory: Hashable, Sendable {
    public var base: Register?
    public var index: Register?
    public var scale: Int
    public var displacement: Int64
    /// Counts from the instruction's end.
    public var isRIPRelative: Bool
    /// nil for all but `fs` and `gs`, which lead to a thread's own data.
    public var segment: Segment?
    /// The address is only computed, and nothing is read or written there: `lea`.
    public var isAddressOnly: Bool
    /// An index of a vector register, or a part of a general register for an address: more than these fields tell.
    public var isUnusual: Bool

    public enum Segment: Hashable, Sendable { case fs, gs }

    /// General registers that the address is made of.
    public var registers: RegisterSet {
        RegisterSet([base, index].compactMap { $0 })
    }
}

/// The bytes of an instruction that hold a displacement or an immediate value.
public struct EncodedField: Hashable, Sendable {
    /// From the instruction's first byte.
    public var offset: Int
    /// Bytes; 0: there is none.
    public var size: Int

    public init(offset: Int, size: Int) {
        self.offset = offset
        self.size = size
    }
}

extension Operand {
    init(_ operand: ZydisDecodedOperand) {
        access = Access(operand.actions)
        size = Int(operand.size)
        isExplicit = operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            let register = operand.reg.value
            value = RegisterPart(register).map { .register($0) } ?? .otherRegister(register.rawValue)
        case ZYDIS_OPERAND_TYPE_MEMORY: value = .memory(Memory(operand.mem))
        case ZYDIS_OPERAND_TYPE_IMMEDIATE: value = .immediate(operand.imm.value.s)
        default: value = .pointer
        }
    }
}

extension Access {
    fileprivate init(_ actions: ZydisOperandActions) {
        let bits = UInt32(actions)
        self = []
        if bits & ZYDIS_OPERAND_ACTION_MASK_READ.rawValue != 0 { insert(.read) }
        if bits & ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue != 0 { insert(.write) }
        let conditional = ZYDIS_OPERAND_ACTION_CONDREAD.rawValue | ZYDIS_OPERAND_ACTION_CONDWRITE.rawValue
        if bits & conditional != 0 { insert(.conditional) }
    }
}

extension Memory {
    fileprivate init(_ memory: ZydisDecodedOperandMem) {
        let base = RegisterPart(memory.base)
        let index = RegisterPart(memory.index)
        self.base = base?.register
        self.index = index?.register
        scale = Int(memory.scale)
        displacement = memory.disp.value
        isRIPRelative = memory.base == ZYDIS_REGISTER_RIP
        segment = memory.segment == ZYDIS_REGISTER_FS ? .fs : memory.segment == ZYDIS_REGISTER_GS ? .gs : nil
        isAddressOnly = memory.type == ZYDIS_MEMOP_TYPE_AGEN
        let isKnown = { (part: RegisterPart?, register: ZydisRegister) in
            part.map(\.isWhole) ?? (register == ZYDIS_REGISTER_NONE || register == ZYDIS_REGISTER_RIP)
        }
        isUnusual = !isKnown(base, memory.base) || !isKnown(index, memory.index)
    }
}
