import Disassembly

/// Follows addresses that an instruction puts into a register, to where the next ones read or write through it: that proves
/// which object is meant, as an address alone does not. Straight on only, and only over instructions whose effect on
/// registers is plain; so it sees little, and that surely.
struct ExactAccess {
    /// By register: the field that its value came from.
    private var holders: [Int: Int] = [:]

    /// - Parameter bytes: one instruction.
    /// - Returns: the field through whose address it reads or writes, and the distance from that address.
    mutating func follow(_ bytes: ArraySlice<UInt8>) -> (field: Int, distance: Int32)? {
        guard !holders.isEmpty else { return nil }
        guard let operation = PlainOperation(bytes) else {
            holders = [:]
            return nil
        }
        defer { if let written = operation.written { holders[written] = nil } }
        guard let base = operation.base, let field = holders[base] else { return nil }
        return (field, operation.distance)
    }

    /// `lea x(%rip), %register`.
    mutating func takeAddress(_ bytes: ArraySlice<UInt8>, field: Int) {
        guard let operation = PlainOperation(bytes), let written = operation.written else {
            holders = [:]
            return
        }
        holders[written] = field
    }
}

/// An instruction of the common ones, as far as general registers go.
private struct PlainOperation {
    /// The general register that it writes.
    var written: Int?
    /// The only register of the memory operand that it reads or writes.
    var base: Int?
    var distance: Int32 = 0

    private enum Destination { case none, register, operand }

    init?(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes.drop { [0x66, 0xf2, 0xf3].contains($0) }
        var rex: UInt8 = 0
        if let prefix = rest.first, prefix & 0xf0 == 0x40 { (rex, rest) = (prefix, rest.dropFirst()) }
        guard let opcode = rest.popFirst() else { return nil }
        let high = { (bit: UInt8) in rex & bit == 0 ? 0 : 8 }
        switch opcode {
        // push; pop, mov.
        case 0x50...0x57: return
        case 0x58...0x5f, 0xb8...0xbf:
            written = Int(opcode & 7) + high(1)
            return
        default: break
        }
        let second = opcode == 0x0f ? rest.popFirst() : nil
        guard let form = rest.popFirst() else { return nil }
        let digit = form >> 3 & 7
        guard
            let destination = second.map(Self.destination(ofSecond:)) ?? Self.destination(of: opcode, digit: digit)
        else { return nil }
        let isMemory = form >> 6 != 3
        // Without a prefix, bytes numbered from 4 on are the second ones of the first four registers.
        let isByte = second == nil && opcode & 1 == 0
        let hasDigit = [0x80, 0xc6, 0xf6].contains(opcode)
        if isByte, rex == 0, (digit > 3 && !hasDigit) || (!isMemory && form & 7 > 3) { return nil }
        if destination == .register { written = Int(digit) + high(4) }
        if destination == .operand, !isMemory { written = Int(form & 7) + high(1) }
        if isMemory, opcode != 0x8d || second != nil { readOperand(form, rest, high(1), high(2)) }
    }

    private mutating func readOperand(_ form: UInt8, _ bytes: ArraySlice<UInt8>, _ highBase: Int, _ highIndex: Int) {
        var (rest, number) = (bytes, form & 7)
        if number == 4 {
            guard let scaled = rest.popFirst(), scaled >> 3 & 7 == 4, highIndex == 0 else { return }
            number = scaled & 7
        }
        let size = [0, 1, 4][Int(form >> 6)]
        if form >> 6 == 0, number == 5 { return }
        guard rest.count >= size else { return }
        let bits = rest.prefix(size).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        distance = size == 1 ? Int32(Int8(truncatingIfNeeded: bits)) : Int32(bitPattern: bits)
        base = Int(number) + highBase
    }

    private static func destination(of opcode: UInt8, digit: UInt8) -> Destination? {
        switch opcode {
        // add, or, adc, sbb, and, sub, xor; cmp.
        case 0x00...0x3f where opcode & 7 < 4:
            opcode >= 0x38 ? Destination.none : opcode & 2 == 0 ? .operand : .register
        case 0x80, 0x81, 0x83: digit == 7 ? Destination.none : .operand
        case 0x84, 0x85: Destination.none
        case 0x88, 0x89, 0xc6, 0xc7: .operand
        case 0x63, 0x8a, 0x8b, 0x8d: .register
        case 0xf6, 0xf7: digit == 0 ? Destination.none : digit == 2 || digit == 3 ? .operand : nil
        default: nil
        }
    }

    /// Of two bytes: moves with extension or a condition, moves of vectors.
    private static func destination(ofSecond opcode: UInt8) -> Destination? {
        switch opcode {
        case 0x40...0x4f, 0xb6, 0xb7, 0xbe, 0xbf: .register
        case 0x10, 0x11, 0x28, 0x29, 0x6f, 0x7f, 0xd6: Destination.none
        default: nil
        }
    }
}

/// The distance from the thread pointer of what an instruction reads or writes at a fixed one: `%fs:-8`.
func threadAccess(_ bytes: ArraySlice<UInt8>) -> Int32? {
    let prefixes: Set<UInt8> = [0x64, 0x66, 0xf2, 0xf3]
    var rest = bytes.drop { prefixes.contains($0) }
    guard bytes.prefix(bytes.count - rest.count).contains(0x64) else { return nil }
    var rex: UInt8 = 0
    if let prefix = rest.first, prefix & 0xf0 == 0x40 { (rex, rest) = (prefix, rest.dropFirst()) }
    if rest.popFirst() == 0x0f, let second = rest.popFirst(), second == 0x38 || second == 0x3a {
        rest = rest.dropFirst()
    }
    // No base and no index, but a distance of 4 bytes.
    guard let form = rest.popFirst(), form & 0xc7 == 0x04, rest.popFirst() == 0x25, rex & 2 == 0, rest.count >= 4 else {
        return nil
    }
    let distance = Int32(bitPattern: rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    return distance < 0 ? distance : nil
}
