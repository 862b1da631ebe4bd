import CodeModel
import ObjectFiles
import Targets

/// What of a match is proved.
extension Matcher {
    /// In another link's target equal bytes alone prove nothing where a neighbour's place was only guessed from.
    mutating func dropUnproved() {
        for index in verified.keys {
            guard
                let address = moved[index]
                    ?? places[plain.entities[index].section].map({ $0 &+ plain.entities[index].offset }),
                !isProved(address, of: index)
            else { continue }
            verified[index] = nil
            moved[index] = nil
            unproved.insert(index)
            mismatches[index] = .other(
                "its code is where its neighbours lead to, but nothing in the target proves that it is this function")
        }
    }

    /// The very file's symbols are proved; another link's are where the name is known at that address. What the symbol
    /// table doesn't name can't be asked.
    func isProved(_ address: UInt64, of index: EntityIndex) -> Bool {
        guard target.translated != nil else { return true }
        let entity = plain.entities[index]
        return definitions(of: entity, guesses: true).isEmpty
            || definitions(of: entity).contains { $0.value == address }
    }

    func result() -> UnitMatch {
        var unit = UnitMatch()
        let exact = exactAddresses()
        for (index, entity) in plain.entities.enumerated() {
            if let other = overriding(index) {
                for name in entity.names { unit.addresses[name] = other }
                continue
            }
            // Whether this one was taken, or which other, is not proved.
            if entity.symbols.contains(where: { mayBeOverridden(plain.file.symbols[$0]) }),
                entity.names.contains(where: { target.isUnproved($0) })
            {
                continue
            }
            if verified[index] != nil { unit.matched.formUnion(entity.names) }
            if let mismatch = mismatches[index] {
                // Not in this target at all: a name that only others have.
                if definitions(of: entity, guesses: true).isEmpty { continue }
                for name in entity.names { unit.mismatches[name] = mismatch.text }
                if unproved.contains(index) { unit.unproved.formUnion(entity.names) }
            }
            guard let address = exact[index] ?? address(of: index) else { continue }
            for name in entity.names { unit.addresses[name] = overriding(name, of: index) ?? address }
            if entity.kind == .function { for name in entity.names { unit.sizes[name] = entity.size } }
        }
        addUndefined(to: &unit)
        unit.dropped = dropped()
        unit.likelyCause = likelyCause(
            mismatches.values, matched: verified.count, object: plain.file, target: target.file)
        return unit
    }

    /// Static definitions that the link left out: the symbol table names nothing of their section, nor of any that refers to
    /// it.
    private func dropped() -> Set<String> {
        var absent = Set(plain.file.sections.indices.filter(mayBeAbsent))
        guard absent.contains(where: { plain.entitiesInSection[$0] != nil }) else { return [] }
        let users = sectionUsers
        while let kept = absent.first(where: { section in
            let known = users[section, default: []]
            // What nothing names is absent with its users: a function's jump table.
            return !known.isSubset(of: absent) || (known.isEmpty && plain.entitiesInSection[section] == nil)
        }) { absent.remove(kept) }
        let entities = absent.flatMap { plain.entitiesInSection[$0, default: []] }.map { plain.entities[$0] }
        return Set(entities.filter { !$0.isGlobal && !$0.isVague }.flatMap(\.names))
    }

    private func mayBeAbsent(_ section: SectionIndex) -> Bool {
        guard plain.file.sections[section].isAllocated, places[section] == nil else { return false }
        return plain.entitiesInSection[section, default: []].allSatisfy { index in
            let entity = plain.entities[index]
            return entity.kind != .threadLocal && moved[index] == nil && entity.names.allSatisfy(target.lacks)
        }
    }

    /// By section of the unit: those that refer to it.
    private var sectionUsers: [SectionIndex: Set<SectionIndex>] {
        var users: [SectionIndex: Set<SectionIndex>] = [:]
        for section in plain.file.sections where section.isAllocated && section.name != ".eh_frame" {
            for relocation in section.relocations {
                guard case .section(let used) = plain.file.symbols[relocation.symbol].place, used != section.index
                else {
                    continue
                }
                users[used, default: []].insert(section.index)
            }
        }
        return users
    }

    /// What the code calls by a name that several files define, or that the link gave another meaning (`--wrap`,
    /// `--defsym`): the references themselves tell.
    func addUndefined(to unit: inout UnitMatch) {
        var contradicted: Set<String> = []
        for reading in verified.values.joined() {
            let symbol = plain.file.symbols[reading.relocation.symbol]
            guard !symbol.isDefined, symbol.kind != .threadLocal else {
                addThreadLocal(symbol, reading, to: &unit)
                continue
            }
            var address: UInt64?
            if let slot = reading.slot ?? reading.symbolAddress.flatMap({ target.slotOfPLTEntry(at: $0) }) {
                if let name = target.slotNames[slot] {
                    unit.imports[symbol.name] = name
                } else {
                    // The PLT entry of an indirect function of the target's own.
                    address = reading.symbolAddress
                }
            } else if let direct = reading.symbolAddress, isMeant(direct, by: symbol) {
                address = direct
            }
            guard let address else { continue }
            if let known = unit.addresses[symbol.name], known != address { contradicted.insert(symbol.name) }
            unit.addresses[symbol.name] = address
        }
        // Where the symbol table knows the name, one reference may go through a PLT entry and another be direct.
        for name in contradicted where target.isUnproved(name) { unit.addresses[name] = nil }
    }

    private func addThreadLocal(_ symbol: Symbol, _ reading: FieldReading, to unit: inout UnitMatch) {
        guard !symbol.isDefined, target.translated != nil, let place = reading.thread,
            let offset = target.threadLocals.offset(place)
        else { return }
        unit.threadOffsets[symbol.name] = offset
    }

    func address(of index: EntityIndex) -> UInt64? {
        let entity = plain.entities[index]
        // Another link's section may be in pieces though all references to it agree: they may all be to one piece.
        if let address = moved[index], isProved(address, of: index) { return address }
        if entity.kind != .threadLocal, let place = places[entity.section],
            isProved(place &+ entity.offset, of: index)
        {
            return place &+ entity.offset
        }
        // No code that was verified refers to it: only a name of its own can tell.
        let candidates = Set(definitions(of: entity, guesses: true).map(\.value))
        return candidates.count == 1 && !definitions(of: entity).isEmpty ? candidates.first : nil
    }
}
