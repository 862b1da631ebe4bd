import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

/// A variable that is gone, where a new one takes its place: renamed, moved to a structure or to another unit, or replaced.
/// The new one starts with its initial value, and what the process has in the old one is lost without a word.
///
/// Nothing in the objects tells a renamed variable from one that has nothing to do with it. So it is enough to ask that
/// both have one name, or that one function uses both (trap state-moves-units).
func guardLostState(_ units: [MatchedUnit]) -> [Finding] {
    let gone = units.flatMap { unit in
        unit.original.entities.indices.filter {
            unit.original.entities[$0].holdsState && unit.correlation.newOf[$0] == nil
        }.map { Variable($0, of: unit.original, unit.name) }
    }
    let fresh = units.flatMap { unit in
        unit.new.entities.indices.filter {
            let entity = unit.new.entities[$0]
            return entity.holdsState && unit.correlation.originalOf[$0] == nil
                && !unit.correlation.ambiguous.contains(entity.name)
        }.map { Variable($0, of: unit.new, unit.name) }
    }
    guard !gone.isEmpty, !fresh.isEmpty else { return [] }
    let referrers = units.map { $0.original.referrers() }
    let before = Users(of: gone, in: zip(units.map(\.name), referrers))
    let after = Users(of: fresh, in: zip(units.map(\.name), units.map { $0.new.referrers() }))
    let vanished = Vanished(units: units, referrers: referrers)
    return gone.compactMap { old in
        let names = before[old]
        // What called a function that is gone may do itself what that did.
        let heirs = names.union(vanished.callers(of: names))
        let successor = fresh.first { new in
            let others = after[new]
            return old.stem == new.stem && old.unit != new.unit || !heirs.isDisjoint(with: others)
                || vanished.areSuccessors(others, of: names)
        }
        guard let successor else { return nil }
        let place = successor.unit == old.unit ? "in the same code" : "in \(successor.unit)"
        return Finding(
            subject: "\(old.stem) (\(old.unit))",
            why: "the fix has no such variable any more, and \(successor.stem) is new \(place): "
                + "if it takes its place, what the process has stored is lost")
    }
}

/// Functions that the fix has no more, and that it adds, by name.
private struct Vanished {
    let units: [MatchedUnit]
    /// Of the original objects.
    let referrers: [Referrers]

    private func isGone(_ name: String) -> Bool { units.allSatisfy { $0.new.entityNamed[name] == nil } }

    private func isAdded(_ name: String) -> Bool { units.allSatisfy { $0.original.entityNamed[name] == nil } }

    /// The users of the old variable are gone too, and those of the new one are new: a function was renamed with it.
    func areSuccessors(_ new: Set<String>, of old: Set<String>) -> Bool {
        !new.isEmpty && new.allSatisfy(isAdded) && old.contains(where: isGone)
    }

    /// Of those that are gone: who called them in the original.
    func callers(of names: Set<String>) -> Set<String> {
        let gone = names.filter(isGone)
        guard !gone.isEmpty else { return [] }
        return zip(units, referrers).reduce(into: []) { callers, pair in
            let (unit, known) = pair
            for name in gone {
                if let number = unit.original.entityNamed[name] { callers.formUnion(known.ofOwn[number, default: []]) }
                callers.formUnion(known.ofOthers[name, default: []])
            }
        }
    }
}

extension Entity {
    fileprivate var holdsState: Bool { isWritable && kind != .function }
}

private struct Variable: Hashable {
    var unit: String
    var number: EntityIndex
    var stem: String
    /// By which other units know it.
    var global: String?

    init(_ number: EntityIndex, of view: ObjectView, _ unit: String) {
        let entity = view.entities[number]
        (self.unit, self.number) = (unit, number)
        stem = Comparing.stem(entity.name)
        global = entity.isGlobal ? entity.name : nil
    }
}

/// Names of the functions that use variables, in whatever unit.
private struct Users {
    private var found: [Variable: Set<String>] = [:]

    /// - Parameter units: by name.
    init(of variables: [Variable], in units: some Sequence<(String, Referrers)>) {
        let globals = Dictionary(grouping: variables.filter { $0.global != nil }, by: { $0.global ?? "" })
        for (name, referrers) in units {
            for variable in variables where variable.unit == name {
                found[variable, default: []].formUnion(referrers.ofOwn[variable.number, default: []])
            }
            guard !globals.isEmpty else { continue }
            for (symbol, users) in referrers.ofOthers {
                for variable in globals[symbol, default: []] { found[variable, default: []].formUnion(users) }
            }
        }
    }

    subscript(variable: Variable) -> Set<String> { found[variable, default: []] }
}
