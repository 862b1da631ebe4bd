import PatchFormat
import Reviewing
import Testing

@testable import Reporting

/// `review.json` is outside data: whatever is in it, it is refused or shown, and never followed out of bounds.
@Suite struct ReviewCodingTests {
    private func refusal(_ bend: (inout Review) -> Void) throws -> String? {
        let place = SourcePlace(file: 0, line: 1, text: "x", isTouched: false)
        let listing = PageSamples.listing(["je", "ret"], targets: [0: 1], places: [place])
        var review = PageSamples.review([ReviewFunction(name: "parse", original: listing, new: listing)])
        bend(&review)
        let bundle = try PageSamples.bundle(PageSamples.manifest([PageSamples.changed("parse")]), review)
        return PageSamples.rule { _ = try reportPage(bundle) }
    }

    @Test func aReviewOfThePatchIsRead() throws {
        #expect(try refusal { _ in } == nil)
    }

    @Test func countsAndIndicesOutOfRangeAreRefused() throws {
        let bends: [(inout Review) -> Void] = [
            { $0.targets[0].functions[0].new?.targets[0] = 2 },
            { $0.targets[0].functions[0].new?.targets[0] = -2 },
            { $0.targets[0].functions[0].new?.lines[0] = 1 },
            { $0.targets[0].functions[0].new?.lines = [0] },
            { $0.targets[0].functions[0].new?.parts = [1] },
            { $0.targets[0].functions[0].new?.parts = [Int.max, 1] },
            { $0.targets[0].functions[0].new?.parts = [-1, 3] },
            { $0.targets[0].functions[0].new?.offsets[1] = -1 },
            { $0.targets[0].functions[0].new?.offsets[1] = Int.max },
            { $0.targets[0].functions[0].original?.places[0].file = 1 },
            { $0.targets[0].functions[0].original?.size = Int.min },
            { $0.targets[0].functions[0].moreCallers = -1 },
            { $0.targets[0].functions[0].name = "other" },
            { $0.targets[0].functions = [] },
            { $0.targets = [] },
            { $0.targets[0].buildID = "00" },
            { $0.targets[0].proof.bytes = -1 },
            { $0.files = [] },
        ]
        for (number, bend) in bends.enumerated() { #expect(try refusal(bend) == "bad-bundle", "bend \(number)") }
    }

    @Test func anotherMajorVersionIsRefused() throws {
        #expect(try refusal { $0.formatVersion = "2.0" } == "format-version")
        #expect(try refusal { $0.formatVersion = "1.9" } == nil)
    }

    @Test func textThatIsNoReviewIsRefused() throws {
        let manifest = PageSamples.manifest([PageSamples.changed("parse")])
        for text in ["", "[]", "{}", "{\"a\":1,\"a\":1}", "{\"formatVersion\":\"1.0\"}", "1e9"] {
            #expect(
                PageSamples.rule { _ = try Review.decode(Array(text.utf8), of: manifest) } == "bad-bundle", "\(text)")
        }
    }
}
