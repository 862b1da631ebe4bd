import Diagnostics
import ObjectFiles

/// The changed units that a target holds.
///
/// One source is often compiled several times (with and without `-fPIC`, for several programs): the target's bytes
/// tell which of the objects is in it (trap many-objects).
func matchUnits(_ changed: [ChangedUnit], in target: TargetImage) throws -> [ComparedUnit] {
    var found: [ComparedUnit] = []
    var strangers: [(unit: LoadedUnit, matched: MatchedUnit)] = []
    for item in changed where !item.changes.isEmpty {
        guard let matched = match(item.unit.plain, in: target) else { continue }
        if !matched.holdsChange(of: item) {
            strangers.append((item.unit, matched))
            continue
        }
        found.append(
            ComparedUnit(
                name: item.unit.name, isCPlusPlus: item.unit.isCPlusPlus, matched: matched,
                original: item.unit.original, new: item.unit.new,
                correlation: item.correlation, changes: item.changes))
    }
    // A variant of a unit that is found is not missed.
    let sources = Set(changed.filter { item in found.contains { $0.name == item.unit.name } }.map(\.unit.source))
    let missed = strangers.filter { !sources.contains($0.unit.source) && !$0.matched.mismatches.isEmpty }
    if !missed.isEmpty { throw Refusals(missed.map { refusal(for: $0.unit, $0.matched, target) }) }
    return found
}

extension MatchedUnit {
    /// At least one function that changes is in the target as it was compiled; or, where only data changes, any.
    func holdsChange(of item: ChangedUnit) -> Bool {
        let names = item.changes.functions.keys.compactMap { item.correlation.originalOf[$0] }
            .map { item.unit.original.entities[$0].name }
        return names.isEmpty ? !matched.isEmpty : names.contains { matched.contains($0) }
    }
}

private func refusal(for unit: LoadedUnit, _ matched: MatchedUnit, _ target: TargetImage) -> Refusal {
    let (name, why) = matched.mismatches.min { $0.key < $1.key } ?? (unit.name, "nothing is equal")
    return Refusal(
        .unmatchedFunction, subject: "\(name) (\(unit.name))",
        why: "compiled again by the recorded command it is not what \(target.name) has: \(why)"
            + " (\(matched.matched.count) functions of the unit are equal, \(matched.mismatches.count) differ)")
}

/// A change that is in no target is said, and refused when no change is in any.
///
/// - Returns: notes.
func requireHome(for changed: [ChangedUnit], in matched: [[ComparedUnit]]) throws -> [String] {
    let homes = Set(matched.joined().map(\.name))
    let sources = Set(changed.filter { homes.contains($0.unit.name) }.map(\.unit.source))
    let homeless = changed.filter { !$0.changes.isEmpty && !sources.contains($0.unit.source) }.map(\.unit.name)
    guard homes.isEmpty else {
        return homeless.map { "\($0): changes, but is not part of any given target" }
    }
    throw Refusals(
        homeless.map {
            Refusal(
                .unmatchedFunction, subject: $0, why: "the unit changes, but no --target holds any of its functions",
                remedy: "give the program or library that the unit is linked into")
        })
}
