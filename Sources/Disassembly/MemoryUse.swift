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
///   - bytes: a function, or a whole section.
///   - instructions: all of `bytes`, disassembled at any address.
///   - fieldOffset: bytes from the first of `bytes`.
///   - fieldSize: 4, or 8 for `R_X86_64_64` and the like.
public func memoryUse(
    of bytes: [UInt8], instructions: [Instruction], fieldOffset: Int, fieldSize: Int = 4
) -> MemoryUse {
    guard fieldSize == 4 || fieldSize == 8, fieldOffset >= 0, fieldOffset < bytes.count,
        let base = instructions.first?.address,
        let holder = instruction(at: base &+ UInt64(fieldOffset), in: instructions)
    else { return .unknown }
    let start = Int(holder.address &- base)
    let inner = fieldOffset - start
    guard start + holder.length <= bytes.count, inner + fieldSize <= holder.length else { return .unknown }
    if holder.target != nil { return .branch }

    // Which operand the field belongs to shows when the field holds a number that nothing else does.
    var copy = Array(bytes[start..<start + holder.length])
    let marker: UInt64 = fieldSize == 4 ? 0x1122_3344 : 0x1122_3344_5566_7788
    for index in 0..<fieldSize { copy[inner + index] = UInt8(truncatingIfNeeded: marker >> UInt64(index * 8)) }
    let marked = disassemble(copy, at: 0, operands: true)
    guard marked.count == 1, let first = marked.first else { return .unknown }
    return use(of: hex(marker), in: first)
}

/// The same for a single field: disassembles `bytes` first.
public func memoryUse(of bytes: [UInt8], fieldOffset: Int, fieldSize: Int = 4) -> MemoryUse {
    memoryUse(of: bytes, instructions: disassemble(bytes, at: 0), fieldOffset: fieldOffset, fieldSize: fieldSize)
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

private func use(of marker: String, in instruction: Instruction) -> MemoryUse {
    let operands = splitOperands(instruction.operands)
    guard let index = operands.firstIndex(where: { $0.utf8.count >= marker.utf8.count && contains($0, marker) }) else {
        return .unknown
    }
    let name = instruction.mnemonic
    if operands[index].hasPrefix("$") || instruction.takesAddress { return .address }
    if instruction.kind == .call || instruction.kind == .jump || instruction.kind == .nop { return .load }
    return useOfMemory(operand: index, of: operands.count, name: name)
}

/// What an instruction does with the memory that its operand `index` of `count` names.
func useOfMemory(operand index: Int, of count: Int, name: String) -> MemoryUse {
    if count == 1 { return useOfOnlyOperand(name) }
    if ["xchg", "xadd", "cmpxchg"].contains(where: name.hasPrefix) { return .store }
    // AT&T syntax: the destination is the last operand, but for instructions that only set flags.
    let isDestination = index == count - 1
    return isDestination && !isInstruction(name, of: ["cmp", "test", "bt"]) ? .store : .load
}

private func useOfOnlyOperand(_ name: String) -> MemoryUse {
    if isInstruction(name, of: ["push", "mul", "imul", "div", "idiv"]) { return .load }
    let readers = ["fld", "fild", "fadd", "fsub", "fmul", "fdiv", "fcom", "fi", "prefetch", "ldmxcsr"]
    let writers = ["fist", "fst", "fnst", "set", "stmxcsr", "cmpxchg"]
    if writers.contains(where: name.hasPrefix) { return .store }
    if readers.contains(where: name.hasPrefix) { return .load }
    return isInstruction(name, of: ["inc", "dec", "neg", "not", "pop", "sar", "shl", "shr", "rol", "ror"])
        ? .store : .unknown
}

/// Whether `name` is one of `stems`, with or without AT&T's suffix of the operand's size.
public func isInstruction(_ name: String, of stems: [String]) -> Bool {
    stems.contains { stem in
        guard name.hasPrefix(stem) else { return false }
        let suffix = name.dropFirst(stem.count)
        return suffix.isEmpty || (suffix.count == 1 && "bwlq".contains(suffix))
    }
}

/// Splits at the commas outside parentheses.
public func splitOperands(_ text: String) -> [String] {
    var parts: [String] = [""]
    var depth = 0
    for letter in text {
        if letter == "(" { depth += 1 }
        if letter == ")" { depth -= 1 }
        if letter == "," && depth == 0 { parts.append("") } else { parts[parts.count - 1].append(letter) }
    }
    return parts
}

private func contains(_ text: String, _ part: String) -> Bool {
    let (text, part) = (Array(text.utf8), Array(part.utf8))
    return (0...(text.count - part.count)).contains { text[$0..<$0 + part.count].elementsEqual(part) }
}
