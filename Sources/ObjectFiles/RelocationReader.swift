import CElfutils
import ElfFormat

extension ElfReader {
    /// Gives each section of a relocatable object its relocations, sorted by offset.
    mutating func readRelocations(symbolCount: Int) throws(ObjectFileError) {
        for table in sections.indices where sections[table].type == SHT_RELA || sections[table].type == SHT_REL {
            let section = sections[table]
            guard section.type == SHT_RELA else {
                throw fault(.unsupported, in: section, "relocations without addends are not used on x86-64")
            }
            guard let target = sections.index(exactly: section.info), target > 0 else {
                throw fault(.malformed, in: section, "it applies to section \(section.info), which does not exist")
            }
            let relocations = try relocations(in: section, symbolCount: symbolCount)
            if sections[target].isAllocated, let outside = relocations.first(where: { !fits($0, in: sections[target]) })
            {
                throw fault(
                    .malformed, in: section,
                    "\(outside.type) at offset 0x\(String(outside.offset, radix: 16)) lies outside its section")
            }
            sections[target].relocations = sorted(sections[target].relocations + relocations)
        }
    }

    private func fits(_ relocation: Relocation, in section: Section) -> Bool {
        let (end, overflow) = relocation.offset.addingReportingOverflow(UInt64(relocation.type.fieldSize))
        return !overflow && end <= section.size
    }

    /// A compiler writes them in order; only hand-written assembly and `ld -r` don't. Equal offsets keep their order.
    private func sorted(_ relocations: [Relocation]) -> [Relocation] {
        if zip(relocations, relocations.dropFirst()).allSatisfy({ $0.offset <= $1.offset }) { return relocations }
        return relocations.enumerated().sorted { ($0.element.offset, $0.offset) < ($1.element.offset, $1.offset) }
            .map(\.element)
    }

    /// Relocations of a linked file's allocated `SHT_RELA` and `SHT_RELR` sections, in file order.
    func readDynamicRelocations(symbolCount: Int) throws(ObjectFileError) -> [Relocation] {
        var all: [Relocation] = []
        for section in sections where section.isAllocated {
            if section.type == SHT_RELA {
                all += try relocations(in: section, symbolCount: symbolCount)
            } else if section.type == SHT_RELR {
                all += try packedRelocations(in: section)
            }
        }
        return all
    }

    private func relocations(in section: Section, symbolCount: Int) throws(ObjectFileError) -> [Relocation] {
        let data = try table(section)
        let count = data.pointee.d_size / 24
        var relocations: [Relocation] = []
        relocations.reserveCapacity(count)
        for index in 0..<count {
            var raw = GElf_Rela()
            guard gelf_getrela(data, Int32(truncatingIfNeeded: index), &raw) != nil else {
                throw fault(.malformed, in: section, "relocation \(index): \(libelfMessage())")
            }
            let symbol = Int(raw.r_info >> 32)
            // Symbol 0 means "no symbol", also where there is no symbol table at all.
            guard symbol < max(symbolCount, 1) else {
                throw fault(.malformed, in: section, "relocation \(index) names symbol \(symbol), which does not exist")
            }
            let type = RelocationType(rawValue: UInt32(truncatingIfNeeded: raw.r_info))
            relocations.append(
                Relocation(
                    offset: raw.r_offset, type: type, symbol: SymbolIndex(rawValue: symbol), addend: raw.r_addend))
        }
        return relocations
    }

    /// `SHT_RELR` (gABI): even words are addresses, odd ones bitmaps of the 63 words that follow. Each is a
    /// relative relocation whose addend lies in place.
    private func packedRelocations(in section: Section) throws(ObjectFileError) -> [Relocation] {
        var relocations: [Relocation] = []
        var next: UInt64 = 0
        let words = reader(of: section)
        for index in 0..<words.count / 8 {
            let word = try words.u64(index * 8)
            if word & 1 == 0 {
                relocations.append(try packedRelocation(at: word, in: section))
                next = word &+ 8
                continue
            }
            for bit in 0..<63 where word >> (UInt64(bit) + 1) & 1 == 1 {
                relocations.append(try packedRelocation(at: next &+ UInt64(bit) * 8, in: section))
            }
            next = next &+ 63 * 8
        }
        return relocations
    }

    private func packedRelocation(at address: UInt64, in section: Section) throws(ObjectFileError) -> Relocation {
        let place = sections.first {
            $0.isAllocated && !$0.isNoBits && address >= $0.address && address - $0.address < $0.size
                && $0.size - (address - $0.address) >= 8
        }
        guard let place else {
            throw fault(.malformed, in: section, "address 0x\(String(address, radix: 16)) lies in no section")
        }
        let value = try reader(of: place).i64(address - place.address)
        return Relocation(offset: address, type: .relative, symbol: 0, addend: value)
    }

    /// Marks the members of COMDAT groups with the group's signature.
    mutating func readGroups(_ symbols: Indexed<Symbol>) throws(ObjectFileError) {
        for index in sections.indices where sections[index].type == SHT_GROUP {
            let group = sections[index]
            let bytes = reader(of: group)
            var words: [UInt32] = []
            for number in 0..<bytes.count / 4 { words.append(try bytes.u32(number * 4)) }
            guard let flags = words.first, let name = symbols.index(exactly: group.info) else {
                throw fault(.malformed, in: group, "the group has no flags or no signature")
            }
            if flags & 1 == 0 { continue }
            let symbol = symbols[name]
            // `ld -r` may sign a group with a section symbol, which has no name of its own.
            let signature =
                symbol.name.isEmpty ? symbol.sectionIndex.map { sections[$0].name } ?? "" : symbol.name
            for member in words.dropFirst() {
                guard let number = sections.index(exactly: member), number > 0 else {
                    throw fault(.malformed, in: group, "its member \(member) is no section")
                }
                sections[number].comdat = signature
            }
        }
    }
}
