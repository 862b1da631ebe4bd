import ObjectFiles

/// The symbols of a rebuilt file, at the addresses that the official file has them at.
package struct TranslatedSymbols {
    /// With proved addresses; `FILE` symbols between them as they were.
    var proved: [Symbol] = []
    /// Those whose address is not proved, where their neighbours would have them; one for each guess.
    var guessed: [Symbol] = []
    /// Functions and data objects that were found, and how many there are.
    package var functions = (found: 0, all: 0)
    package var objects = (found: 0, all: 0)
    /// The first function that was not found.
    package var firstUnknown: String?
    /// What of the official code the rebuilt file has.
    package let code: OfficialCode

    init(rebuilt: ObjectFile, official: ObjectFile) {
        let alignment = BuildAlignment(rebuilt: rebuilt, official: official)
        code = OfficialCode(alignment, rebuilt: rebuilt, official: official)
        let exported = exportedAddresses(official)
        let threads = ThreadAlignment(alignment, rebuilt: rebuilt, official: official)
        for symbol in rebuilt.symbols {
            guard let section = symbol.sectionIndex, rebuilt.sections.indices.contains(section), !symbol.name.isEmpty,
                symbol.kind != .section, symbol.kind != .file
            else {
                proved.append(symbol)
                continue
            }
            let isCode = rebuilt.sections[section].isExecutable
            var address: UInt64?
            if symbol.kind == .threadLocal {
                address = threads.location(of: symbol.value, size: symbol.size)
            } else {
                address = isCode ? alignment.location(of: symbol.value) : alignment.data.locations[symbol.value]
                // The file itself says where its exports are.
                if symbol.binding != .local, let known = exported[symbol.name] { address = known }
            }
            let guesses = isCode ? alignment.guesses(of: symbol.value) : [symbol.value]
            add(symbol, isCode: isCode, address: address, guesses: guesses)
        }
        dropDisplaced(rebuilt, official)
    }

    private mutating func add(_ symbol: Symbol, isCode: Bool, address: UInt64?, guesses: [UInt64]) {
        if isCode, symbol.size > 0 {
            functions.all += 1
            if address != nil { functions.found += 1 } else if firstUnknown == nil { firstUnknown = symbol.name }
        } else if symbol.kind == .object {
            objects.all += 1
            if address != nil { objects.found += 1 }
        }
        if let address {
            proved.append(symbol.moved(to: address))
        } else {
            guessed += (guesses.isEmpty ? [symbol.value] : guesses).map { symbol.moved(to: $0) }
        }
    }

    /// Data must lie in the section of the same name, and in the same order as in the rebuilt file.
    private mutating func dropDisplaced(_ rebuilt: ObjectFile, _ official: ObjectFile) {
        let before = Dictionary(rebuilt.symbols.map { ($0.index, $0) }, uniquingKeysWith: { first, _ in first })
        var displaced: Set<SymbolIndex> = []
        var held: [SectionIndex: [(old: Symbol, new: UInt64)]] = [:]
        for symbol in proved {
            guard let section = symbol.sectionIndex, let old = before[symbol.index], symbol.kind == .object,
                rebuilt.sections.indices.contains(section)
            else { continue }
            held[section, default: []].append((old, symbol.value))
        }
        for (section, symbols) in held {
            guard let home = official.section(named: rebuilt.sections[section].name) else {
                displaced.formUnion(symbols.map(\.old.index))
                continue
            }
            let ordered = symbols.sorted { ($0.old.value, $0.new) < ($1.old.value, $1.new) }
            for item in ordered where item.new < home.address || item.new &- home.address &+ item.old.size > home.size {
                displaced.insert(item.old.index)
            }
            for (first, second) in zip(ordered, ordered.dropFirst()) where first.old.value != second.old.value {
                let distance = min(first.old.size, second.old.value - first.old.value)
                if second.new < first.new || second.new - first.new < distance {
                    displaced.formUnion([first.old.index, second.old.index])
                }
            }
        }
        guard !displaced.isEmpty else { return }
        objects.found -= displaced.count
        guessed += proved.filter { displaced.contains($0.index) }
        proved.removeAll { displaced.contains($0.index) }
    }
}

extension Symbol {
    fileprivate func moved(to address: UInt64) -> Symbol {
        var symbol = self
        symbol.value = address
        return symbol
    }
}
