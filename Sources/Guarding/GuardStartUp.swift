import Closing
import CodeModel
import Comparing
import Diagnostics
import MachineCode
import Matching
import ObjectFiles
import Targets

/// A variable that only code sets up which has run already and does not run again: the start of `main`, constructors, and
/// what only they call. In the process it keeps the value it has, for a new one mostly zero (trap initialiser-has-run).
func guardStartUp(_ target: GuardedTarget) -> [Finding] {
    let travelling = travellingFunctions(of: target)
    let uses = StateUses(target, travelling)
    let suspects = uses.variables.filter { $0.value.users.count > 1 && !$0.value.setters.isEmpty }
    guard !suspects.isEmpty else { return [] }
    var history = RunHistory(target, travelling)
    var findings: [Finding] = []
    for (variable, use) in suspects.sorted(by: { $0.key < $1.key }) {
        let old = use.setters.filter { history.hasRunForGood($0) }
        // Code that runs again sets it as well, or nobody else asks.
        guard let setter = old.sorted().first, use.stores.isSubset(of: old),
            let user = use.users.subtracting(old).sorted().first
        else { continue }
        let unit = target.units[variable.unit]
        let entity = unit.new.entities[variable.entity]
        findings.append(
            Finding(
                subject: "\(stem(entity.name)) (\(unit.name))",
                why: "\(uses.name(of: setter)) sets it up, which has run in the process and does not run again, and"
                    + " \(uses.name(of: user)) would use it as it is"))
    }
    return findings
}

/// A definition of a unit's new object.
private struct Definition: Hashable, Comparable {
    var unit: Int
    var entity: EntityIndex

    static func < (a: Definition, b: Definition) -> Bool { (a.unit, a.entity) < (b.unit, b.entity) }
}

/// The functions that the module has, parts of one each by itself.
private func travellingFunctions(of target: GuardedTarget) -> [Definition] {
    target.plan.functions.flatMap { function in
        function.newSymbols.compactMap { symbol in
            target.units[function.unit].new.entityOfSymbol[symbol].map { Definition(unit: function.unit, entity: $0) }
        }
    }
}

/// Which new or changed functions use a variable, and how.
private struct StateUses {
    struct Use {
        var users: Set<Definition> = []
        /// Those that store into it, or make its address a value: more than the original did, where there is one.
        var setters: Set<Definition> = []
        /// Those of them that store into it themselves.
        var stores: Set<Definition> = []
    }

    private let units: [MatchedUnit]
    private let globals: [String: Definition]
    private(set) var variables: [Definition: Use] = [:]

    init(_ target: GuardedTarget, _ travelling: [Definition]) {
        units = target.units
        var globals: [String: Definition] = [:]
        for (index, unit) in units.enumerated() {
            for (number, entity) in unit.new.entities.enumerated() where entity.isGlobal {
                for name in entity.names { globals[name] = Definition(unit: index, entity: number) }
            }
        }
        self.globals = globals
        for function in travelling { add(function) }
    }

    func name(of function: Definition) -> String { units[function.unit].new.entities[function.entity].name }

    private mutating func add(_ part: Definition) {
        let unit = units[part.unit]
        // Halves of a function are that function.
        let function = Definition(unit: part.unit, entity: unit.new.functionOwning(part.entity))
        let uses = memoryUses(of: part.entity, in: unit.new) { self.variable(of: $0, in: part) }
        guard !uses.isEmpty else { return }
        let before = unit.correlation.originalOf[part.entity].map { setNames(by: $0, in: unit.original) } ?? []
        for (variable, use) in uses {
            let entity = units[variable.unit].new.entities[variable.entity]
            variables[variable, default: Use()].users.insert(function)
            guard use == .store || use == .address else { continue }
            if use == .store { variables[variable, default: Use()].stores.insert(function) }
            // What the old code did, too, has been done.
            if !before.contains(stem(entity.name)) { variables[variable, default: Use()].setters.insert(function) }
        }
    }

    private func setNames(by function: EntityIndex, in view: ObjectView) -> Set<String> {
        let section = view.file.sections[view.entities[function].section]
        let uses = memoryUses(of: function, in: view) { relocation -> String? in
            switch view.referent(of: relocation, in: section) {
            case .entity(let number, _) where view.entities[number].isWritable: stem(view.entities[number].name)
            case .undefined(let name, _): name
            default: nil
            }
        }
        return Set(uses.filter { $0.1 == .store || $0.1 == .address }.map(\.0))
    }

    /// Of plain memory that starts as zero where it is new.
    private func variable(of relocation: Relocation, in part: Definition) -> Definition? {
        let view = units[part.unit].new
        let section = view.file.sections[view.entities[part.entity].section]
        let found: Definition? =
            switch view.referent(of: relocation, in: section) {
            case .entity(let number, _): Definition(unit: part.unit, entity: number)
            case .undefined(let name, _): globals[name]
            default: nil
            }
        guard let found else { return nil }
        let unit = units[found.unit]
        let entity = unit.new.entities[found.entity]
        guard entity.kind == .data, entity.isWritable else { return nil }
        let isNew = unit.correlation.originalOf[found.entity] == nil
        return isNew && !unit.new.file.sections[entity.section].isNoBits ? nil : found
    }
}

