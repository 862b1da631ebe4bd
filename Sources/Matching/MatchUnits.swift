import CodeModel
import Comparing
import Diagnostics
import ObjectFiles
import PatchFormat
import Targets

/// The changed units that a target holds.
///
/// One source is often compiled several times (with and without `-fPIC`, for several programs): the target's bytes
/// tell which of the objects is in it (trap many-objects).
///
/// - Parameter debugInfo: the target's, when there is any: it names the units.
package func matchUnits(
    _ changed: [ComparedUnit], in target: TargetImage, debugInfo: DebugInfo? = nil
) throws -> [MatchedUnit] {
    let linked = LinkedSources(target, debugInfo)
    var held: [(unit: MatchedUnit, source: String)] = []
    var unconfirmed: [(item: ComparedUnit, matched: UnitMatch)] = []
    for item in changed where !item.unit.isNew && item.mayMatter {
        guard
            let matched = match(item.unit.plain, in: target, original: item.unit.original)
                ?? matchData(of: item, in: target),
            !linked.lack(item, matched)
        else { continue }
        if !matched.holdsChange(of: item) {
            unconfirmed.append((item, matched))
            continue
        }
        held.append((MatchedUnit(item, matched), item.unit.source))
    }
    // Of what several units define alike, the target has one unit's.
    let replaced = Set(held.flatMap { $0.unit.replacedVague })
    for (item, matched) in unconfirmed where matched.matched.count > 0 && item.changesOnly(replaced) {
        held.append((MatchedUnit(item, matched), item.unit.source))
    }
    let found = try linkedVariants(of: bestVariants(held), among: changed, in: target, linked)
    // A variant of a unit that is found is not missed.
    let sources = Set(changed.filter { item in found.contains { $0.name == item.unit.name } }.map(\.unit.source))
    let missed = unconfirmed.filter {
        !sources.contains($0.item.unit.source) && !$0.matched.mismatches.isEmpty
            && !hasUnchangedVariant(of: $0.item, $0.matched, among: changed, in: target)
    }
    if !missed.isEmpty { throw Refusals(missed.map { refusal(for: $0.item.unit, $0.matched, target) }) }
    return found + (try newUnits(changed, neededBy: found))
}

/// The target has the unit as another command compiles it, which the change does not reach: a feature of the other program.
/// All that differs in the target is that command's, so that not both are linked in.
private func hasUnchangedVariant(
    of item: ComparedUnit, _ unconfirmed: UnitMatch, among all: [ComparedUnit], in target: TargetImage
) -> Bool {
    all.contains { other in
        guard other.unit.source == item.unit.source, other.unit.name != item.unit.name, other.changes.isEmpty,
            let matched = match(other.unit.plain, in: target, original: other.unit.original),
            matched.mismatches.isEmpty, !matched.matched.isEmpty
        else { return false }
        return unconfirmed.mismatches.keys.allSatisfy { name in
            matched.matched.contains(name) || (target.namesLocals && target.definitions(of: name).isEmpty)
        }
    }
}

/// Of the variants of one source, the one that fits best: small functions are often equal in all of them. Another stays
/// only where it has functions at other places, being linked in as well.
private func bestVariants(_ held: [(unit: MatchedUnit, source: String)]) -> [MatchedUnit] {
    var kept: [Int] = []
    for group in Dictionary(grouping: held.indices, by: { held[$0].source }).values {
        let ranked = group.sorted { first, second in
            let (a, b) = (held[first].unit.matched, held[second].unit.matched)
            return (a.mismatches.count, -a.matched.count, first) < (b.mismatches.count, -b.matched.count, second)
        }
        var covered: Set<UInt64> = []
        for index in ranked {
            let matched = held[index].unit.matched
            let places = Set(matched.matched.compactMap { matched.addresses[$0] })
            if index == ranked.first || !places.isSubset(of: covered) { kept.append(index) }
            covered.formUnion(places)
        }
    }
    return kept.sorted().map { held[$0].unit }
}

extension MatchedUnit {
    init(_ item: ComparedUnit, _ matched: UnitMatch) {
        self.init(
            name: item.unit.name, isCPlusPlus: item.unit.isCPlusPlus, matched: matched,
            original: item.unit.original, new: item.unit.new, correlation: item.correlation, changes: item.changes)
    }

    /// Functions of vague linkage that change and that the target has as this unit gave them.
    fileprivate var replacedVague: [String] {
        changes.functions.keys.compactMap { correlation.originalOf[$0] }.filter { original.entities[$0].isVague }
            .flatMap { original.entities[$0].names }.filter { matched.matched.contains($0) }
    }
}

extension ComparedUnit {
    /// All functions that change are among these, which other units define, too.
    fileprivate func changesOnly(_ names: Set<String>) -> Bool {
        changes.functions.keys.allSatisfy { number in
            guard let old = correlation.originalOf[number] else { return false }
            return unit.original.entities[old].isVague
                && unit.original.entities[old].names.contains { names.contains($0) }
        }
    }

    /// Variables and constants that change, as the original has them.
    var changedData: [Entity] {
        (changes.initialValues + changes.sizes + changes.constants).compactMap {
            correlation.originalOf[$0].map { unit.original.entities[$0] }
        }
    }

    fileprivate var mayMatter: Bool { !changes.isEmpty || addsGlobals || losesVague || !lostDefinitions.isEmpty }

    /// A definition of vague linkage is gone, which another unit may bring in another form.
    fileprivate var losesVague: Bool {
        unit.original.entities.indices.contains {
            unit.original.entities[$0].isVague && correlation.newOf[$0] == nil
        }
    }
}

extension UnitMatch {
    /// At least one function that changes is in the target as it was compiled; or, where only data changes, any. Data that
    /// changes may be there without the functions that do (`--gc-sections`).
    func holdsChange(of item: ComparedUnit) -> Bool {
        let hasData = item.changedData.contains { $0.names.contains { addresses[$0] != nil } }
        if hasData, !matched.isEmpty { return true }
        let names = item.changes.functions.keys.compactMap { item.correlation.originalOf[$0] }
            .map { item.unit.original.entities[$0].name }
        return names.isEmpty ? !matched.isEmpty : names.contains { matched.contains($0) }
    }
}

private func refusal(for unit: LoadedUnit, _ matched: UnitMatch, _ target: TargetImage) -> Refusal {
    let (name, why) = matched.mismatches.min { $0.key < $1.key } ?? (unit.name, "nothing is equal")
    return Refusal(
        .unmatchedFunction, subject: "\(name) (\(unit.name))",
        why: "compiled again by the recorded command it is not what \(target.name) has: \(why)"
            + " (\(matched.matched.count) functions of the unit are equal, \(matched.mismatches.count) differ)"
            + matched.likelyCause)
}

/// A change that is in no target is said, and refused when no change is in any.
///
/// - Returns: the units that change and are in no target.
package func requireHome(for changed: [ComparedUnit], in matched: [[MatchedUnit]]) throws -> [ComparedUnit] {
    let homes = Set(matched.joined().filter { !$0.changes.isEmpty }.map(\.name))
    let sources = Set(changed.filter { homes.contains($0.unit.name) }.map(\.unit.source))
    let homeless = changed.filter { !$0.changes.isEmpty && !sources.contains($0.unit.source) }
    guard homes.isEmpty else { return homeless }
    throw Refusals(
        homeless.map {
            Refusal(
                .unmatchedFunction, subject: $0.unit.name,
                why: "the unit changes, but no --target holds any of its functions",
                remedy: "give the program or library that the unit is linked into")
        })
}
