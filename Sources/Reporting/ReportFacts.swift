import PatchFormat
import Reviewing

/// What the page is made of.
struct ReportFacts {
    var bundle: Bundle
    /// nil: the bundle has none.
    var review: Review?
    var check: ModuleCheck
    var functions: [Entry] = []

    /// A function of the patch; `number` is its place on the page.
    struct Entry {
        var number: Int
        var target: ManifestTarget
        var function: PatchedFunction
        var review: ReviewFunction?
        /// The module's own code, where the review has none.
        var module: Listing?
        var id: HTML { "f\(number)" }
    }

    var manifest: Manifest { bundle.manifest }

    init(_ bundle: Bundle) throws {
        self.bundle = bundle
        review = try bundle.review.map { try Review.decode($0, of: bundle.manifest) }
        check = ModuleCheck(bundle, review)
        for (index, target) in bundle.manifest.targets.enumerated() {
            for (place, function) in target.functions.enumerated() {
                functions.append(
                    Entry(
                        number: functions.count + 1, target: target, function: function,
                        review: review?.targets[index].functions[place], module: check.listings[index][place]))
            }
        }
    }

    var replaced: Int { functions.count { $0.function.change == .changed } }
    var added: Int { functions.count - replaced }
    var values: Int { manifest.targets.reduce(0) { $0 + $1.values.count } }
    /// Decisions, and notes that no rule decides.
    var questions: Int { manifest.decisions.count + manifest.review.count }

    /// By source file: the place of its diff on the page.
    var diffPlaces: [String: HTML] {
        var places: [String: HTML] = [:]
        for (number, diff) in (review?.diffs ?? []).enumerated() {
            for (index, file) in DiffView.split(diff.text).files.enumerated() where places[file.path] == nil {
                places[file.path] = "d\(number)-\(index)"
            }
        }
        return places
    }

    /// Of the diffs, those that are not what the manifest's provenance names.
    var strangeDiffs: [String] {
        (review?.diffs ?? []).filter { diff in
            guard let digest = diff.digest else { return false }
            let isWhole = diff.omittedLines == 0
            // Bytes that are no UTF-8 can't be compared through text.
            let differs = isWhole && !diff.text.contains("\u{fffd}") && Digest.sha256(Array(diff.text.utf8)) != digest
            return differs || !manifest.provenance.diffDigests.contains(digest)
        }.map(\.name)
    }

    /// What contradicts itself in the bundle: nobody should sign it.
    var contradictions: [String] {
        check.differences + strangeDiffs.map { "\($0): the diff shown is not the one that the manifest names" }
    }
}
