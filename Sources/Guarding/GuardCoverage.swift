import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import Targets

/// Looks for code of the official file that may be of a unit which the patch touches and that the rebuild lacks: a
/// function that was compiled in there only, and that may hold an inlined copy of what changes.
///
/// Linkers leave a unit's functions together. So what lies between, before and behind those that were found has to be
/// other code that was found, or padding. That holds for every unit that reads a touched file, whether its rebuilt
/// code changes or not.
///
/// - Parameter held: those of the units that change and that the target has.
/// - Returns: nothing where the symbols are those of the very file, or where all of its code was found.
package func guardCoverage(
    _ compiled: [ComparedUnit], held: [MatchedUnit], in target: LoadedTarget
) -> [Finding] {
    guard let code = target.image.translated?.code, !code.gaps.isEmpty, held.contains(where: { !$0.changes.isEmpty })
    else { return [] }
    return (held.map { ($0.name, $0.original, $0.matched) } + unchanged(compiled, held, target)).compactMap {
        name, view, matched in
        let isNamed = held.contains { $0.name == name && !$0.changes.functions.isEmpty }
        // Then what differs is named by itself.
        if isNamed, !matched.ownMismatches(in: view).isEmpty { return nil }
        let extent = UnitExtent(of: view, matched, in: code)
        return code.gaps.first { !extent.excludes($0) }.map { finding(for: $0, code, name, target.image) }
    }
}

/// Units that read a touched file, whose rebuilt code stays what it is.
private func unchanged(
    _ compiled: [ComparedUnit], _ held: [MatchedUnit], _ target: LoadedTarget
) -> [(String, ObjectView, UnitMatch)] {
    let linked = LinkedSources(target.image, target.debugInfo)
    let names = Set(held.map(\.name))
    let done = Set(compiled.filter { names.contains($0.unit.name) }.map(\.unit.source))
    var best: [String: (String, ObjectView, UnitMatch)] = [:]
    for item in compiled where item.changes.isEmpty && !done.contains(item.unit.source) {
        let plain = item.unit.plain
        guard let code = target.image.translated?.code,
            let matched = match(plain, in: target.image)
                ?? (plain.sourceNames.isDisjoint(with: code.sources) ? nil : UnitMatch()),
            !linked.lack(item, matched)
        else { continue }
        // Of the variants of a source, the one that fits best is the target's.
        if let other = best[item.unit.source], other.2.matched.count >= matched.matched.count { continue }
        best[item.unit.source] = (item.unit.name, plain, matched)
    }
    return best.values.sorted { $0.0 < $1.0 }
}

/// Where a unit's functions lie among the located functions of the official code.
private struct UnitExtent {
    /// The unit's functions, by their numbers in `OfficialCode`.
    private var functions: Set<Int> = []
    /// Where they follow upon each other, so that all of the unit's code must lie beside them: the first and the last.
    private var closed: [OfficialCode.Zone: ClosedRange<Int>] = [:]
    private let names: Set<String>
    private let code: OfficialCode

    init(of view: ObjectView, _ matched: UnitMatch, in code: OfficialCode) {
        self.code = code
        let definitions = view.entities.filter { $0.kind == .function }
        names = Set(definitions.flatMap(\.names))
        // Of vague linkage, the target may have kept another unit's.
        let places = Set(
            definitions.filter { !$0.isVague }.flatMap(\.names).filter { matched.matched.contains($0) }
                .compactMap { matched.addresses[$0] })
        for (zone, indices) in Dictionary(grouping: code.functions.indices, by: { code.functions[$0].zone }) {
            // Places of what has twins are not proved, but their names say whose they are.
            let runs = indices.split {
                !names.isSuperset(of: code.functions[$0].names) || code.functions[$0].names.isEmpty
            }
            let own = runs.filter { run in run.contains { places.contains(code.functions[$0].range.lowerBound) } }
            for run in own { functions.formUnion(run) }
            guard !zone.isEarly, own.count == 1, let first = own[0].first, let last = own[0].last,
                code.leavesUnitsWhole(indices)
            else { continue }
            closed[zone] = first...last
        }
    }

    /// What is in `gap` is not of the unit.
    func excludes(_ gap: OfficialCode.Gap) -> Bool {
        let isBeside = [gap.before, gap.after].map { $0.map { functions.contains($0) } ?? false }
        if isBeside == [true, true] { return false }
        // The rebuild has other functions there, all of other units: as many.
        if let others = gap.counterparts, others.allSatisfy({ !$0.isEmpty && names.isDisjoint(with: $0) }) {
            return true
        }
        if isBeside.contains(true) { return false }
        return gap.zone.isEarly ? isBetweenOthers(gap) : closed[gap.zone] != nil
    }

    /// Between halves of functions that were moved out of the way (`.cold`), units have the order in which their other code
    /// is.
    private func isBetweenOthers(_ gap: OfficialCode.Gap) -> Bool {
        let rest = OfficialCode.Zone(section: gap.zone.section, isEarly: false)
        guard let own = closed[rest], let before = gap.before, let after = gap.after,
            let low = code.otherHalf(from: before, by: -1, in: gap.zone),
            let high = code.otherHalf(from: after, by: 1, in: gap.zone), low <= high
        else { return false }
        return own.upperBound < low || own.lowerBound > high
    }
}

extension OfficialCode {
    /// Whether the functions of each source, as far as it is known, follow upon each other.
    fileprivate func leavesUnitsWhole(_ indices: [Int]) -> Bool {
        var seen: Set<Int> = []
        var last: Int?
        for source in indices.compactMap({ functions[$0].source }) where source != last {
            if !seen.insert(source).inserted { return false }
            last = source
        }
        return true
    }

    /// Of the nearest `.cold` half in one direction: where the rest of its function lies; nil where that can't be told.
    fileprivate func otherHalf(from index: Int, by step: Int, in zone: Zone) -> Int? {
        var next = index
        while functions.indices.contains(next), functions[next].zone == zone {
            if let name = functions[next].names.first(where: { $0.hasSuffix(".cold") }) {
                let rest = functions.indices.filter {
                    !functions[$0].zone.isEarly && functions[$0].names.contains(String(name.dropLast(5)))
                }
                return rest.count == 1 ? rest[0] : nil
            }
            next += step
        }
        return nil
    }

    fileprivate func name(_ index: Int?) -> String? {
        index.map { functions[$0].names.first ?? "0x" + String(functions[$0].range.lowerBound, radix: 16) }
    }
}

extension ObjectView {
    /// What its `FILE` symbols say.
    fileprivate var sourceNames: Set<String> {
        Set(file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map(\.name))
    }
}

private func finding(
    for gap: OfficialCode.Gap, _ code: OfficialCode, _ unit: String, _ target: TargetImage
) -> Finding {
    let range = "0x\(String(gap.range.lowerBound, radix: 16))-0x\(String(gap.range.upperBound, radix: 16))"
    let place =
        switch (code.name(gap.before), code.name(gap.after)) {
        case (let before?, let after?): "between \(before) and \(after)"
        case (let before?, nil): "behind \(before)"
        case (nil, let after?): "before \(after)"
        default: "in \(gap.zone.section)"
        }
    return Finding(
        subject: "\(range) of \(target.name) (\(unit))",
        why: "\(target.name) has code there, \(place), that the rebuild lacks: it may be a function of the unit that"
            + " holds an inlined copy of what changes",
        remedy:
            "rebuild it with the official file's configuration, so that it has the same functions, or give --symbols"
            + " of the very build")
}
