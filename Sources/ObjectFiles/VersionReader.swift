import CElfutils

/// What a version index of `.gnu.version` stands for.
struct SymbolVersion {
    var name: String
    /// The library a needed version comes from.
    var library: String?
}

extension ElfReader {
    /// `.dynsym`, each symbol with its version of `.gnu.version`, `.gnu.version_r` and `.gnu.version_d`.
    func readDynamicSymbols() throws(ObjectFileError) -> Indexed<Symbol> {
        var symbols = try readSymbols(tableType: UInt32(SHT_DYNSYM))
        guard let section = sections.first(where: { $0.type == SHT_GNU_versym }) else { return symbols }
        let versions = try neededVersions().merging(try definedVersions()) { needed, _ in needed }
        let data = try table(section)
        for index in symbols.indices {
            var raw: GElf_Versym = 0
            guard gelf_getversym(data, Int32(truncatingIfNeeded: index.rawValue), &raw) != nil else {
                throw fault(.malformed, in: section, "it has no version for dynamic symbol \(index)")
            }
            symbols[index].versionHidden = raw & 0x8000 != 0
            let number = raw & 0x7fff
            // 0 is local and 1 is global without a version.
            if number < 2 { continue }
            guard let version = versions[number] else {
                throw fault(
                    .malformed, in: section, "dynamic symbol \(index) has version \(number), which is in no table")
            }
            symbols[index].version = version.name
            symbols[index].versionLibrary = version.library
        }
        return symbols
    }

    private func name(_ section: Section, _ offset: UInt32) throws(ObjectFileError) -> String {
        guard let name = elf_strptr(handle.elf, Int(section.link), Int(offset)) else {
            throw fault(.malformed, in: section, "a name lies outside the string table")
        }
        return String(cString: name)
    }

    /// Moves on in a chain of table entries; false at its end. Offsets only grow, so the walk ends.
    private func advance(_ offset: inout Int, by next: UInt32, in section: Section) throws(ObjectFileError) -> Bool {
        if next == 0 { return false }
        offset += Int(next)
        guard offset < Int(section.size) else {
            throw fault(.malformed, in: section, "the chain of its entries leaves it")
        }
        return true
    }

    private func neededVersions() throws(ObjectFileError) -> [UInt16: SymbolVersion] {
        guard let section = sections.first(where: { $0.type == SHT_GNU_verneed }) else { return [:] }
        let data = try table(section)
        var versions: [UInt16: SymbolVersion] = [:]
        var offset = 0
        var need = GElf_Verneed()
        repeat {
            guard let at = Int32(exactly: offset), gelf_getverneed(data, at, &need) != nil else {
                throw fault(.malformed, in: section, "entry at \(offset): \(libelfMessage())")
            }
            let library = try name(section, need.vn_file)
            var auxiliaryOffset = offset + Int(need.vn_aux)
            var auxiliary = GElf_Vernaux()
            repeat {
                guard let at = Int32(exactly: auxiliaryOffset), gelf_getvernaux(data, at, &auxiliary) != nil else {
                    throw fault(.malformed, in: section, "entry at \(auxiliaryOffset): \(libelfMessage())")
                }
                versions[auxiliary.vna_other & 0x7fff] = SymbolVersion(
                    name: try name(section, auxiliary.vna_name), library: library)
            } while try advance(&auxiliaryOffset, by: auxiliary.vna_next, in: section)
        } while try advance(&offset, by: need.vn_next, in: section)
        return versions
    }

    private func definedVersions() throws(ObjectFileError) -> [UInt16: SymbolVersion] {
        guard let section = sections.first(where: { $0.type == SHT_GNU_verdef }) else { return [:] }
        let data = try table(section)
        var versions: [UInt16: SymbolVersion] = [:]
        var offset = 0
        var definition = GElf_Verdef()
        repeat {
            guard let at = Int32(exactly: offset), gelf_getverdef(data, at, &definition) != nil else {
                throw fault(.malformed, in: section, "entry at \(offset): \(libelfMessage())")
            }
            // The first name is the version's own, those after it are the versions it inherits from.
            var auxiliary = GElf_Verdaux()
            let auxiliaryOffset = offset + Int(definition.vd_aux)
            guard let at = Int32(exactly: auxiliaryOffset), gelf_getverdaux(data, at, &auxiliary) != nil else {
                throw fault(.malformed, in: section, "entry at \(auxiliaryOffset): \(libelfMessage())")
            }
            versions[definition.vd_ndx & 0x7fff] = SymbolVersion(name: try name(section, auxiliary.vda_name))
        } while try advance(&offset, by: definition.vd_next, in: section)
        return versions
    }
}
