import Comparing
import Diagnostics
import Targets

/// Of one source compiled by commands that mean different things (`-DSERVER` and not), the target has one; the bytes of
/// small units, or of all, may be equal in both until the fix makes them differ.
///
/// - Returns: the units, without those of which another variant, which the fix leaves as it is, explains more of the
///   target.
/// - Throws: `Refusals` ambiguous-symbol where two variants explain as much and the fix makes them differ.
func linkedVariants(
    of found: [MatchedUnit], among changed: [ComparedUnit], in target: TargetImage, _ linked: LinkedSources
) throws -> [MatchedUnit] {
    var refusals: [Refusal] = []
    let kept = found.filter { unit in
        guard let item = changed.first(where: { $0.unit.name == unit.name }) else { return true }
        for rival in changed where item.isVariant(of: rival) && !found.contains(where: { $0.name == rival.unit.name }) {
            guard let matched = match(rival.unit.plain, in: target, original: rival.unit.original),
                !linked.lack(rival, matched), matched.mismatches.isEmpty,
                matched.places.isSuperset(of: unit.matched.places)
            else { continue }
            if rival.changes.isEmpty, matched.places.count > unit.matched.places.count { return false }
            if matched.places.count == unit.matched.places.count, !item.becomesSame(as: rival) {
                refusals.append(refusal(item, rival, target))
            }
        }
        return true
    }
    if !refusals.isEmpty { throw Refusals(refusals) }
    return kept
}

private func refusal(_ item: ComparedUnit, _ rival: ComparedUnit, _ target: TargetImage) -> Refusal {
    Refusal(
        .ambiguousSymbol, subject: item.unit.name,
        why:
            "it and \(rival.unit.name) are made of one source by commands that differ, \(target.name) may have either, and the fix changes them differently",
        remedy:
            "give --compile-commands without the commands of other programs, or the right objects with --original and --new"
    )
}

extension UnitMatch {
    fileprivate var places: Set<UInt64> { Set(matched.compactMap { addresses[$0] }) }
}

extension ComparedUnit {
    fileprivate func isVariant(of other: ComparedUnit) -> Bool {
        unit.source == other.unit.source && unit.name != other.unit.name && unit.variant != other.unit.variant
            && !other.unit.isNew
    }

    /// What changes in either has the same code and data in the other.
    fileprivate func becomesSame(as other: ComparedUnit) -> Bool {
        let correlation = correlate(unit.new, other.unit.new)
        let differences = compare(unit.new, other.unit.new, correlation)
        guard differences.initialValues.isEmpty, differences.sizes.isEmpty, differences.constants.isEmpty else {
            return false
        }
        return changes.functions.keys.allSatisfy { number in
            correlation.newOf[number].map { differences.functions[$0] == nil } ?? false
        }
            && other.changes.functions.keys.allSatisfy { number in
                correlation.originalOf[number] != nil && differences.functions[number] == nil
            }
    }
}
