/// A relocatable x86-64 object to be written: sections, symbols and relocations in the order they are added.
///
/// `addSection` and `addSymbol` give numbers, by which symbols name sections and relocations name symbols. Section
/// numbers are those of the written file; symbols get new ones, because ELF wants local symbols first. The same
/// contents give the same bytes. Sections of COMDAT groups are written as ordinary ones.
public struct ObjectWriter: Sendable {
    /// By number; the null section is 0. Of each, `index`, `address`, `fileOffset`, `info` and `comdat` are ignored;
    /// `link` is the number of another section (for `SHF_LINK_ORDER`).
    public var sections: Indexed<Section>
    /// By number; the null symbol is 0.
    public var symbols: Indexed<Symbol>

    public init() {
        sections = [Section(index: 0, name: "", type: 0, flags: 0, size: 0, data: [])]
        symbols = [Symbol(index: 0, name: "", value: 0, size: 0, binding: .local, kind: .none, place: .undefined)]
    }

    /// Adds a section whose relocations, if any, name symbols by this writer's numbers. Gives its number.
    @discardableResult
    public mutating func addSection(_ section: Section) -> SectionIndex {
        var section = section
        section.index = sections.endIndex
        sections.append(section)
        return section.index
    }

    /// Adds a section: `type` is `SHT_…` (1 is PROGBITS, 8 NOBITS), `flags` are `SHF_…` (2 ALLOC, 1 WRITE, 4 EXECINSTR).
    /// `size` need only be given for NOBITS. Gives its number.
    @discardableResult
    public mutating func addSection(
        name: String, type: UInt32 = 1, flags: UInt64, alignment: UInt64 = 1, entrySize: UInt64 = 0,
        data: [UInt8] = [], size: UInt64? = nil, relocations: [Relocation] = []
    ) -> SectionIndex {
        addSection(
            Section(
                index: 0, name: name, type: type, flags: flags, size: size ?? UInt64(data.count), alignment: alignment,
                entrySize: entrySize, data: data, relocations: relocations))
    }

    /// Adds a symbol; its `index` is ignored. Gives its number.
    @discardableResult
    public mutating func addSymbol(_ symbol: Symbol) -> SymbolIndex {
        var symbol = symbol
        symbol.index = symbols.endIndex
        symbols.append(symbol)
        return symbol.index
    }

    /// Adds a symbol. Gives its number.
    @discardableResult
    public mutating func addSymbol(
        name: String, binding: Symbol.Binding = .local, kind: Symbol.Kind = .none,
        visibility: Symbol.Visibility = .default, place: Symbol.Place, value: UInt64 = 0, size: UInt64 = 0
    ) -> SymbolIndex {
        addSymbol(
            Symbol(
                index: 0, name: name, value: value, size: size, binding: binding, kind: kind, visibility: visibility,
                place: place))
    }

    /// Adds a relocation to the section with this number; `relocation.symbol` is a number of `addSymbol`.
    public mutating func addRelocation(_ relocation: Relocation, to section: SectionIndex) {
        sections[section].relocations.append(relocation)
    }
}
