import CZydis

/// One of the sixteen general registers, whatever part of it is meant.
public struct Register: Hashable, Sendable {
    /// Hardware number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 8 and so on.
    public var number: UInt8

    public static let rax = Register(number: 0)
    public static let rcx = Register(number: 1)
    public static let rdx = Register(number: 2)
    public static let rbx = Register(number: 3)
    public static let rsp = Register(number: 4)
    public static let rbp = Register(number: 5)
    public static let rsi = Register(number: 6)
    public static let rdi = Register(number: 7)
    public static let r8 = Register(number: 8)
    public static let r9 = Register(number: 9)
    public static let r10 = Register(number: 10)
}

/// A set of general registers.
public struct RegisterSet: OptionSet, Hashable, Sendable {
    /// Bit n: the register of number n.
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public init(_ register: Register) { rawValue = 1 << UInt16(register.number) }
    public init(_ registers: [Register]) { self = registers.reduce(into: []) { $0.formUnion(RegisterSet($1)) } }

    public func contains(_ register: Register) -> Bool { contains(RegisterSet(register)) }

    /// In the order of their numbers.
    public var registers: [Register] {
        (0..<16).filter { rawValue >> $0 & 1 == 1 }.map { Register(number: UInt8($0)) }
    }
}

/// The calling convention (System V AMD64 psABI, 3.2).
extension RegisterSet {
    /// A call leaves them as they were.
    public static let preserved = RegisterSet([.rbx, .rsp, .rbp] + (12...15).map { Register(number: $0) })
    /// They pass arguments; r10 passes the static chain, and rax the number of vector registers.
    public static let arguments = RegisterSet([.rdi, .rsi, .rdx, .rcx, .r8, .r9, .r10, .rax])
    /// Those of them that pass the first arguments of integers and pointers, at most six.
    public static func arguments(first count: Int) -> RegisterSet {
        RegisterSet(Array([.rdi, .rsi, .rdx, .rcx, .r8, Register(number: 9)].prefix(count)))
    }
    public static let result = RegisterSet(.rax)
    /// Of a result of 9 to 16 bytes.
    public static let pairOfResults = RegisterSet([.rax, .rdx])
}

extension Register {
    /// A called function leaves it as it was; the stack pointer aside: rbx, rbp, r12 to r15.
    public var isPreserved: Bool { self != .rsp && RegisterSet.preserved.contains(self) }
}

/// A general register, or a part of one, as an operand.
public struct RegisterPart: Hashable, Sendable {
    public var register: Register
    /// Bytes: 1, 2, 4 or 8.
    public var size: Int
    /// `ah`, `ch`, `dh`, `bh`.
    public var isHighByte: Bool

    /// All 64 bits.
    public var isWhole: Bool { size == 8 }
    /// Writing it leaves nothing of the old value: a write of 32 bits clears the upper half.
    public var clearsRest: Bool { size >= 4 }

    /// nil for any other register: of vectors, of segments, `rip`.
    init?(_ register: ZydisRegister) {
        let size: Int
        switch ZydisRegisterGetClass(register) {
        case ZYDIS_REGCLASS_GPR8: size = 1
        case ZYDIS_REGCLASS_GPR16: size = 2
        case ZYDIS_REGCLASS_GPR32: size = 4
        case ZYDIS_REGCLASS_GPR64: size = 8
        default: return nil
        }
        let whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, register)
        let number = ZydisRegisterGetId(whole)
        guard (0..<16).contains(number) else { return nil }
        self.register = Register(number: UInt8(number))
        self.size = size
        let high = [ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH, ZYDIS_REGISTER_BH]
        isHighByte = high.contains { $0 == register }
    }
}
