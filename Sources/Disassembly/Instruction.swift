/// One x86-64 instruction, as libopcodes decodes it.
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
    /// Absolute address that a direct call or jump goes to; nil for an indirect one and for everything else.
    public var target: UInt64?
    /// Absolute address of a rip-relative memory operand; of an indirect call's or jump's slot, too.
    public var ripRelativeTarget: UInt64?
    /// AT&T operands; empty unless asked for.
    public var operands: String
    /// The mnemonic's bytes, the first in the lowest byte.
    var word: Mnemonic

    /// Without prefixes, its first 16 letters.
    public var mnemonic: String { word.text }
    /// The address behind the instruction: where a call returns to.
    public var end: UInt64 { address &+ UInt64(length) }
}

/// A mnemonic as two words, so that telling one from another costs no string.
struct Mnemonic: Sendable, Hashable {
    var low: UInt64
    var high: UInt64

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    init(_ text: StaticString) {
        var words: (UInt64, UInt64) = (0, 0)
        text.withUTF8Buffer { bytes in
            for (index, byte) in bytes.prefix(16).enumerated() {
                let bits = UInt64(byte) << UInt64(index % 8 * 8)
                if index < 8 { words.0 |= bits } else { words.1 |= bits }
            }
        }
        low = words.0
        high = words.1
    }

    var text: String {
        let bytes = [low, high].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    private static let byKind: [(Instruction.Kind, [StaticString])] = [
        (.ret, ["ret", "retq", "retw", "lret", "lretq", "lretl", "iret", "iretq", "sysret", "sysretl", "sysretq"]),
        (.nop, ["nop", "nopw", "nopl", "nopq"]),
        (.endbr64, ["endbr64"]),
        (.systemCall, ["syscall", "sysenter", "int"]),
        (.trap, ["int3", "ud2", "hlt"]),
        (.conditionalJump, ["xbegin"]),
    ]
    static let kinds: [Mnemonic: Instruction.Kind] = Dictionary(
        uniqueKeysWithValues: byKind.flatMap { kind, names in names.map { (Mnemonic($0), kind) } })
}
