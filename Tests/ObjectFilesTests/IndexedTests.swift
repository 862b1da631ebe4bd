import ObjectFiles
import Testing

@Suite struct IndexedTests {
    private let symbols: Indexed<Symbol> = [
        Symbol(index: 0, name: "", value: 0, size: 0, binding: .local, kind: .none, place: .undefined),
        Symbol(index: 1, name: "f", value: 0, size: 1, binding: .global, kind: .function, place: .section(1)),
    ]

    @Test func aNumberOutsideOfTheTableIsNoIndex() {
        #expect(symbols.index(exactly: UInt32(1)) == 1)
        #expect(symbols.index(exactly: UInt32(2)) == nil)
        #expect(symbols.index(exactly: UInt64.max) == nil)
        #expect(symbols.index(exactly: -1) == nil)
        #expect(Indexed<Symbol>().index(exactly: 0) == nil)
    }

    @Test func elementsAreCountedInTheirOrder() {
        #expect(symbols.enumerated().allSatisfy { number, symbol in number == symbol.index })
        #expect(symbols.indices.map { symbols[$0].name } == ["", "f"])
        #expect(symbols.endIndex == 2 && "\(symbols.endIndex)" == "2")
    }
}
