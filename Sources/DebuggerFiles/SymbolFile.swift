import ElfFormat

/// A module's symbols as an ELF file, as debuggers take it for code that they have no other file of: names and places of
/// functions and variables, and unwind data. The code itself is in the process, or in the core dump.
///
/// It is written anew, and not copied from the process's memory: a debugger takes orders from some sections of a file
/// (`.debug_gdb_scripts`), which the process must not give (trap debugger-orders).
func symbolFile(_ module: ModuleSymbols) -> [UInt8] {
    var file = SymbolFile()
    for part in module.parts { file.addPart(part) }
    if let frames = module.frames {
        file.addSection(
            ".eh_frame", type: SHT.contents, flags: SHF.allocated, address: frames.offset, frames.bytes, alignment: 8)
    }
    if let note = module.buildID.flatMap(buildIDNote) {
        file.addSection(".note.gnu.build-id", type: SHT.note, note, alignment: 4)
    }
    file.addSymbols(module)
    return file.finish()
}

/// Nil where it is no hexadecimal number of whole bytes.
private func buildIDNote(_ text: String) -> [UInt8]? {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == text.utf8.count, digits.count % 2 == 0, (2...128).contains(digits.count) else { return nil }
    let bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    let padding = [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
    return [4, bytes.count, 3].flatMap { little($0, 4) } + Array("GNU\0".utf8) + bytes + padding
}

private func little(_ value: Int, _ size: Int) -> ArraySlice<UInt8> { littleEndian(UInt64(value)).prefix(size) }

/// An ELF file while it is put together: header, program headers, contents of sections, section headers.
private struct SymbolFile {
    private struct SectionHeader {
        var name: Int
        var type: UInt32
        var flags: UInt64 = 0
        var address: UInt64 = 0
        var offset = 0
        var size: UInt64 = 0
        var link = 0
        var info = 0
        var alignment: UInt64 = 0
        var entrySize: UInt64 = 0
    }

    private var names = StringTable()
    private var sections = [SectionHeader(name: 0, type: 0)]
    /// Parts of the module, and the numbers of their sections.
    private var parts: [(part: ModuleSymbols.Part, section: Int)] = []
    /// Of all sections, from where the program headers end.
    private var contents: [UInt8] = []
    /// What lies in memory, by address.
    private var loads: [SectionHeader] { sections.filter { $0.flags != 0 }.sorted { $0.address < $1.address } }

    mutating func addPart(_ part: ModuleSymbols.Part) {
        let kind = part.isExecutable ? ".text" : ".data"
        let count = parts.filter { $0.part.isExecutable == part.isExecutable }.count
        parts.append((part, sections.count))
        sections.append(
            SectionHeader(
                name: names.add(count == 0 ? kind : "\(kind).\(count)"), type: SHT.noBits,
                flags: SHF.allocated | (part.isExecutable ? SHF.execute : SHF.write), address: part.offset,
                size: part.size, alignment: pageSize))
    }

    mutating func addSection(
        _ name: String, type: UInt32, flags: UInt64 = 0, address: UInt64 = 0, _ bytes: [UInt8], link: Int = 0,
        info: Int = 0, alignment: UInt64 = 1, entrySize: UInt64 = 0
    ) {
        contents += [UInt8](repeating: 0, count: (8 - contents.count % 8) % 8)
        sections.append(
            SectionHeader(
                name: names.add(name), type: type, flags: flags, address: address, offset: contents.count,
                size: UInt64(bytes.count), link: link, info: info, alignment: alignment, entrySize: entrySize))
        contents += bytes
    }

    /// Local symbols, of the parts that they lie in: what lies in none can't be named.
    mutating func addSymbols(_ module: ModuleSymbols) {
        var strings = StringTable()
        var table = [UInt8](repeating: 0, count: Int(DynamicSymbol.size))
        var count = 1
        for symbol in module.symbols {
            let holder = parts.first {
                symbol.offset >= $0.part.offset && symbol.offset - $0.part.offset < $0.part.size
            }
            guard let holder else { continue }
            let kind = symbol.isFunction ? STT.function : STT.object
            table += little(strings.add(symbol.shownName), 4) + [kind, 0] + little(holder.section, 2)
            table += littleEndian(symbol.offset) + littleEndian(symbol.size)
            count += 1
        }
        addSection(
            ".symtab", type: SHT.symbolTable, table, link: sections.count + 1, info: count, alignment: 8,
            entrySize: DynamicSymbol.size)
        addSection(".strtab", type: SHT.stringTable, strings.bytes)
    }

    consuming func finish() -> [UInt8] {
        let namesSection = sections.count
        addSection(".shstrtab", type: SHT.stringTable, [])
        let text = names.bytes
        sections[namesSection].size = UInt64(text.count)
        contents += text + [UInt8](repeating: 0, count: (8 - (contents.count + text.count) % 8) % 8)
        let start = Int(ElfHeader.size) + loads.count * Int(ProgramHeader.size)
        let headers = loads.flatMap { programHeader($0, contentsAt: start) }
        let table = sections.flatMap { bytes(of: $0, contentsAt: start) }
        return header(sectionsAt: start + contents.count, namesSection) + headers + contents + table
    }

    private func header(sectionsAt place: Int, _ namesSection: Int) -> [UInt8] {
        var bytes = ElfHeader.magic + [ELF.version] + [UInt8](repeating: 0, count: 9)
        bytes += little(Int(ELF.sharedObject), 2) + little(Int(ELF.machine), 2) + little(1, 4)
        bytes += little(0, 8) + little(Int(ElfHeader.size), 8) + little(place, 8) + little(0, 4)
        for field in [Int(ElfHeader.size), Int(ProgramHeader.size), loads.count, 64, sections.count, namesSection] {
            bytes += little(field, 2)
        }
        return bytes
    }

    /// Of a section that lies in memory; that of code and variables has no bytes here.
    private func programHeader(_ section: SectionHeader, contentsAt start: Int) -> [UInt8] {
        let isEmpty = section.type == SHT.noBits
        let access = [(SHF.execute, PF.execute), (SHF.write, PF.write)].filter { section.flags & $0.0 != 0 }
        let flags = access.reduce(PF.read) { $0 | $1.1 }
        let offset = isEmpty ? 0 : UInt64(start + section.offset)
        let words = [
            offset, section.address, section.address, isEmpty ? 0 : section.size, section.size,
            isEmpty ? section.alignment : 1,
        ]
        return littleEndian(UInt64(flags) << 32 | UInt64(PT.load)) + words.flatMap(littleEndian)
    }

    private func bytes(of section: SectionHeader, contentsAt start: Int) -> [UInt8] {
        let hasBytes = section.type != 0 && section.type != SHT.noBits
        var bytes = little(section.name, 4) + little(Int(section.type), 4)
        bytes += littleEndian(section.flags) + littleEndian(section.address)
        bytes += little(hasBytes ? start + section.offset : 0, 8) + littleEndian(section.size)
        bytes += little(section.link, 4) + little(section.info, 4)
        return bytes + littleEndian(section.alignment) + littleEndian(section.entrySize)
    }
}

/// Names one after the other, each once.
private struct StringTable {
    private(set) var bytes: [UInt8] = [0]
    private var places: [String: Int] = ["": 0]

    mutating func add(_ text: String) -> Int {
        if let known = places[text] { return known }
        let place = bytes.count
        places[text] = place
        bytes += Array(text.utf8) + [0]
        return place
    }
}
