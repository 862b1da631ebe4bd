import Closing
import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Recompiling
import Reviewing
import SourceChanges
import Targets

/// One target of the bundle, with all that the passes know of it.
struct ReviewedTarget {
    var image: TargetImage
    var units: [MatchedUnit]
    var plan: ModulePlan
}

/// What a reviewer wants to see of the patch: `review.json`.
///
/// Only the functions of the patch are disassembled, and only their lines looked up.
func makeReview(
    _ compiled: CompiledInput, _ planned: PlannedPatch, scratch: String
) throws -> [UInt8] {
    let targets = planned.targets.map { ReviewedTarget(image: $0.target.image, units: $0.units, plan: $0.plan) }
    var writer = ReviewWriter(
        change: compiled.change, loaded: planned.compared.map(\.unit), pinned: scratch + "/pinned")
    var review = Review()
    review.diffs = reviewDiffs(compiled.change)
    review.ignored = compiled.ignored.map { IgnoredSource(path: $0.path, why: $0.why) }
    review.targets = try targets.map { try writer.describe($0) }
    review.files = writer.sources.names
    return try review.encoded()
}

/// The diffs as they were given, or one made of the two trees.
private func reviewDiffs(_ change: SourceChange?) -> [ReviewDiff] {
    guard let change else { return [] }
    var room = Review.maximumDiffBytes
    if !change.diffs.isEmpty {
        return change.diffs.map {
            bounded($0.name, digest: Digest.sha256($0.bytes), String(decoding: $0.bytes, as: UTF8.self), &room)
        }
    }
    return change.files.map { bounded($0.path, digest: nil, unifiedDiff(of: $0), &room) }.filter { !$0.text.isEmpty }
}

private func bounded(_ name: String, digest: String?, _ text: String, _ room: inout Int) -> ReviewDiff {
    guard text.utf8.count > room else {
        room -= text.utf8.count
        return ReviewDiff(name: name, digest: digest, text: text)
    }
    var kept = ""
    var omitted = 0
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        if omitted > 0 || line.utf8.count >= room {
            omitted += 1
        } else {
            room -= line.utf8.count + 1
            kept += line + "\n"
        }
    }
    return ReviewDiff(name: name, digest: digest, text: kept, omittedLines: omitted)
}

/// Describes targets one after the other; keeps what they share.
struct ReviewWriter {
    var sources: SourceTexts
    let loaded: [String: LoadedUnit]
    private var tables: [String: LineTable] = [:]
    private var room = Review.maximumInstructions

    init(change: SourceChange?, loaded: [LoadedUnit], pinned: String) {
        sources = SourceTexts(change, pinned: pinned)
        self.loaded = Dictionary(loaded.map { ($0.name, $0) }) { first, _ in first }
    }

    mutating func describe(_ target: ReviewedTarget) throws -> ReviewTarget {
        var functions = target.plan.functions.map { describe($0, target) }
        addCallers(to: &functions, target)
        return ReviewTarget(
            buildID: target.plan.buildID, functions: functions,
            data: zip(target.plan.units, target.units).flatMap(reviewData), proof: proof(target.units))
    }

    private mutating func describe(_ function: FunctionPlan, _ target: ReviewedTarget) -> ReviewFunction {
        var described = ReviewFunction(name: function.description.name)
        guard target.units.indices.contains(function.unit), let symbol = function.newSymbols.first else {
            return described
        }
        let unit = target.units[function.unit]
        guard let new = unit.new.entityOfSymbol[symbol] else { return described }
        let (before, after) = (unit.correlation.originalOf[new], new)
        let original = before.map { listing($0, of: unit, isNew: false) }
        let changed = listing(after, of: unit, isNew: true)
        let count = (original?.offsets.count ?? 0) + changed.offsets.count
        guard count <= room else {
            described.omitted = "the patch has more code than a review shows"
            return described
        }
        room -= count
        (described.original, described.new) = (original, changed)
        return described
    }

    private mutating func listing(_ entity: EntityIndex, of unit: MatchedUnit, isNew: Bool) -> Listing {
        let view = isNew ? unit.new : unit.original
        let table = lineTable(view)
        let isPinned = isNew && loaded[unit.name]?.keptLines != nil
        var listing = ListingReader(view: view, originals: isNew ? unit : nil).read(entity)
        let places = listing.rows.map { row in
            table.row(section: row.section, offset: row.offset).flatMap { line in
                line.file.map {
                    sources.place(table.files[$0], line.line, isNew: isNew, isPinned: isPinned)
                }
            }
        }
        listing.add(places)
        return listing.value
    }

    /// Without debug information, or where it is damaged, instructions stand alone.
    private mutating func lineTable(_ view: ObjectView) -> LineTable {
        let path = view.file.path
        if let known = tables[path] { return known }
        let code = Set(view.file.sections.filter(\.isExecutable).map(\.index))
        let table = (try? LineTable.read(path: path, sections: code)) ?? LineTable()
        tables[path] = table
        return table
    }

    private func proof(_ units: [MatchedUnit]) -> ReviewProof {
        var sizes: [UInt64: UInt64] = [:]
        for unit in units {
            for name in unit.matched.matched {
                guard let address = unit.matched.addresses[name] else { continue }
                sizes[address] = max(sizes[address] ?? 0, unit.matched.sizes[name] ?? 0)
            }
        }
        return ReviewProof(
            units: units.count, functions: sizes.count, bytes: Int(clamping: sizes.values.reduce(0, &+)))
    }
}
