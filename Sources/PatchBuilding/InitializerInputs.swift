import Disassembly
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
            if instruction.takesAddress || instruction.parts.first == "%rsp" {
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
        guard let instruction = flow.nodes[place]?.instruction, isInstruction(instruction.mnemonic, of: ["mov"]),
            let source = instruction.parts.first.flatMap({ Register($0) }),
            let origins = flow.definitions(of: source, at: place)
        else { return false }
        return origins.allSatisfy { flow.nodes[$0]?.instruction.operands.contains("%fs:") == true }
    }

    /// The function addresses its stack by `%rbp`, which does not change.
    var hasFramePointer: Bool {
        let frame = Register("%rbp")
        let changes = flow.order.filter { place in
            guard let frame, let instruction = flow.nodes[place]?.instruction else { return false }
            return instruction.changes(frame) && !["pop", "leave"].contains { instruction.mnemonic.hasPrefix($0) }
        }
        return changes.count == 1
            && changes.allSatisfy { flow.nodes[$0].map { $0.instruction.parts == ["%rsp", "%rbp"] } ?? false }
    }
}

/// `-0x14(%rbp)`: a place of the stack.
private struct StackOperand: Hashable {
    var base: String
    /// nil: with an index.
    var distance: Int64?

    /// Within an object that begins at the other place, for all that is known.
    func mayLieBehind(_ other: StackOperand) -> Bool {
        base != other.base || (distance ?? 0) + 8 > (other.distance ?? 0)
    }

    init?(_ operand: String) {
        if operand == "%rsp" {
            (base, distance) = (operand, 0)
            return
        }
        guard let open = operand.firstIndex(of: "(") else { return nil }
        let registers = operand[operand.index(after: open)...].prefix { $0 != ")" }.split(
            separator: ",", omittingEmptySubsequences: false)
        guard let first = registers.first, ["%rsp", "%rbp"].contains(first) else { return nil }
        base = String(first)
        let text = operand[..<open]
        let digits = text.drop { $0 == "-" || $0 == "*" }.dropFirst(text.contains("0x") ? 2 : 0)
        let value = text.contains("0x") ? Int64(digits, radix: 16) : (digits.isEmpty ? 0 : Int64(digits))
        distance = registers.count > 1 ? nil : value.map { text.contains("-") ? -$0 : $0 }
    }
}

extension Instruction {
    fileprivate var stackOperands: [StackOperand] {
        if kind == .nop { return [] }
        let parts = parts
        return (parts.last == "%rsp" ? parts.dropLast() : parts[...]).compactMap { StackOperand($0) }
    }

    /// All it does is to store there.
    fileprivate func stores(to operand: StackOperand) -> Bool {
        let parts = parts
        return mnemonic.hasPrefix("mov") && parts.count == 2 && StackOperand(parts[1]) == operand
    }

    /// Operands relative to `%rsp` mean other places behind it.
    fileprivate var movesStack: Bool {
        if mnemonic.hasPrefix("push") || mnemonic.hasPrefix("pop") || mnemonic.hasPrefix("leave") { return true }
        return parts.count > 1 && parts.last == "%rsp"
    }
}
