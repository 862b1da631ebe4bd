import CElfutils

extension ElfReader {
    /// Symbols of the section of this type (`SHT_SYMTAB` or `SHT_DYNSYM`); none when there is no such section.
    func readSymbols(tableType: UInt32) throws(ObjectFileError) -> Indexed<Symbol> {
        guard let section = sections.first(where: { $0.type == tableType }) else { return [] }
        guard let names = sections.index(exactly: section.link), sections[names].type == SHT_STRTAB else {
            throw fault(.malformed, in: section, "its string table, section \(section.link), is none")
        }
        let data = try table(section)
        let extended = try extendedIndices(of: section)
        let count = gelf_fsize(handle.elf, ELF_T_SYM, 1, UInt32(EV_CURRENT)).quotient(of: data.pointee.d_size)
        var symbols: Indexed<Symbol> = []
        symbols.reserveCapacity(count)
        for index in 0..<count {
            var raw = GElf_Sym()
            var extendedIndex: Elf32_Word = 0
            guard gelf_getsymshndx(data, extended, Int32(truncatingIfNeeded: index), &raw, &extendedIndex) != nil else {
                throw fault(.malformed, in: section, "symbol \(index): \(libelfMessage())")
            }
            symbols.append(try symbol(symbols.endIndex, raw, extendedIndex, hasExtended: extended != nil, in: section))
        }
        return symbols
    }

    /// The `SHT_SYMTAB_SHNDX` section that belongs to a symbol table.
    private func extendedIndices(of section: Section) throws(ObjectFileError) -> UnsafeMutablePointer<Elf_Data>? {
        let table = sections.first { $0.type == SHT_SYMTAB_SHNDX && $0.link == UInt32(section.index.rawValue) }
        guard let table else { return nil }
        return try self.table(table)
    }

    private func symbol(
        _ index: SymbolIndex, _ raw: GElf_Sym, _ extendedIndex: UInt32, hasExtended: Bool, in section: Section
    ) throws(ObjectFileError) -> Symbol {
        guard let name = elf_strptr(handle.elf, Int(section.link), Int(raw.st_name)) else {
            throw fault(.malformed, in: section, "the name of symbol \(index) lies outside the string table")
        }
        guard let binding = Symbol.Binding(rawValue: raw.st_info >> 4),
            let kind = Symbol.Kind(rawValue: raw.st_info & 0xf),
            let visibility = Symbol.Visibility(rawValue: raw.st_other & 3)
        else {
            throw fault(.unsupported, in: section, "symbol \(index) has unknown type or binding (\(raw.st_info))")
        }
        let place: Symbol.Place
        switch Int32(raw.st_shndx) {
        case SHN_UNDEF: place = .undefined
        case SHN_ABS: place = .absolute
        case SHN_COMMON: place = .common
        case SHN_XINDEX where hasExtended: place = try self.place(of: index, extendedIndex, in: section)
        case SHN_LORESERVE...:
            throw fault(.unsupported, in: section, "symbol \(index) has the reserved section index \(raw.st_shndx)")
        default: place = try self.place(of: index, UInt32(raw.st_shndx), in: section)
        }
        return Symbol(
            index: index, name: String(cString: name), value: raw.st_value, size: raw.st_size, binding: binding,
            kind: kind, visibility: visibility, place: place)
    }

    private func place(
        of index: SymbolIndex, _ number: UInt32, in section: Section
    ) throws(ObjectFileError) -> Symbol.Place {
        guard let at = sections.index(exactly: number) else {
            throw fault(.malformed, in: section, "symbol \(index) lies in section \(number), which does not exist")
        }
        return .section(at)
    }
}

extension Int {
    /// `other / self`, 0 where self is 0.
    fileprivate func quotient(of other: Int) -> Int { self > 0 ? other / self : 0 }
}
