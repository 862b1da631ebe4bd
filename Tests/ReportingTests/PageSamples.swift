import Diagnostics
import PatchFormat
import Reviewing

/// Bundles with review data that no build made, to be shown.
enum PageSamples {
    static let buildID = "00112233445566778899aabbccddeeff00112233"

    /// A listing of these instructions, four bytes each; `targets` by row.
    static func listing(
        _ text: [String], targets: [Int: Int] = [:], places: [SourcePlace] = [], lines: [Int]? = nil
    ) -> Listing {
        var listing = Listing()
        listing.parts = [text.count]
        listing.offsets = text.indices.map { $0 * 4 }
        listing.text = text
        listing.targets = text.indices.map { targets[$0] ?? -1 }
        listing.lines = lines ?? text.map { _ in places.isEmpty ? -1 : 0 }
        listing.places = places
        listing.size = text.count * 4
        return listing
    }

    static func changed(_ name: String, number: Int = 0, object: String = "a.o", reason: String = "it differs")
        -> PatchedFunction
    {
        let place = UInt64(number) * 0x100
        return PatchedFunction(
            name: name, object: object, change: .changed, reason: reason,
            original: OriginalFunction(
                range: AddressRange(address: 0x1000 + place, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                entry: Entry(kind: .padded, jumpOffset: 0, resumeOffset: 5), endsWithCall: false),
            newRanges: [AddressRange(address: 0x1000 + place, size: 64)], stub: 0x1080 + place, oldSlot: 0x100)
    }

    static func manifest(_ functions: [PatchedFunction], file: String = "served") -> Manifest {
        let layout = ModuleLayout(
            switchAddress: 0x200, bindingTable: 0x300, bindingCount: 0,
            memorySize: 0x2000 + UInt64(functions.count) * 0x100)
        return Manifest(
            id: "fix",
            targets: [
                ManifestTarget(
                    file: file, buildID: buildID, functions: functions, bindings: [], data: [], layout: layout)
            ])
    }

    static func review(_ functions: [ReviewFunction], data: [ReviewDatum] = []) -> Review {
        var review = Review()
        review.files = ["a.c"]
        review.targets = [
            ReviewTarget(
                buildID: buildID, functions: functions, data: data,
                proof: ReviewProof(units: 1, functions: 2, bytes: 3))
        ]
        return review
    }

    static func bundle(_ manifest: Manifest, _ review: Review?) throws -> Bundle {
        let modules = Dictionary(
            uniqueKeysWithValues: manifest.targets.map { ($0.module, [UInt8](repeating: 1, count: 64)) })
        return try Bundle.parse(
            try Bundle.write(manifest: manifest, modules: modules, review: try review?.encoded()))
    }

    /// The rule by which `body` is refused, or nil.
    static func rule(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? Refusal)?.rule ?? "not a refusal: \(error)"
        }
    }

    // MARK: hostile

    /// A text that would run a script, close a tag or an attribute, or turn what stands behind it.
    static let attack =
        "</code></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\"'`&amp;\u{202e}gnp.exe\u{200b}"

    /// The attack in every place of a bundle that the format lets it into.
    static func hostile() throws -> Bundle {
        var function = changed(attack, object: attack, reason: attack)
        function.original?.aliases = [attack]
        var manifest = manifest([function], file: attack.replacing("/", with: ""))
        manifest.cves = [attack]
        manifest.decisions = [Decision(rule: attack, subject: attack, why: attack)]
        manifest.review = [attack]
        manifest.provenance.compilers = [attack]
        manifest.provenance.commands = [attack]
        manifest.targets[0].bindings = [Binding(kind: .imported, symbol: attack, version: attack, library: attack)]
        manifest.targets[0].values = [ValuePatch(name: attack, address: 0x9000, original: "01", new: "02")]
        let control = attack + "\u{1}\u{1b}[31m\u{7f}\u{85}\u{2066}"
        let place = SourcePlace(file: 0, line: 1, text: control, isTouched: true)
        let shown = listing([control, "ret"], places: [place])
        let reviewed = ReviewFunction(
            name: attack, original: shown, new: listing(["nop", control], places: [place]),
            callers: [Caller(name: control, sites: 1, callers: [control + "2"])], moreCallers: 3,
            addressTaken: [control], omitted: control)
        var review = review(
            [reviewed],
            data: [
                ReviewDatum(
                    name: control, object: control, change: .changed, writable: false, size: 2, originalSize: 2,
                    original: control, new: "zz", pointers: [control])
            ])
        review.files = [control]
        review.diffs = [
            ReviewDiff(
                name: control, digest: control,
                text:
                    "\(control)\n--- a/\(control)\n+++ b/\(control)\n@@ -1,1 +1,1 @@ \(control)\n-\(control)\n+\(control)\n",
                omittedLines: 2)
        ]
        return try bundle(manifest, review)
    }
}
