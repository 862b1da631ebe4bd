import CodeModel
import MachineCode
import ObjectFiles

/// The code of a function that gives static variables of functions their first value: what runs between
/// `__cxa_guard_acquire` and `__cxa_guard_release` (Itanium C++ ABI, 3.3.2), for each call of the former.
package struct StaticInitializers {
    package struct Region {
        /// The entity `_ZGVZ…`; nil where nothing tells.
        package var guardVariable: EntityIndex?
        /// The call of `__cxa_guard_acquire`.
        var call: FunctionFlow.Place
        /// Behind the call of `__cxa_guard_acquire`.
        var start: FunctionFlow.Place
        /// What may run until the variable is released, initialisers inside of this one aside.
        package var places: Set<FunctionFlow.Place>
        /// Preserved registers that nothing inside asks for: what the compiler computes here is meant for what follows.
        var idle: Set<Register> = []
    }

    package let flow: FunctionFlow
    package private(set) var regions: [Region] = []

    package init(_ view: ObjectView, of function: EntityIndex) {
        flow = FunctionFlow(view, of: function)
        let ends = flow.order.filter { isRelease($0) }
        let calls = flow.order.filter { isAcquire($0) }
        guard !calls.isEmpty else { return }
        let reaching = closure(of: ends) { flow.predecessors(of: $0).filter { !isAcquire($0) && !isRelease($0) } }
        for call in calls {
            guard let start = flow.nodes[call]?.next.first else { continue }
            let reached = closure(of: [start]) { place in
                guard !isAcquire(place), !isRelease(place) else { return [] }
                return flow.nodes[place]?.next ?? []
            }
            var region = Region(
                guardVariable: guardVariable(at: call), call: call, start: start, places: reached.intersection(reaching)
            )
            region.idle = idleRegisters(of: region)
            regions.append(region)
        }
    }

    private func idleRegisters(of region: Region) -> Set<Register> {
        var (changed, used): (Set<Register>, Set<Register>) = ([], [])
        for instruction in region.places.compactMap({ flow.nodes[$0]?.instruction }) {
            let named = instruction.registersRead.union(instruction.registersWritten)
            let mentioned = Set(named.registers.filter(\.isPreserved))
            if let result = instruction.onlyResult, result.isPreserved {
                changed.insert(result)
                used.formUnion(mentioned.subtracting([result]))
            } else {
                used.formUnion(mentioned)
            }
        }
        return changed.subtracting(used)
    }

    func isAcquire(_ place: FunctionFlow.Place) -> Bool { flow.callee(at: place) == "__cxa_guard_acquire" }
    func isRelease(_ place: FunctionFlow.Place) -> Bool { flow.callee(at: place) == "__cxa_guard_release" }

    func closure(
        of starts: [FunctionFlow.Place], _ step: (FunctionFlow.Place) -> [FunctionFlow.Place]
    ) -> Set<FunctionFlow.Place> {
        var reached = Set(starts)
        var work = starts
        while let next = work.popLast() {
            for other in step(next) where reached.insert(other).inserted { work.append(other) }
        }
        return reached
    }

    /// What the call's argument is the address of.
    private func guardVariable(at call: FunctionFlow.Place) -> EntityIndex? {
        address(in: .rdi, at: call)
    }

    /// The entity whose address a register holds, through one move.
    func address(in register: Register, at place: FunctionFlow.Place) -> EntityIndex? {
        guard let definitions = flow.definitions(of: register, at: place) else { return nil }
        var found: Set<EntityIndex> = []
        for definition in definitions {
            if let number = flow.addressLoaded(at: definition) {
                found.insert(number)
            } else if let source = moved(at: definition), source != register,
                let origins = flow.definitions(of: source, at: definition)
            {
                for origin in origins {
                    guard let number = flow.addressLoaded(at: origin) else { return nil }
                    found.insert(number)
                }
            } else {
                return nil
            }
        }
        return found.count == 1 ? found.first : nil
    }

    /// `mov %rbx, %rdi`: where the value comes from.
    private func moved(at place: FunctionFlow.Place) -> Register? {
        guard let instruction = flow.nodes[place]?.instruction, instruction.operation == .mov,
            let source = instruction.explicitOperands.last?.register, source.isWhole
        else { return nil }
        return source.register
    }
}

extension Instruction {
    /// The preserved register that all its effect, flags aside, is on.
    var onlyResult: Register? {
        let explicit = explicitOperands
        let plain = Operation.moves.union(Operation.arithmetic).union(Operation.shifts).union([.lea, .imul])
        guard kind == .other, explicit.count > 1, let result = explicit[0].register?.register, result.isPreserved,
            plain.contains(operation)
        else { return nil }
        return result
    }
}
