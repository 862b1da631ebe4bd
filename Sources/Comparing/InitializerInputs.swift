import CodeModel
import MachineCode
import ObjectFiles

/// Whether an initialiser of a static variable may work on what its function has computed before it: an argument, a local
/// variable. Only preserved registers and the stack outlive the call of `__cxa_guard_acquire`.
extension StaticInitializers {
    /// What runs before the initialiser, from the function's entry on.
    func codeBefore(_ region: Region) -> Region? {
        guard let entry = flow.order.first else { return nil }
        var reached = closure(of: [region.call]) { flow.predecessors(of: $0) }
        // A loop around it is all before it.
        reached.remove(region.call)
        return Region(guardVariable: nil, call: region.call, start: entry, places: reached)
    }

    /// It reads a place of the stack that it has not written, or takes the address of one that was written before.
    func readsStack(_ region: Region) -> Bool {
        let used = region.places.filter { place in
            flow.nodes[place].map { !$0.instruction.stackOperands.isEmpty } ?? false
        }
        guard !used.isEmpty else { return false }
        if region.places.contains(where: { flow.nodes[$0]?.instruction.movesStack == true }) { return true }
        let before = codeBefore(region)?.places ?? []
        let written = before.filter { !isCanary($0) }.flatMap { flow.nodes[$0]?.instruction.stackOperands ?? [] }
        return used.contains { place in
            guard let instruction = flow.nodes[place]?.instruction else { return false }
            if instruction.takesAddress || instruction.explicitOperands.last?.register?.register == .rsp {
                return instruction.stackOperands.contains { operand in
                    written.contains { operand.distance == nil || $0.distance == nil || $0.mayLieBehind(operand) }
                }
            }
            return instruction.stackOperands.contains { operand in
                !(instruction.stores(to: operand) || isStored(operand, before: place, in: region))
            }
        }
    }

    /// On every way from the initialiser's start something is stored at exactly this place.
    private func isStored(_ operand: StackOperand, before place: FunctionFlow.Place, in region: Region) -> Bool {
        guard operand.distance != nil, place != region.start else { return false }
        var seen: Set<FunctionFlow.Place> = [place]
        var work = [place]
        while let next = work.popLast() {
            for other in flow.predecessors(of: next) where seen.insert(other).inserted {
                guard region.places.contains(other) else { return false }
                if flow.nodes[other]?.instruction.stores(to: operand) == true { continue }
                if other == region.start { return false }
                work.append(other)
            }
        }
        return true
    }

    /// `mov %rax, 0x18(%rsp)` of what was read from `%fs:0x28`: nobody reads it but the check at the end.
    private func isCanary(_ place: FunctionFlow.Place) -> Bool {
        guard let instruction = flow.nodes[place]?.instruction, instruction.operation == .mov,
            let source = instruction.explicitOperands.last?.register?.register,
            let origins = flow.definitions(of: source, at: place)
        else { return false }
        return origins.allSatisfy { origin in
            flow.nodes[origin]?.instruction.operands.contains { $0.memory?.segment == .fs } == true
        }
    }

    /// The function addresses its stack by `%rbp`, which does not change.
    var hasFramePointer: Bool {
        let changes = flow.order.compactMap { flow.nodes[$0]?.instruction }.filter {
            $0.changes(.rbp) && $0.operation != .pop && $0.operation != .leave
        }
        return changes.count == 1 && changes.allSatisfy(\.setsFramePointer)
    }
}

/// `-0x14(%rbp)`: a place of the stack.
private struct StackOperand: Hashable {
    var base: Register
    /// nil: with an index.
    var distance: Int64?

    /// Within an object that begins at the other place, for all that is known.
    func mayLieBehind(_ other: StackOperand) -> Bool {
        base != other.base || (distance ?? 0) + 8 > (other.distance ?? 0)
    }

    init?(_ operand: Operand) {
        switch operand.value {
        case .register(let part) where part.register == .rsp: (base, distance) = (.rsp, 0)
        case .memory(let memory):
            // The stack may be addressed by the index as well.
            let found = [memory.base, memory.index].compactMap { $0 }.first { $0 == .rsp || $0 == .rbp }
            guard let found else { return nil }
            base = found
            distance = memory.base == found && memory.index == nil ? memory.displacement : nil
        default: return nil
        }
    }
}

extension Instruction {
    fileprivate var stackOperands: [StackOperand] {
        if kind == .nop { return [] }
        let explicit = explicitOperands
        return (explicit.first?.register?.register == .rsp ? explicit.dropFirst() : explicit[...]).compactMap {
            StackOperand($0)
        }
    }

    /// All it does is to store there.
    fileprivate func stores(to operand: StackOperand) -> Bool {
        let explicit = explicitOperands
        guard explicit.count == 2, let place = explicit.first, place.memory != nil, !hasRepeatOrLock else {
            return false
        }
        return place.access == .write && StackOperand(place) == operand
    }

    /// Operands relative to `%rsp` mean other places behind it.
    fileprivate var movesStack: Bool {
        if operation == .push || operation == .pop || operation == .leave { return true }
        let explicit = explicitOperands
        return explicit.count > 1 && explicit[0].register?.register == .rsp
    }

    /// `mov %rsp, %rbp`.
    fileprivate var setsFramePointer: Bool {
        let explicit = explicitOperands
        return operation == .mov && explicit.count == 2 && explicit[0].register?.register == .rbp
            && explicit[1].register?.register == .rsp && explicit.allSatisfy { $0.register?.isWhole == true }
    }
}
