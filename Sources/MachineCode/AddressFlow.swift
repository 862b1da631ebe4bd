/// What a function does in the end with the address that one of its relocated fields names.
///
/// As `memoryUse`, but an address that only ever serves to load through it, as `lea table(%rip), %rcx` and then
/// `mov (%rcx,%rdi,4), %eax`, counts as a `load`: position-independent code can index a table in no other way. Every
/// path from the instruction on is followed; whatever is not known to be harmless leaves it an `address`.
/// Trap changed-constant-escapes.
/// - Parameters:
///   - bytes: one function, from its first byte.
///   - fieldOffset: bytes from the first of `bytes`.
///   - relocatedFields: offsets of all relocated fields in `bytes`: a jump with one leaves the function.
///   - mayReturnPair: whether the function's result may be 9 to 16 bytes long, and so partly in rdx.
public func addressUse(
    of bytes: [UInt8], fieldOffset: Int, fieldSize: Int = 4, relocatedFields: Set<Int>, mayReturnPair: Bool = true
) -> MemoryUse {
    let instructions = decode(bytes, at: 0, operands: true)
    let use = memoryUse(in: instructions, fieldOffset: fieldOffset, fieldSize: fieldSize)
    guard use == .address, let start = instructions.firstIndex(where: { Int($0.end) > fieldOffset }),
        let holder = instructions[start].addressHolder
    else { return use }
    let flow = AddressFlow(
        instructions: instructions, relocatedFields: relocatedFields,
        returning: mayReturnPair ? .pairOfResults : .result)
    return flow.onlyLoads(from: start, register: holder) ? .load : .address
}

/// Follows the registers that hold an address, or one computed from it, along every path.
private struct AddressFlow {
    var instructions: [Instruction]
    var relocatedFields: Set<Int>
    /// The registers that hold the function's result.
    var returning: RegisterSet

    func onlyLoads(from start: Int, register: Register) -> Bool {
        // What may hold the address before each instruction; empty: not reached with any.
        var before = [RegisterSet](repeating: [], count: instructions.count)
        var work: [(index: Int, holders: RegisterSet)] = [(start + 1, RegisterSet(register))]
        while let (index, holders) = work.popLast() {
            if holders.isEmpty { continue }
            guard index < instructions.count else { return false }
            if before[index].isSuperset(of: holders) { continue }
            before[index].formUnion(holders)
            guard let next = successors(of: index, holders: before[index]) else { return false }
            work += next
        }
        return true
    }

    /// Where control goes with which holders; nil where the address may get out.
    private func successors(of index: Int, holders: RegisterSet) -> [(index: Int, holders: RegisterSet)]? {
        let instruction = instructions[index]
        switch instruction.kind {
        case .nop, .endbr64: return [(index + 1, holders)]
        case .trap: return []
        case .invalid, .systemCall: return nil
        case .ret:
            // In the registers of the result it is out. In others it is dead, or they were restored and hold it no more.
            return holders.isDisjoint(with: returning) ? [] : nil
        case .call:
            let given = RegisterSet.arguments.union(instruction.registersRead)
            return holders.isDisjoint(with: given) ? [(index + 1, holders)] : nil
        case .jump, .conditionalJump: return branch(instruction, index, holders)
        case .other:
            guard let after = instruction.holdersAfter(holders) else { return nil }
            return [(index + 1, after)]
        }
    }

    private func branch(
        _ jump: Instruction, _ index: Int, _ holders: RegisterSet
    ) -> [(index: Int, holders: RegisterSet)]? {
        let isRelocated = (jump.address..<jump.end).contains { relocatedFields.contains(Int($0)) }
        guard let target = jump.target, !isRelocated, jump.registersRead.isDisjoint(with: holders),
            let place = instructions.firstIndex(where: { $0.address == target })
        else { return nil }
        return jump.kind == .jump ? [(place, holders)] : [(place, holders), (index + 1, holders)]
    }
}

extension Instruction {
    /// The register that an instruction which names an address brings it into, where it does nothing else with it:
    /// `lea`, and `mov $x, %register`, whose 32-bit form fills the whole register.
    public var addressHolder: Register? {
        let explicit = explicitOperands
        guard explicit.count == 2, let part = explicit[0].register, part.clearsRest else { return nil }
        if operation == .lea { return part.isWhole ? part.register : nil }
        return operation == .mov && explicit[1].immediate != nil ? part.register : nil
    }

    /// What holds the address after an instruction that neither jumps nor calls; nil where the address, or a value made
    /// of it, may get somewhere else than a whole register.
    /// - Parameter followsLoads: whether what is loaded through the address counts as made of it.
    public func holdersAfter(_ holders: RegisterSet, followsLoads: Bool = false) -> RegisterSet? {
        // Nothing is stored through it: what it leads to is a constant.
        let stores = operands.contains { operand in
            guard let memory = operand.memory, operand.access.contains(.write) else { return false }
            return !memory.registers.isDisjoint(with: holders)
        }
        if stores { return nil }
        let isUnusual = operands.contains { $0.memory?.isUnusual == true }
        if isUnusual, !addressRegisters.isDisjoint(with: holders) { return nil }

        var after = holders.subtracting(registersReplaced)
        if isZeroing { return after }
        let result = explicitOperands.first?.register
        if operation == .lea, !addressRegisters.isDisjoint(with: holders) {
            guard let result, result.isWhole else { return nil }
            after.formUnion(RegisterSet(result.register))
        }
        if followsLoads, loads(through: holders) {
            guard Operation.moves.contains(operation), let result else { return nil }
            after.formUnion(RegisterSet(result.register))
        }
        guard !valuesRead.isDisjoint(with: holders) else { return after }
        if operation == .cmp || operation == .test { return after }
        guard copiesWholeValues, let result else { return nil }
        return after.union(RegisterSet(result.register))
    }

    private func loads(through holders: RegisterSet) -> Bool {
        operands.contains { operand in
            guard let memory = operand.memory, !memory.isAddressOnly, operand.access.contains(.read) else {
                return false
            }
            return !memory.registers.isDisjoint(with: holders)
        }
    }

    /// All it does with the values of registers is to make another one of 64 bits of them, in the register that it names
    /// first.
    private var copiesWholeValues: Bool {
        let known: Set<Operation> = [.mov, .add, .sub, .inc, .dec]
        guard known.contains(operation) || operation.isConditionalMove, !hasRepeatOrLock else { return false }
        let explicit = explicitOperands
        guard explicit.first?.register != nil else { return false }
        return explicit.allSatisfy { operand in
            switch operand.value {
            case .register(let part): part.isWhole
            case .memory, .immediate: true
            case .otherRegister, .pointer: false
            }
        }
    }
}
