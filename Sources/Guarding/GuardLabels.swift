import CodeModel
import Comparing
import ElfFormat
import MachineCode
import Matching
import ObjectFiles

/// A label's address (`&&label`) that leaves its function leads into that body for ever: into the old one while the patch is
/// active, and into the new one when it is taken back (trap escaping-labels).
func guardLabels(_ unit: MatchedUnit, _ callees: UnitCallees) -> [Finding] {
    guard !unit.changes.functions.isEmpty else { return [] }
    let before = LabelledObject(unit.original, callees.original)
    let after = LabelledObject(unit.new, callees.new)
    return unit.changes.functions.keys.sorted().compactMap { number in
        guard let old = unit.correlation.originalOf[number],
            let why = LabelFlow(before, of: old).escape ?? LabelFlow(after, of: number).escape
        else { return nil }
        return Finding(
            subject: "\(unit.original.entities[old].name) (\(unit.name))",
            why: "\(why): a stored one leads into the old body", remedy: "restart, or keep the function as it is")
    }
}

/// What is the same for every function of an object.
private struct LabelledObject {
    /// Where data holds the address of a place inside of a function.
    struct Holder {
        var section: SectionIndex
        var offset: UInt64
        var place: FunctionFlow.Place
    }

    let view: ObjectView
    let callees: CalledFunctions
    /// By the function, or part of one, that the place is in.
    private(set) var holders: [EntityIndex: [Holder]] = [:]

    init(_ view: ObjectView, _ callees: CalledFunctions) {
        self.view = view
        self.callees = callees
        for section in view.file.sections where section.isAllocated && !section.isExecutable {
            for relocation in section.relocations where !relocation.type.isPCRelative {
                guard case .entity(let number, let delta) = view.referent(of: relocation, in: section), delta != 0,
                    case let part = view.entities[number], part.kind == .function
                else { continue }
                let place = FunctionFlow.Place(
                    section: part.section, offset: part.offset &+ UInt64(bitPattern: delta))
                holders[number, default: []].append(
                    Holder(section: section.index, offset: relocation.offset, place: place))
            }
        }
    }
}

/// What a function makes of the addresses of its labels. They stay within where all that is done with one is to jump to it,
/// and with a table of them to load from it.
private struct LabelFlow {
    private let view: ObjectView
    private let function: EntityIndex
    private let parts: Set<EntityIndex>
    private let tables: LabelTables
    private let callees: CalledFunctions

    init(_ object: LabelledObject, of function: EntityIndex) {
        view = object.view
        callees = object.callees
        self.function = function
        parts = Set([function] + view.coldHalves[view.entities[function].name, default: []])
        tables = LabelTables(object, of: parts)
    }

    /// How an address of a label may get out; nil where none can.
    var escape: String? {
        if let other = otherUser { return "\(other) refers to a table of its labels" }
        guard !tables.isEmpty || parts.contains(where: takesLabel) else { return nil }
        let flow = FunctionFlow(view, of: function)
        let sources = flow.order.filter { isSource($0, flow) }
        let labels = Set(tables.labels + sources.compactMap { ownLabel(at: $0, flow) })
        let walk = AddressWalk(
            flow: flow, function: function, callees: callees, followsLoads: true, forgetsAtCalls: false,
            openJump: { place, node, holders in
                let isTable = node.relocations.contains {
                    tables.isNamed(by: $0, in: view.file.sections[place.section])
                }
                return isTable || !node.instruction.registersRead.isDisjoint(with: holders) ? labels : nil
            })
        let isKept = sources.allSatisfy { start in
            guard let node = flow.nodes[start], let first = holders(of: node) else { return false }
            return walk.staysWithin(from: node, first)
        }
        return isKept ? nil : "it may store the address of one of its labels"
    }

