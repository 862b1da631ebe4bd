import Reviewing
import Testing

@testable import Reporting

@Suite struct AlignmentTests {
    private func marks(_ original: Listing, _ new: Listing) -> [ListingRow.Mark] {
        alignListings(original, new).map(\.mark)
    }

    @Test func equalCodeStandsBesideEachOtherWhereverItLies() {
        let original = PageSamples.listing(["push %rbx", "mov %rdi,%rbx", "ret"])
        let new = PageSamples.listing(["push %rbx", "test %rdi,%rdi", "mov %rdi,%rbx", "ret"])
        let rows = alignListings(original, new)
        #expect(rows.map(\.original) == [0, nil, 1, 2])
        #expect(rows.map(\.new) == [0, 1, 2, 3])
        #expect(rows.map(\.mark) == [.equal, .added, .equal, .equal])
    }

    @Test func aBranchToTheSameInstructionIsEqual() {
        let original = PageSamples.listing(["je", "nop", "ret"], targets: [0: 2])
        let new = PageSamples.listing(["je", "nop", "inc %eax", "ret"], targets: [0: 3])
        #expect(marks(original, new) == [.equal, .equal, .added, .equal])
    }

    @Test func aBranchToAnotherInstructionIsMarked() {
        let original = PageSamples.listing(["je", "nop", "ret"], targets: [0: 2])
        let new = PageSamples.listing(["je", "nop", "ret"], targets: [0: 1])
        #expect(marks(original, new) == [.otherTarget, .equal, .equal])
    }

    @Test func aBranchToEqualCodeElsewhereIsEqual() {
        // Two pieces of cold code have changed places.
        let original = PageSamples.listing(
            ["je", "ret", "inc %eax", "jmp", "dec %eax", "jmp"], targets: [0: 2, 3: 1, 5: 1])
        let new = PageSamples.listing(
            ["je", "ret", "dec %eax", "jmp", "inc %eax", "jmp"], targets: [0: 4, 3: 1, 5: 1])
        #expect(alignListings(original, new).first?.mark == .equal)
        // The piece does something else now.
        let other = PageSamples.listing(
            ["je", "ret", "dec %eax", "jmp", "inc %ebx", "jmp"], targets: [0: 4, 3: 1, 5: 1])
        #expect(alignListings(original, other).first?.mark == .otherTarget)
    }

    @Test func whatIsReplacedStandsInTheSameRow() {
        let rows = alignListings(
            PageSamples.listing(["mov $0x1,%eax", "ret"]), PageSamples.listing(["mov $0x2,%eax", "ret"]))
        #expect(rows.map(\.original) == [0, 1])
        #expect(rows.map(\.new) == [0, 1])
        #expect(rows.map(\.mark) == [.removed, .equal])
    }

    @Test func longEqualStretchesAreFoldedAndShortOnesAreNot() {
        let filler = (0..<30).map { "mov $\($0),%eax" }
        let rows = alignListings(
            PageSamples.listing(filler + ["nop", "ret"]), PageSamples.listing(filler + ["hlt", "ret"]))
        let folded = stretches(rows).filter(\.isEqual).map(\.rows)
        #expect(folded == [0..<26])
    }

    @Test func everyRowIsShownOnce() {
        let filler = (0..<30).map { "mov $\($0),%eax" }
        let rows = alignListings(
            PageSamples.listing(filler), PageSamples.listing(Array(filler.shuffled().prefix(20)) + filler.prefix(9)))
        #expect(stretches(rows).flatMap { Array($0.rows) } == Array(rows.indices))
    }
}
