import PatchSwitching
import Testing

@Suite struct ScanTableTests {
    private func table(_ intervals: [(UInt64, UInt64)]) -> ScanTable {
        ScanTable(intervals.map { ScanTable.Interval(first: $0.0, last: $0.1, name: "\($0.0)") })
    }

    @Test("intervals are closed, and may overlap")
    func bounds() {
        let table = table([(100, 200), (150, 160), (300, 300)])
        let inside: [UInt64] = [100, 155, 161, 200, 300]
        let outside: [UInt64] = [0, 99, 201, 299, 301, .max]
        #expect(inside.allSatisfy(table.contains))
        #expect(!outside.contains(where: table.contains))
        #expect(table.interval(holding: 161)?.name == "100")
    }

    @Test("an empty table holds nothing, and an interval that ends before it begins is none")
    func empty() {
        #expect(table([]).isEmpty && !table([]).contains(0) && table([(5, 4)]).isEmpty)
    }

    @Test("the first word that hits is found, and the next one from there on")
    func words() {
        let words: [UInt64] = [0, 7, 150, 3, 300]
        let table = table([(100, 200), (300, 300)])
        words.withUnsafeBytes { bytes in
            #expect(table.firstHit(in: bytes) == 2)
            #expect(table.firstHit(in: bytes, from: 3) == 4)
            #expect(table.firstHit(in: bytes, from: 5) == nil)
        }
    }
}