/// How a function uses what its relocated fields name, as far as `subject` knows it.
private func memoryUses<Subject>(
    of function: EntityIndex, in view: ObjectView, _ subject: (Relocation) -> Subject?
) -> [(Subject, MemoryUse)] {
    let entity = view.entities[function]
    let relocations = view.relocations(section: entity.section, from: entity.offset, to: entity.end)
    let known = relocations.compactMap { relocation in subject(relocation).map { ($0, relocation) } }
    guard !known.isEmpty, let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end) else {
        return []
    }
    let code = Array(bytes)
    let instructions = decode(code, at: 0, operands: true)
    let fields = Set(relocations.map { Int($0.offset - entity.offset) })
    return known.map { subject, relocation in
        // A slot holds the address.
        guard relocation.type.isDirect else { return (subject, .address) }
        let (offset, size) = (Int(relocation.offset - entity.offset), relocation.type.fieldSize)
        let use = memoryUse(in: instructions, fieldOffset: offset, fieldSize: size)
        guard use == .address else { return (subject, use) }
        return (subject, addressUse(of: code, fieldOffset: offset, fieldSize: size, relocatedFields: fields))
    }
}

/// Which functions have run in any process of the target and do not run again.
private struct RunHistory {
    private let units: [MatchedUnit]
    private let target: TargetImage
    private let calls: TargetCalls
    /// Where the target has functions that are replaced: what they call is told by the new object.
    private let replaced: Set<UInt64>
    /// By the function that is called.
    private var callers: [Key: [(caller: Definition, isInLoop: Bool)]] = [:]
    private var handedOn: Set<Key> = []
    private var verdicts: [Key: Bool] = [:]

    /// A function by its place in the target; by its definition where the target has none.
    private enum Key: Hashable {
        case old(UInt64)
        case new(Definition)
    }

    init(_ target: GuardedTarget, _ travelling: [Definition]) {
        units = target.units
        self.target = target.target.image
        calls = target.calls
        replaced = Set(target.plan.functions.compactMap { $0.description.original?.range.address })
        for function in travelling { addCalls(of: function) }
    }

    mutating func hasRunForGood(_ function: Definition) -> Bool { hasRunForGood(key(of: function)) }

    private func key(of function: Definition) -> Key {
        let unit = units[function.unit]
        if let original = unit.correlation.originalOf[function.entity],
            let address = unit.matched.addresses[unit.original.entities[original].name]
        {
            return .old(address)
        }
        return .new(function)
    }

    private mutating func addCalls(of part: Definition) {
        let view = units[part.unit].new
        let function = Definition(unit: part.unit, entity: view.functionOwning(part.entity))
        let entity = view.entities[part.entity]
        let section = view.file.sections[entity.section]
        let flow = FunctionFlow(view, of: function.entity)
        for relocation in view.relocations(section: entity.section, from: entity.offset, to: entity.end) {
            guard let callee = self.callee(of: relocation, in: section, part.unit) else { continue }
            if relocation.isBranch(in: section) {
                callers[callee, default: []].append((function, flow.mayRepeat(relocation.offset, in: entity.section)))
            } else {
                handedOn.insert(callee)
            }
        }
    }

    private func callee(of relocation: Relocation, in section: Section, _ unit: Int) -> Key? {
        switch units[unit].new.referent(of: relocation, in: section) {
        case .entity(let number, _):
            return units[unit].new.entities[number].kind == .function
                ? key(of: Definition(unit: unit, entity: units[unit].new.functionOwning(number))) : nil
        case .undefined(let name, _):
            for (index, other) in units.enumerated() {
                if let number = other.new.entityNamed[name], other.new.entities[number].isGlobal {
                    return key(of: Definition(unit: index, entity: number))
                }
            }
            return target.globalDefinitions(of: name).first.map { .old($0.value) }
        default: return nil
        }
    }

    private mutating func hasRunForGood(_ key: Key) -> Bool {
        if let known = verdicts[key] { return known }
        // In a circle of calls everything may run again.
        verdicts[key] = false
        let verdict = judge(key)
        verdicts[key] = verdict
        return verdict
    }

    private mutating func judge(_ key: Key) -> Bool {
        if handedOn.contains(key) { return false }
        var all: [(caller: Key, isInLoop: Bool)] = callers[key, default: []].map {
            (self.key(of: $0.caller), $0.isInLoop)
        }
        if case .old(let address) = key {
            if startsOnce(address) { return true }
            if calls.isHandedOn(address) { return false }
            all += calls.callers(of: address).filter { !replaced.contains($0.function) }.map {
                (.old($0.function), calls.isInLoop($0))
            }
        }
        guard !all.isEmpty else { return false }
        return all.allSatisfy { !$0.isInLoop && hasRunForGood($0.caller) }
    }

    /// `main`, and what runs before it.
    private func startsOnce(_ address: UInt64) -> Bool {
        if target.isExecutable, target.definitions(of: "main").contains(where: { $0.value == address }) { return true }
        return target.file.sections.contains { section in
            guard section.name == ".init_array" || section.name == ".preinit_array" else { return false }
            return target.relativeValueAt.contains {
                $0.value == address && $0.key >= section.address && $0.key - section.address < section.size
            }
        }
    }
}

extension FunctionFlow {
    /// Whether a call may run again while its function runs. A jump through a table may lead to every place that nothing
    /// else leads to.
    fileprivate func mayRepeat(_ offset: UInt64, in section: SectionIndex) -> Bool {
        guard
            let site = order.last(where: { $0.section == section && $0.offset <= offset }), let start = nodes[site]
        else { return true }
        let roots = order.filter { predecessors(of: $0).isEmpty && $0 != order.first }
        var seen: Set<Place> = []
        var work = start.next
        while let place = work.popLast() {
            if place == site { return true }
            guard seen.insert(place).inserted, let node = nodes[place] else { continue }
            work += node.next + (node.isOpen ? roots : [])
        }
        return false
    }
}
