import CodeModel
import MachineCode
import ObjectFiles

/// Walks an initialiser of the original and one of the new object side by side.
///
/// Preserved registers may have changed places where each gets its value inside, or holds the address of the same thing:
/// an edit elsewhere in the function moves them. Everything else has to be equal.
package struct InitializerComparison {
    let original: StaticInitializers
    let new: StaticInitializers
    var comparer: Comparer
    private var partners: [FunctionFlow.Place: FunctionFlow.Place] = [:]
    private var registers: [Register: Register] = [:]
    /// Of these, the ones that bring in a value, apart from addresses of the same thing.
    private var inputs: [Register: Register] = [:]
    /// The code before an initialiser is walked, which may hold other initialisers.
    private var isBefore = false

    package init(original: StaticInitializers, new: StaticInitializers, comparer: Comparer) {
        self.original = original
        self.new = new
        self.comparer = comparer
    }

    /// The same code, which works on the same values: on none that the function computes before, or the code before it is the
    /// same, too.
    package mutating func areSame(_ a: StaticInitializers.Region, _ b: StaticInitializers.Region) -> Bool {
        guard walk(a, b) else { return false }
        guard !inputs.isEmpty || original.readsStack(a) || new.readsStack(b) else { return true }
        guard let left = original.codeBefore(a), let right = new.codeBefore(b) else { return false }
        var before = InitializerComparison(original: original, new: new, comparer: comparer)
        before.isBefore = true
        guard before.walk(left, right) else { return false }
        // What a register holds there has to be what it holds here.
        return inputs.allSatisfy { r, s in before.registers[r].map { $0 == s } ?? (r == s) }
    }

    private mutating func walk(_ a: StaticInitializers.Region, _ b: StaticInitializers.Region) -> Bool {
        guard !a.places.isEmpty, !b.places.isEmpty else { return false }
        var work = [(a.start, b.start)]
        while let (p, q) = work.popLast() {
            guard let x = settle(p, original, a), let y = settle(q, new, b) else { return false }
            // Both have left the initialiser, or one of another variable begins.
            if !a.places.contains(x), !b.places.contains(y), original.isAcquire(x) == new.isAcquire(y) { continue }
            if let known = partners[x] {
                if known != y { return false }
                continue
            }
            partners[x] = y
            guard a.places.contains(x), b.places.contains(y), let next = following(x, y) else { return false }
            work += next
        }
        return Set(partners.values).count == partners.count
    }

    /// The place itself, or what follows where it does nothing for the variable or only jumps on; nil for an endless loop.
    private func settle(
        _ place: FunctionFlow.Place, _ side: StaticInitializers, _ region: StaticInitializers.Region
    ) -> FunctionFlow.Place? {
        var place = place
        for _ in 0..<1000 {
            guard region.places.contains(place), let node = side.flow.nodes[place],
                node.instruction.kind == .nop || node.instruction.kind == .jump
                    || node.instruction.onlyResult.map({ region.idle.contains($0) }) == true, node.next.count == 1
            else { return place }
            place = node.next[0]
        }
        return nil
    }

    /// What follows two equal instructions; nil where they are not equal.
    private mutating func following(
        _ x: FunctionFlow.Place, _ y: FunctionFlow.Place
    ) -> [(FunctionFlow.Place, FunctionFlow.Place)]? {
        guard let left = original.flow.nodes[x], let right = new.flow.nodes[y], !left.isOpen, !right.isOpen,
            left.instruction.kind == right.instruction.kind, left.next.count == right.next.count
        else { return nil }
        let (a, b) = (left.instruction.operation, right.instruction.operation)
        if left.instruction.kind == .conditionalJump, left.next.count == 2 {
            if a == b { return Array(zip(left.next, right.next)) }
            return a.opposite == b ? Array(zip(left.next, right.next.reversed())) : nil
        }
        guard a == b, isSame(left, at: x, right, at: y) else { return nil }
        return original.isRelease(x) && !isBefore ? [] : Array(zip(left.next, right.next))
    }

    private mutating func isSame(
        _ left: FunctionFlow.Node, at x: FunctionFlow.Place, _ right: FunctionFlow.Node, at y: FunctionFlow.Place
    ) -> Bool {
        let (a, b) = (left.instruction, right.instruction)
        guard left.relocations.count == right.relocations.count else { return false }
        for (p, q) in zip(left.relocations, right.relocations) {
            // A field may lie further on where a register's name takes a prefix.
            guard p.type == q.type, a.end - p.offset == b.end - q.offset,
                comparer.difference(p, in: x.section, q, in: y.section) == nil
            else { return false }
        }
        // A direct call's operand is its target, which the relocation names.
        if a.target != nil, b.target != nil { return !left.relocations.isEmpty }
        return haveSameOperands(a, at: x, b, at: y)
    }

    private mutating func haveSameOperands(
        _ a: Instruction, at x: FunctionFlow.Place, _ b: Instruction, at y: FunctionFlow.Place
    ) -> Bool {
        let (left, right) = (a.explicitOperands, b.explicitOperands)
        guard left.count == right.count, a.hasRepeatOrLock == b.hasRepeatOrLock else { return false }
        for (index, (p, q)) in zip(left, right).enumerated() {
            guard p.shape == q.shape else { return false }
            for (r, s) in zip(p.registers, q.registers) where r != s || r.isPreserved {
                guard r.isPreserved, s.isPreserved else { return false }
                let isDefined = index == 0 && p.register != nil && a.sets(r) && b.sets(s)
                guard mayPair(r, at: x, s, at: y, isDefined: isDefined) else { return false }
            }
        }
        return true
    }

    private mutating func mayPair(
        _ r: Register, at x: FunctionFlow.Place, _ s: Register, at y: FunctionFlow.Place, isDefined: Bool
    ) -> Bool {
        if let known = registers[r] { return known == s }
        if registers.values.contains(s) { return false }
        if !isDefined {
            let isFrame = r == s && r == .rbp && original.hasFramePointer && new.hasFramePointer
            let isAddress = !isFrame && isSameAddress(r, at: x, s, at: y)
            if !isFrame, !isAddress, r != s, isBefore { return false }
            if !isFrame, !isAddress { inputs[r] = s }
        }
        registers[r] = s
        return true
    }

    private func isSameAddress(
        _ r: Register, at x: FunctionFlow.Place, _ s: Register, at y: FunctionFlow.Place
    ) -> Bool {
        guard let held = original.address(in: r, at: x), let other = new.address(in: s, at: y) else { return false }
        return comparer.correlation.newOf[held] == other
    }
}

extension Operand {
    /// General registers that it names, in order.
    fileprivate var registers: [Register] {
        switch value {
        case .register(let part): [part.register]
        case .memory(let memory): [memory.base, memory.index].compactMap { $0 }
        case .otherRegister, .immediate, .pointer: []
        }
    }

    /// The operand without the names of its registers: they are all called rax.
    fileprivate var shape: Operand {
        var shape = self
        switch value {
        case .register(var part):
            part.register = .rax
            shape.value = .register(part)
        case .memory(var memory):
            if memory.base != nil { memory.base = .rax }
            if memory.index != nil { memory.index = .rax }
            shape.value = .memory(memory)
        case .otherRegister, .immediate, .pointer: break
        }
        return shape
    }
}

extension Instruction {
    /// It gives the register a value that does not depend on the one it had.
    fileprivate func sets(_ register: Register) -> Bool {
        let explicit = explicitOperands
        guard explicit.count == 2, let part = explicit[0].register, part.register == register, part.clearsRest,
            Operation.moves.contains(operation) || operation == .lea
        else { return false }
        return !explicit[1].registers.contains(register)
    }
}
