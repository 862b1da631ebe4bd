import ElfFormat
import MachineCode
import ObjectFiles

/// The instructions of a function of an object, its `.cold` halves included, and which follows which.
package struct FunctionFlow {
    package struct Place: Hashable {
        package var section: SectionIndex
        package var offset: UInt64

        package init(section: SectionIndex, offset: UInt64) {
            self.section = section
            self.offset = offset
        }
    }

    package struct Node {
        package var instruction: Instruction
        package var relocations: ArraySlice<Relocation>
        /// What runs next: a branch's target before what stands behind it.
        package var next: [Place]
        /// What runs next is not known: a jump through a table.
        package var isOpen = false
    }

    let view: ObjectView
    /// The function and its `.cold` halves.
    let parts: [Entity]
    package private(set) var nodes: [Place: Node] = [:]
    /// In the order in which the code stands.
    package private(set) var order: [Place] = []
    private var before: [Place: [Place]] = [:]

    package init(_ view: ObjectView, of function: EntityIndex) {
        self.view = view
        let parts = [function] + view.coldHalves[view.entities[function].name, default: []]
        self.parts = parts.map { view.entities[$0] }
        for part in parts { addPart(part, parts) }
        for place in order {
            for other in nodes[place]?.next ?? [] { before[other, default: []].append(place) }
        }
    }

    /// The instruction that a relocated field is in.
    package func place(holding offset: UInt64, in section: SectionIndex) -> Place? {
        // No instruction is longer than 15 bytes.
        (offset &- min(offset, 14)...offset).reversed().lazy.map { Place(section: section, offset: $0) }
            .first { nodes[$0].map { $0.instruction.end > offset } ?? false }
    }

    package func predecessors(of place: Place) -> [Place] { before[place] ?? [] }

    private mutating func addPart(_ number: EntityIndex, _ parts: [EntityIndex]) {
        let entity = view.entities[number]
        guard let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end) else { return }
        forEachInstruction(bytes, at: entity.offset, operands: true) { instruction in
            let place = Place(section: entity.section, offset: instruction.address)
            let fields = view.relocations(section: entity.section, from: instruction.address, to: instruction.end)
            var node = Node(instruction: instruction, relocations: fields, next: [])
            if let target = target(of: node, in: entity, parts) { node.next.append(target) }
            let ends: Bool =
                switch instruction.kind {
                case .ret, .trap, .invalid, .jump: true
                default: false
                }
            if !ends, instruction.end < entity.end {
                node.next.append(Place(section: entity.section, offset: instruction.end))
            }
            node.isOpen = instruction.kind == .jump && instruction.target == nil
            nodes[place] = node
            order.append(place)
        }
    }

    /// Where a branch goes, unless it leaves the function.
    private func target(of node: Node, in entity: Entity, _ parts: [EntityIndex]) -> Place? {
        guard node.instruction.kind != .call, let target = node.instruction.target else { return nil }
        guard let relocation = node.relocations.first else {
            return target >= entity.offset && target < entity.end ? Place(section: entity.section, offset: target) : nil
        }
        // A field that counts from its end, 4 bytes on.
        let section = view.file.sections[entity.section]
        guard case .entity(let number, let delta) = view.referent(of: relocation, in: section), parts.contains(number)
        else { return nil }
        let part = view.entities[number]
        return Place(section: part.section, offset: part.offset &+ UInt64(bitPattern: delta &+ 4))
    }

    /// The name of what the object lacks and a call goes to.
    package func callee(at place: Place) -> String? {
        guard let node = nodes[place], node.instruction.kind == .call, let relocation = node.relocations.first,
            case .undefined(let name, _) = view.referent(of: relocation, in: view.file.sections[place.section])
        else { return nil }
        return name
    }

    /// The entity whose address an instruction brings into a register.
    package func addressLoaded(at place: Place) -> EntityIndex? {
        guard let node = nodes[place], node.relocations.count == 1, let relocation = node.relocations.first,
            case .entity(let number, let delta) = view.referent(of: relocation, in: view.file.sections[place.section])
        else { return nil }
        let instruction = node.instruction
        let isMove = instruction.operation == .mov
        let isConstant = isMove && instruction.explicitOperands.last?.immediate != nil
        switch relocation.type {
        case .pc32 where instruction.takesAddress && delta == -4: return number
        case .abs32 where isConstant && delta == 0, .abs32s where isConstant && delta == 0: return number
        case let type where type.isNearSlot && isMove:
            return relocation.addend == -4 ? number : nil
        default: return nil
        }
    }

    /// Whether the code reads a datum, and does nothing else with it.
    package func onlyReads(_ number: EntityIndex) -> Bool {
        nodes.allSatisfy { place, node in
            let isUser = node.relocations.contains { relocation in
                guard case .entity(number, _) = view.referent(of: relocation, in: view.file.sections[place.section])
                else { return false }
                return true
            }
            guard isUser else { return true }
            let instruction = node.instruction
            if instruction.operation == .cmp || instruction.operation == .test { return !node.comparesAddress }
            return instruction.operation == .movzx && instruction.explicitOperands.last?.memory?.isRIPRelative == true
        }
    }

    /// The instructions that may have given a register the value that it has at `place`; nil where one is not known.
    package func definitions(of register: Register, at place: Place) -> Set<Place>? {
        var found: Set<Place> = []
        var seen: Set<Place> = []
        var work = [place]
        while let next = work.popLast() {
            let previous = predecessors(of: next)
            // At the entry it is the caller's, and a handler's unknown. Nothing gets to padding.
            if previous.isEmpty, next == order.first || nodes[next]?.instruction.kind != .nop { return nil }
            for other in previous where seen.insert(other).inserted {
                guard let node = nodes[other] else { return nil }
                if node.instruction.changes(register) { found.insert(other) } else { work.append(other) }
            }
        }
        return found.isEmpty ? nil : found
    }
}

extension FunctionFlow.Node {
    /// A relocated field is a number that the instruction works with, not the address of what it reads.
    fileprivate var comparesAddress: Bool {
        relocations.contains { $0.offset &- instruction.address == UInt64(instruction.immediate.offset) }
            && instruction.immediate.size > 0
    }
}

extension Instruction {
    /// It may give the register another value. Calls leave preserved registers alone, and so does the kernel.
    package func changes(_ register: Register) -> Bool {
        if kind == .call || kind == .systemCall { return !register.isPreserved }
        return registersWritten.contains(register)
    }
}
