import CodeModel
import ObjectFiles
import Targets

/// What the fields of matched code refer to, in the object and in the target.
extension Matcher {
    /// The definition of the unit that a field refers to.
    func referent(_ reading: FieldReading) -> EntityIndex? {
        if let exact = reading.exact { return exact.entity }
        if let known = plain.entityOfSymbol[reading.relocation.symbol] { return known }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let section = symbol.sectionIndex, symbol.kind == .section else { return nil }
        // The field counts from the instruction's end, mostly 4 bytes on.
        let bias: Int64 = reading.relocation.type.isPCRelative ? 4 : 0
        let offset = Int64(bitPattern: symbol.value) &+ reading.relocation.addend &+ bias
        return plain.entity(section: section, offset: offset)
    }

    /// The section a direct reference names and the place it implies; literals may be merged, so they imply nothing.
    func sectionPlace(_ reading: FieldReading) -> (SectionIndex, UInt64)? {
        guard let symbolAddress = reading.symbolAddress else { return nil }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let section = symbol.sectionIndex, !plain.file.sections[section].isMergeable,
            !plain.file.sections[section].isThreadLocal, target.slotOfPLTEntry(at: symbolAddress) == nil,
            !mayBeOverridden(symbol)
        else { return nil }
        return (section, symbolAddress &- symbol.value)
    }

    /// The linker takes one of all weak definitions, or the strong one, and leaves the others where they are, unused. Of
    /// COMDAT groups it leaves one only.
    func mayBeOverridden(_ symbol: Symbol) -> Bool {
        guard symbol.binding == .weak, let section = symbol.sectionIndex else { return false }
        return plain.file.sections[section].comdat == nil
    }

    /// Where another unit's definition lies that the linker took for this weak one.
    func overriding(_ index: EntityIndex) -> UInt64? {
        let entity = plain.entities[index]
        guard entity.symbols.allSatisfy({ mayBeOverridden(plain.file.symbols[$0]) }) else { return nil }
        guard let address = taken(for: entity.names) else { return nil }
        let own = moved[index] ?? places[entity.section].map { $0 &+ entity.offset }
        return own == address ? nil : address
    }

    /// The same of one name among several: an alias may be weak where the definition is not.
    func overriding(_ name: String, of index: EntityIndex) -> UInt64? {
        let symbols = plain.entities[index].symbols.map { plain.file.symbols[$0] }
        guard symbols.count > 1, symbols.contains(where: { $0.name == name && mayBeOverridden($0) }) else { return nil }
        return taken(for: [name])
    }

    /// The one address at which the target has globals of these names.
    private func taken(for names: [String]) -> UInt64? {
        let addresses = Set(
            names.flatMap { target.definitions(of: $0) }.filter { $0.binding != .local }.map(\.value))
        return addresses.count == 1 ? addresses.first : nil
    }

    func agrees(_ reading: FieldReading) -> Bool {
        let symbol = plain.file.symbols[reading.relocation.symbol]
        // A slot's own name is the proof, whether the field names the slot or, for what is defined elsewhere or may be
        // preempted, a PLT entry of the linker's making. A slot without a name is relocated to the target's definition.
        if let slot = reading.slot ?? reading.symbolAddress.flatMap({ target.slotOfPLTEntry(at: $0) }) {
            guard let name = target.slotNames[slot] else { return true }
            let meant = VersionedName(symbol)
            if let version = meant.version, version != target.slotVersions[slot] { return false }
            return [name, "__real_" + name].contains(meant.base) || name == "__wrap_" + meant.base
        }
        if let (section, place) = sectionPlace(reading) {
            if let exact = reading.exact, let address = moved[exact.entity] { return exact.address == address }
            if let index = referent(reading), let address = moved[index] {
                return place &+ plain.entities[index].offset == address
            }
            return places[section] == place
        }
        guard let address = reading.symbolAddress, !symbol.isDefined || mayBeOverridden(symbol),
            symbol.kind != .threadLocal
        else { return true }
        let definitions = target.definitions(of: symbol.name)
        return definitions.isEmpty || isDestination(address, of: symbol.name)
    }

    func isMeant(_ address: UInt64, by symbol: Symbol) -> Bool {
        if !target.definitions(of: symbol.name).isEmpty { return isDestination(address, of: symbol.name) }
        // What no file defines is at address 0.
        return symbol.binding != .weak && target.isLoaded(address)
    }

    /// `ld --wrap=f` leads what calls `f` to `__wrap_f`, and what calls `__real_f` to `f`.
    func isDestination(_ address: UInt64, of name: String) -> Bool {
        var names = [name, "__wrap_" + name]
        if name.hasPrefix("__real_") { names.append(String(name.dropFirst(7))) }
        return names.contains { target.definitions(of: $0).contains { $0.value == address } }
    }
}
