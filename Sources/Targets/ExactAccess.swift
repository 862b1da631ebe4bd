import MachineCode

/// Follows addresses that an instruction puts into a register, to where the next ones read or write through it: that proves
/// which object is meant, as an address alone does not. Straight on only, and only over instructions whose effect on
/// registers is plain; so it sees little, and that surely.
struct ExactAccess {
    /// By register: the field that its value came from.
    private var holders: [Register: Int] = [:]

    /// - Parameter bytes: one instruction.
    /// - Returns: the field through whose address it reads or writes, and the distance from that address.
    mutating func follow(_ bytes: ArraySlice<UInt8>) -> (field: Int, distance: Int32)? {
        guard !holders.isEmpty else { return nil }
        guard let instruction = plainInstruction(bytes) else {
            holders = [:]
            return nil
        }
        defer { forget(instruction.registersWritten) }
        guard let memory = instruction.explicitOperands.lazy.compactMap(\.memory).first, !memory.isAddressOnly,
            !memory.isUnusual, memory.index == nil, memory.segment == nil, let base = memory.base,
            let field = holders[base], let distance = Int32(exactly: memory.displacement)
        else { return nil }
        return (field, distance)
    }

    /// `lea x(%rip), %register`.
    mutating func takeAddress(_ bytes: ArraySlice<UInt8>, field: Int) {
        guard let instruction = plainInstruction(bytes), let result = instruction.explicitOperands.first?.register,
            result.isWhole
        else {
            holders = [:]
            return
        }
        holders[result.register] = field
    }

    private mutating func forget(_ registers: RegisterSet) {
        for register in registers.registers { holders[register] = nil }
    }
}

/// One of the common instructions that only move or compute values; nil for any other.
private func plainInstruction(_ bytes: ArraySlice<UInt8>) -> Instruction? {
    guard let instruction = decode(Array(bytes), at: 0, operands: true).first, instruction.length == bytes.count else {
        return nil
    }
    let isPlain = plainOperations.contains(instruction.operation) || instruction.operation.isConditionalMove
    return isPlain && instruction.kind == .other ? instruction : nil
}

private let plainOperations = Operation.moves.union(Operation.arithmetic).union(Operation.vectorMoves).union([
    .lea, .cmp, .test, .push, .pop,
])

/// The distance from the thread pointer of what an instruction reads or writes at a fixed one: `%fs:-8`.
func threadAccess(_ bytes: ArraySlice<UInt8>) -> Int32? {
    // Most instructions have no such prefix: they need not be decoded.
    guard bytes.contains(0x64), let instruction = decode(Array(bytes), at: 0, operands: true).first,
        let memory = instruction.explicitOperands.lazy.compactMap(\.memory).first, memory.segment == .fs,
        memory.base == nil, memory.index == nil, !memory.isUnusual, !memory.isRIPRelative, !memory.isAddressOnly,
        let distance = Int32(exactly: memory.displacement)
    else { return nil }
    return distance < 0 ? distance : nil
}
