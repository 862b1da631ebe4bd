import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

/// A static variable of a function gets its value at the first call (Itanium C++ ABI, 3.3.2), and keeps it. Where the fix
/// computes another one, a process that has called the function goes on with the old.
func guardStatics(_ unit: MatchedUnit) -> [Finding] {
    let changed = unit.changes.functions.keys.sorted()
    let users = changed.filter { unit.new.usesGuards($0) }
    var check = StaticsCheck(unit: unit)
    for number in users { check.look(at: number) }
    check.lookForLostGuards()
    return check.findings
}

private struct StaticsCheck {
    let unit: MatchedUnit
    var findings: [Finding] = []
    private var originals: [EntityIndex: StaticInitializers] = [:]
    private var named: Set<EntityIndex> = []

    init(unit: MatchedUnit) { self.unit = unit }

    /// Every old variable that new code initialises must be initialised as before.
    mutating func look(at number: EntityIndex) {
        let new = StaticInitializers(unit.new, of: number)
        let known = new.regions.compactMap(\.guardVariable)
        for region in new.regions where region.guardVariable == nil {
            return find(number, "nothing tells which of its static variables it initialises where")
        }
        for used in unit.new.guards(of: number) where unit.correlation.originalOf[used] != nil {
            // It asks only, where the initialiser is a function of its own.
            guard known.contains(used) || new.flow.onlyReads(used) else {
                let name = unit.new.entities[number].name
                find(used, "\(name) changes and initialises it in a way that can't be compared")
                continue
            }
        }
        for region in new.regions {
            guard let variable = region.guardVariable, let old = unit.correlation.originalOf[variable],
                !isInitializedAlike(region, of: new, in: number, guarded: old)
            else { continue }
            find(variable, "\(unit.new.entities[number].name) computes another first value for it, or may do so")
        }
    }

    /// By the same function of the original; where that had no such code, by any other that has it on both sides.
    private mutating func isInitializedAlike(
        _ region: StaticInitializers.Region, of new: StaticInitializers, in number: EntityIndex, guarded: EntityIndex
    ) -> Bool {
        if let old = unit.correlation.originalOf[number] {
            let before = original(old)
            let own = before.regions.filter { $0.guardVariable == guarded }
            if !own.isEmpty { return own.contains { areSame($0, of: before, region, of: new) } }
        }
        let others = unit.original.entities.indices.filter { unit.original.guards(of: $0).contains(guarded) }
        // Only another unit had it: what that says of it is looked at there.
        guard !others.isEmpty else { return true }
        return others.contains { other in
            guard let partner = unit.correlation.newOf[other] else { return false }
            if unit.changes.functions[partner] == nil { return true }
            let (left, right) = (original(other), StaticInitializers(unit.new, of: partner))
            return left.regions.contains { old in
                old.guardVariable == guarded
                    && right.regions.contains {
                        $0.guardVariable == region.guardVariable && areSame(old, of: left, $0, of: right)
                    }
            }
        }
    }

    private mutating func original(_ number: EntityIndex) -> StaticInitializers {
        if let known = originals[number] { return known }
        let made = StaticInitializers(unit.original, of: number)
        originals[number] = made
        return made
    }

    private func areSame(
        _ a: StaticInitializers.Region, of left: StaticInitializers, _ b: StaticInitializers.Region,
        of right: StaticInitializers
    ) -> Bool {
        var comparison = InitializerComparison(
            original: left, new: right,
            comparer: Comparer(original: unit.original, new: unit.new, correlation: unit.correlation))
        return comparison.areSame(a, b)
    }

    /// A variable that is a constant's copy now, and was computed before, has the old value.
    mutating func lookForLostGuards() {
        for (number, entity) in unit.original.entities.enumerated()
        where entity.isGuard && unit.correlation.newOf[number] == nil {
            guard let old = unit.original.entityNamed["_Z" + entity.name.dropFirst(4)],
                let new = unit.correlation.newOf[old], !unit.changes.initialValues.contains(new)
            else { continue }
            find(new, "it was computed at the first call and starts with another value now")
        }
    }

    private mutating func find(_ number: EntityIndex, _ why: String) {
        guard named.insert(number).inserted else { return }
        let name = unit.new.entities[number].name
        let variable = name.hasPrefix("_ZGV") ? "_Z" + name.dropFirst(4) : name
        findings.append(
            Finding(
                subject: "\(variable) (\(unit.name))",
                why: "\(why); what the first call has stored in the process stays",
                remedy: "restart, or set the variable in the patched function"))
    }
}

extension Entity {
    /// Whether a static variable of a function has been initialised.
    fileprivate var isGuard: Bool { kind != .function && name.hasPrefix("_ZGVZ") }
}

extension ObjectView {
    fileprivate func usesGuards(_ function: EntityIndex) -> Bool { !guards(of: function).isEmpty }

    /// The guard variables that a function refers to.
    fileprivate func guards(of function: EntityIndex) -> Set<EntityIndex> {
        guard entities[function].kind == .function, entities[function].coldParent == nil else { return [] }
        let parts = [function] + coldHalves[entities[function].name, default: []]
        var found: Set<EntityIndex> = []
        for part in parts.map({ entities[$0] }) {
            for relocation in relocations(section: part.section, from: part.offset, to: part.end) {
                guard case .entity(let number, _) = referent(of: relocation, in: file.sections[part.section]),
                    entities[number].isGuard
                else { continue }
                found.insert(number)
            }
        }
        return found
    }

    /// Places of the fields, by section, that only initialisers of static variables of functions hold.
    func fieldsOfInitializers() -> Set<FunctionFlow.Place> {
        guard entities.contains(where: \.isGuard) else { return [] }
        var fields: Set<FunctionFlow.Place> = []
        for number in entities.indices where usesGuards(number) {
            let initializers = StaticInitializers(self, of: number)
            for place in initializers.regions.flatMap(\.places) {
                for relocation in initializers.flow.nodes[place]?.relocations ?? [] {
                    fields.insert(FunctionFlow.Place(section: place.section, offset: relocation.offset))
                }
            }
        }
        return fields
    }
}
