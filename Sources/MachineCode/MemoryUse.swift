/// What an instruction does with the memory or the address that one of its relocated fields names.
public enum MemoryUse: Sendable, Hashable {
    /// It reads the memory, and nothing else: `mov`, `cmp`, `add table(%rip), %eax`, an indirect call through it.
    case load
    /// It writes the memory, or reads and writes it.
    case store
    /// It makes a value of the address: `lea`, `mov $x`, `push $x`, `cmp $x`.
    case address
    /// It is a direct jump or call to the address.
    case branch
    case unknown
}

/// What the instruction that holds the relocated field at `fieldOffset` does with what the field names.
///
/// Trap changed-constant-escapes: only a `load` keeps a constant from escaping. Mind the relocation's type: the load
/// of a GOT slot (`GOTPCREL…`) is a `load` here, and yields the address of the symbol.
/// - Parameters:
///   - instructions: decoded with operands, at any address.
///   - fieldOffset: bytes from the first instruction's first byte.
///   - fieldSize: 4, or 8 for `R_X86_64_64` and the like.
public func memoryUse(in instructions: [Instruction], fieldOffset: Int, fieldSize: Int = 4) -> MemoryUse {
    guard fieldOffset >= 0, let base = instructions.first?.address,
        let holder = instruction(at: base &+ UInt64(fieldOffset), in: instructions)
    else { return .unknown }
    let field = EncodedField(offset: fieldOffset - Int(holder.address &- base), size: fieldSize)
    if field == holder.immediate { return holder.target != nil ? .branch : .address }
    guard field == holder.displacement,
        let operand = holder.operands.first(where: { $0.isExplicit && $0.memory != nil })
    else { return .unknown }
    return holder.use(of: operand)
}

/// The same for a single field: decodes `bytes` first.
public func memoryUse(of bytes: [UInt8], fieldOffset: Int, fieldSize: Int = 4) -> MemoryUse {
    memoryUse(in: decode(bytes, at: 0, operands: true), fieldOffset: fieldOffset, fieldSize: fieldSize)
}

extension Instruction {
    fileprivate func use(of operand: Operand) -> MemoryUse {
        if operand.memory?.isAddressOnly == true { return .address }
        if operand.access.contains(.write) { return .store }
        // A nop and a prefetch name memory and do nothing with it.
        return operand.access.contains(.read) || kind == .nop ? .load : .unknown
    }
}

/// The instruction that holds the byte at `address`; `instructions` are in order.
public func instruction(at address: UInt64, in instructions: [Instruction]) -> Instruction? {
    var (low, high) = (0, instructions.count)
    while low < high {
        let middle = (low + high) / 2
        if instructions[middle].end <= address { low = middle + 1 } else { high = middle }
    }
    guard low < instructions.count, instructions[low].address <= address else { return nil }
    return instructions[low]
}
