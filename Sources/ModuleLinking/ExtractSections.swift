import Closing
import CodeModel
import Diagnostics
import ObjectFiles
import PatchFormat

/// A travelling section: where it comes from, and the copy that goes into the module.
struct TravellingSection {
    var key: SectionKey
    /// Number in the module's object.
    var number: SectionIndex
    var section: Section
    /// Functions that start in it, for messages and for the ranges of references.
    var symbols: [Symbol]

    /// The function (or object) that holds the byte at `offset`, for messages.
    func name(at offset: UInt64) -> String {
        let holder = symbols.last { $0.value <= offset && offset - $0.value < max($0.size, 1) && !$0.name.isEmpty }
        return holder?.name ?? section.name
    }
}

extension ModuleBuilder {
    /// Copies every travelling section, without its relocations, and the names in it.
    mutating func addSections() {
        for unit in plan.units.indices {
            for side in [Side.new, .original] {
                let travelling = side == .new ? plan.units[unit].newSections : plan.units[unit].originalSections
                if travelling.isEmpty { continue }
                let suffix = side == .new ? "" : " (original)"
                let name = plan.units[unit].name.split(separator: "/").last.map(String.init) ?? ""
                object.addSymbol(name: name + suffix, kind: .file, place: .absolute)
                for section in travelling.sorted() { addSection(SectionKey(unit: unit, side: side, section: section)) }
            }
        }
        for function in plan.functions { noteEntry(function) }
    }

    private mutating func addSection(_ key: SectionKey) {
        let file = objectFile(key.unit, key.side)
        guard file.sections.indices.contains(key.section) else {
            return refuse(.badInput, plan.units[key.unit].name, "section \(key.section) is not in the object")
        }
        var section = file.sections[key.section]
        guard !isLeftBehind(section) else { return }
        guard section.isAllocated, !section.isThreadLocal else {
            return refuse(.newThreadLocal, section.name, "thread-local storage can't be added to running threads")
        }
        let symbols = file.symbols(in: key.section).filter { $0.kind == .function || $0.kind == .object }
        let original = section
        section.relocations = []
        // Nothing is merged with anything: a reference by section and offset stays right.
        section.flags &= 0x7
        section.entrySize = 0
        section.link = 0
        let number = add(section)
        sectionNumbers[key] = number
        sites.append(
            TravellingSection(
                key: key, number: number, section: original, symbols: symbols.sorted { $0.value < $1.value }))
        addNames(file.symbols(in: key.section), key, number)
    }

    /// Sections that mean nothing in a module, or are written anew (unwind data): notes, lists of pads.
    private func isLeftBehind(_ section: Section) -> Bool {
        section.name.hasPrefix(".eh_frame") || section.name.hasPrefix(".note.")
            || section.name == "__patchable_function_entries"
    }

    private mutating func addNames(_ symbols: [Symbol], _ key: SectionKey, _ number: SectionIndex) {
        for var symbol in symbols where symbol.kind != .section && !isUnnamed(symbol) {
            if symbol.kind == .indirect { refuse(.relocationType, symbol.name, "a new IFUNC can't be resolved") }
            if symbol.binding != .local, key.side == .new, exports[symbol.name] == nil {
                exports[symbol.name] = (number, symbol.value)
            }
            if key.side == .original { symbol.name += ".original" }
            symbol.binding = .local
            symbol.visibility = .default
            symbol.place = .section(number)
            object.addSymbol(symbol)
        }
    }

    /// The compiler's own labels say nothing to a reader.
    private func isUnnamed(_ symbol: Symbol) -> Bool {
        symbol.name.isEmpty || (symbol.binding == .local && symbol.name.hasPrefix(".L"))
    }

    private mutating func noteEntry(_ function: FunctionPlan) {
        guard let original = function.description.original else { return }
        let entry = Binding(kind: .target, symbol: function.description.name, address: original.range.address)
        for (side, symbols) in [(Side.new, function.newSymbols), (.original, function.oldSymbols)] {
            guard let first = symbols.first, let symbol = symbol(first, function.unit, side),
                let section = symbol.sectionIndex
            else { continue }
            let key = SectionKey(unit: function.unit, side: side, section: section)
            replacedEntries[key, default: [:]][symbol.value] = entry
        }
    }

    func symbol(_ index: SymbolIndex, _ unit: Int, _ side: Side) -> Symbol? {
        guard plan.units.indices.contains(unit) else { return nil }
        let symbols = objectFile(unit, side).symbols
        return symbols.indices.contains(index) ? symbols[index] : nil
    }

    /// The section of its own that a travelling common symbol gets.
    mutating func commonSection(_ symbol: Symbol, _ key: SymbolKey) -> SectionIndex {
        if let known = commons[key] { return known }
        let section = Section(
            index: 0, name: ".bss.\(symbol.name)", type: 8, flags: 3, size: symbol.size,
            alignment: max(symbol.value, 1), data: [])
        let number = add(section)
        commons[key] = number
        object.addSymbol(name: symbol.name, kind: .object, place: .section(number), size: symbol.size)
        return number
    }
}
