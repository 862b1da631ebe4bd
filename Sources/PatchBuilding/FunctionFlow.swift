import Disassembly
import ObjectFiles

/// The instructions of a function of an object, its `.cold` halves included, and which follows which.
struct FunctionFlow {
    struct Place: Hashable {
        var section: Int
        var offset: UInt64
    }

    struct Node {
        var instruction: Instruction
        var relocations: ArraySlice<Relocation>
        /// What runs next: a branch's target before what stands behind it.
        var next: [Place]
        /// What runs next is not known: a jump through a table.
        var isOpen = false
    }

    let view: ObjectView
    private(set) var nodes: [Place: Node] = [:]
    /// In the order in which the code stands.
    private(set) var order: [Place] = []
    private var before: [Place: [Place]] = [:]

    init(_ view: ObjectView, of function: Int) {
        self.view = view
        let parts = [function] + view.coldHalves[view.entities[function].name, default: []]
        for part in parts { addPart(part, parts) }
        for place in order {
            for other in nodes[place]?.next ?? [] { before[other, default: []].append(place) }
        }
    }

    func predecessors(of place: Place) -> [Place] { before[place] ?? [] }

    private mutating func addPart(_ number: Int, _ parts: [Int]) {
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
    private func target(of node: Node, in entity: Entity, _ parts: [Int]) -> Place? {
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
    func callee(at place: Place) -> String? {
        guard let node = nodes[place], node.instruction.kind == .call, let relocation = node.relocations.first,
            case .undefined(let name, _) = view.referent(of: relocation, in: view.file.sections[place.section])
        else { return nil }
        return name
    }

    /// The entity whose address an instruction brings into a register.
    func addressLoaded(at place: Place) -> Int? {
        guard let node = nodes[place], node.relocations.count == 1, let relocation = node.relocations.first,
            case .entity(let number, let delta) = view.referent(of: relocation, in: view.file.sections[place.section])
        else { return nil }
        let isSlot = [.gotpcrel, .gotpcrelx, .rexGotpcrelx].contains(relocation.type)
        let isMove = node.instruction.mnemonic.hasPrefix("mov")
        switch relocation.type {
        case .pc32 where node.instruction.takesAddress && delta == -4: return number
        case .abs32 where isMove && node.instruction.operands.hasPrefix("$") && delta == 0: return number
        case .abs32s where isMove && node.instruction.operands.hasPrefix("$") && delta == 0: return number
        default: return isSlot && isMove && relocation.addend == -4 ? number : nil
        }
    }

    /// Whether the code reads a datum, and does nothing else with it.
    func onlyReads(_ number: Int) -> Bool {
        nodes.allSatisfy { place, node in
            let isUser = node.relocations.contains { relocation in
                guard case .entity(number, _) = view.referent(of: relocation, in: view.file.sections[place.section])
                else { return false }
                return true
            }
            guard isUser else { return true }
            let (instruction, parts) = (node.instruction, node.instruction.parts)
            if isInstruction(instruction.mnemonic, of: ["cmp", "test"]) { return addressLoaded(at: place) == nil }
            return instruction.mnemonic.hasPrefix("movz") && parts.count == 2 && parts[0].hasSuffix("(%rip)")
        }
    }

    /// The instructions that may have given a register the value that it has at `place`; nil where one is not known.
    func definitions(of register: Register, at place: Place) -> Set<Place>? {
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

/// A general register, whatever part of it is meant.
struct Register: Hashable {
    var number: Int

    private static let names = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]

    /// - Parameter name: as in AT&T syntax, with its `%`.
    init?(_ name: some StringProtocol) {
        guard name.first == "%" else { return nil }
        var rest = name.dropFirst()
        if rest.first == "r", let digits = Int(rest.dropFirst().prefix { $0.isNumber }), (8...15).contains(digits) {
            number = digits
            return
        }
        if rest.count == 3, "re".contains(rest.first ?? " ") { rest = rest.dropFirst() }
        if rest.last == "l", rest.count == 3 { rest = rest.dropLast() }
        let whole = rest.last == "l" || rest.last == "h" ? String(rest.dropLast()) + "x" : String(rest)
        guard let index = Self.names.firstIndex(of: String(rest)) ?? Self.names.firstIndex(of: whole) else {
            return nil
        }
        number = index
    }

    /// A function leaves it as it was: `rbx`, `rbp`, `r12` to `r15`.
    var isPreserved: Bool { [3, 5, 12, 13, 14, 15].contains(number) }
    static let firstArgument = Register("%rdi")
}

extension Instruction {
    /// Operands as AT&T syntax has them, without a disassembler's remarks.
    var parts: [String] {
        let text = operands.prefix { $0 != "#" && $0 != "<" }
        // Without a distance where the encoding has one only because the register asks for it.
        return splitOperands(text.filter { $0 != " " }).map { $0.hasPrefix("0x0(") ? String($0.dropFirst(3)) : $0 }
    }

    /// It may give the register another value. Calls leave preserved registers alone.
    func changes(_ register: Register) -> Bool {
        if kind == .call { return !register.isPreserved }
        let parts = parts
        if mnemonic.hasPrefix("xchg") || mnemonic.hasPrefix("cmpxchg") || mnemonic.hasPrefix("xadd") {
            return parts.contains { Register($0) == register } || register.number == 0
        }
        if isImplicitWriter, !register.isPreserved { return true }
        guard let last = parts.last, Register(last) == register else { return false }
        let reads = ["cmp", "test", "push", "bt"].contains { isInstruction(mnemonic, of: [$0]) }
        return !reads
    }

    /// Divisions, string instructions and the like have results that no operand names.
    private var isImplicitWriter: Bool {
        let writers = ["mul", "imul", "div", "idiv", "cqto", "cltq", "cltd", "cwtl", "cpuid", "rdtsc", "xgetbv", "sys"]
        return writers.contains { mnemonic.hasPrefix($0) } || mnemonic.hasPrefix("rep") || operands.contains("(%rdi)")
            || operands.contains("%es:")
    }
}