    /// Without decoding operands, which few functions are worth.
    private func takesLabel(_ part: EntityIndex) -> Bool {
        let entity = view.entities[part]
        guard let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end) else { return false }
        let relocations = view.relocations(section: entity.section, from: entity.offset, to: entity.end)
        if relocations.contains(where: { namesLabel($0, in: entity.section) }) { return true }
        var found = false
        forEachInstruction(bytes, at: entity.offset) { instruction in
            guard instruction.takesAddress, let target = instruction.ripRelativeTarget else { return }
            let isField = relocations.contains { $0.offset >= instruction.address && $0.offset < instruction.end }
            if !isField, target > entity.offset, target < entity.end { found = true }
        }
        return found
    }

    /// An absolute field, of code that is not position-independent, or a distance between parts.
    private func namesLabel(_ relocation: Relocation, in section: SectionIndex) -> Bool {
        guard case .entity(let number, let delta) = view.referent(of: relocation, in: view.file.sections[section]),
            parts.contains(number)
        else { return false }
        return !relocation.type.isPCRelative && delta > 0
    }

    /// Who else reads a table, or knows where it is.
    private var otherUser: String? {
        guard !tables.isEmpty else { return nil }
        for section in view.file.sections where section.isAllocated && section.name != ".eh_frame" {
            for relocation in section.relocations where tables.isNamed(by: relocation, in: section) {
                let user = view.entity(section: section.index, offset: Int64(relocation.offset))
                if let user, parts.contains(user) { continue }
                return user.map { view.entities[$0].name } ?? section.name
            }
        }
        return nil
    }

    private func isSource(_ place: FunctionFlow.Place, _ flow: FunctionFlow) -> Bool {
        guard let node = flow.nodes[place] else { return false }
        let section = view.file.sections[place.section]
        return node.relocations.contains { tables.isNamed(by: $0, in: section) } || ownLabel(at: place, flow) != nil
    }

    /// The label whose address the instruction names without jumping there.
    private func ownLabel(at place: FunctionFlow.Place, _ flow: FunctionFlow) -> FunctionFlow.Place? {
        guard let node = flow.nodes[place] else { return nil }
        let entity = view.entity(section: place.section, offset: Int64(place.offset)).map { view.entities[$0] }
        for relocation in node.relocations where namesLabel(relocation, in: place.section) {
            guard
                case .entity(let number, let delta) = view.referent(
                    of: relocation, in: view.file.sections[place.section])
            else { continue }
            let part = view.entities[number]
            return FunctionFlow.Place(section: part.section, offset: part.offset &+ UInt64(bitPattern: delta))
        }
        guard node.relocations.isEmpty, node.instruction.takesAddress, let entity,
            let target = node.instruction.ripRelativeTarget, target > entity.offset, target < entity.end
        else { return nil }
        return FunctionFlow.Place(section: place.section, offset: target)
    }

    /// The register into which an instruction brings the address that it names, or what lies there; none for a jump
    /// through a table. nil where it does something else.
    private func holders(of node: FunctionFlow.Node) -> RegisterSet? {
        let instruction = node.instruction
        if instruction.kind == .nop || instruction.kind == .jump { return [] }
        // `add $label, %rax`: a distance from the label lies there.
        guard Operation.moves.union([.lea, .add]).contains(instruction.operation),
            !instruction.registersReplaced.isEmpty
        else { return nil }
        return instruction.registersReplaced
    }
}

/// Data that holds addresses of labels: named tables, and such as have no name.
private struct LabelTables {
    private let view: ObjectView
    private var named: Set<EntityIndex> = []
    /// By section: offsets of addresses outside of named tables.
    private var unnamed: [SectionIndex: Set<UInt64>] = [:]
    /// By section: offsets without a name that something refers to.
    private var starts: [SectionIndex: Set<Int64>] = [:]
    private(set) var labels: [FunctionFlow.Place] = []

    var isEmpty: Bool { named.isEmpty && unnamed.isEmpty }

    init(_ object: LabelledObject, of parts: Set<EntityIndex>) {
        view = object.view
        for holder in parts.flatMap({ object.holders[$0, default: []] }) {
            labels.append(holder.place)
            if let table = view.entity(section: holder.section, offset: Int64(holder.offset)) {
                named.insert(table)
            } else {
                unnamed[holder.section, default: []].insert(holder.offset)
            }
        }
        if !unnamed.isEmpty { findStarts() }
    }

    /// Whether a relocation leads to a table, or into one.
    func isNamed(by relocation: Relocation, in section: Section) -> Bool {
        switch view.referent(of: relocation, in: section) {
        case .entity(let number, _): named.contains(number)
        case .anonymous(let other, let offset, _): holdsLabels(other, from: offset)
        default: false
        }
    }

    /// What has no name reaches to the next place that something refers to.
    private func holdsLabels(_ section: SectionIndex, from offset: Int64) -> Bool {
        guard let offsets = unnamed[section] else { return false }
        let end = starts[section, default: []].filter { $0 > offset }.min() ?? Int64.max
        return offsets.contains { Int64($0) >= offset && Int64($0) < end }
    }

    private mutating func findStarts() {
        for section in view.file.sections where section.isAllocated {
            for relocation in section.relocations {
                guard case .anonymous(let other, let offset, _) = view.referent(of: relocation, in: section),
                    unnamed[other] != nil
                else { continue }
                starts[other, default: []].insert(offset)
            }
        }
    }
}
