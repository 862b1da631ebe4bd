import CElfutils
import ElfFormat

extension ObjectFile {
    /// Reads an x86-64 relocatable object, executable or shared library (or its separate `.debug` file).
    ///
    /// The file is untrusted: whatever its headers promise is checked against its length, and every index and name
    /// offset against its table, before use.
    public static func read(path: String) throws(ObjectFileError) -> ObjectFile {
        try read(ElfHandle.open(path: path), path: path)
    }

    /// The same from memory; `name` stands for the path in messages and in `path`.
    public static func parse(bytes: [UInt8], name: String) throws(ObjectFileError) -> ObjectFile {
        try read(ElfHandle.open(bytes: bytes, name: name), path: name)
    }

    private static func read(_ handle: consuming ElfHandle, path: String) throws(ObjectFileError) -> ObjectFile {
        var reader = ElfReader(handle: handle, path: path)
        let kind = try reader.readHeader()
        try reader.readSections()
        let symbols = try reader.readSymbols(tableType: UInt32(SHT_SYMTAB))
        let dynamicSymbols = try reader.readDynamicSymbols()
        if kind == .relocatable {
            try reader.readRelocations(symbolCount: symbols.count)
            try reader.readGroups(symbols)
        }
        let dynamic = try kind == .relocatable ? [] : reader.readDynamicRelocations(symbolCount: dynamicSymbols.count)
        let segments = try reader.readSegments()
        return ObjectFile(
            path: path, kind: kind, sections: reader.sections, symbols: symbols, dynamicSymbols: dynamicSymbols,
            segments: segments, dynamicRelocations: dynamic, buildID: reader.readBuildID(segments),
            image: kind == .relocatable ? [] : Array(reader.handle.image))
    }
}

/// What the passes over one file share: the handle, the file's name and the sections read so far.
struct ElfReader: ~Copyable {
    let handle: ElfHandle
    let path: String
    var sections: Indexed<Section> = []

    init(handle: consuming ElfHandle, path: String) {
        self.handle = handle
        self.path = path
    }

    func fault(_ reason: ObjectFileError.Reason, at offset: UInt64, _ detail: String) -> ObjectFileError {
        ObjectFileError(path: path, reason: reason, place: .offset(offset), detail: detail)
    }

    /// The section's contents, every access checked.
    func reader(of section: Section) -> ByteReader<ObjectFileError> {
        let (path, place) = (path, ObjectFileError.Place.section(section.index, name: section.name))
        return ByteReader(section.data) { why in
            ObjectFileError(path: path, reason: .malformed, place: place, detail: why)
        }
    }

    func fault(_ reason: ObjectFileError.Reason, in section: Section, _ detail: String) -> ObjectFileError {
        ObjectFileError(path: path, reason: reason, place: .section(section.index, name: section.name), detail: detail)
    }

    /// Checks that `size` bytes at `offset` lie in the file.
    func isInFile(_ offset: UInt64, _ size: UInt64) -> Bool {
        let (end, overflow) = offset.addingReportingOverflow(size)
        return !overflow && end <= UInt64(handle.image.count)
    }

    /// The file's kind, once both header tables are known to lie in it.
    func readHeader() throws(ObjectFileError) -> ObjectFile.Kind {
        var header = GElf_Ehdr()
        guard gelf_getehdr(handle.elf, &header) != nil else { throw fault(.malformed, at: 0, libelfMessage()) }
        if header.e_phnum != 0 {
            guard header.e_phentsize == 56 else { throw fault(.malformed, at: 54, "wrong program header size") }
            var count = 0
            guard elf_getphdrnum(handle.elf, &count) == 0, count <= handle.image.count / 56,
                isInFile(header.e_phoff, UInt64(count) * 56)
            else { throw fault(.truncated, at: header.e_phoff, "program headers lie outside the file") }
        }
        try checkSectionTable(header)
        switch Int32(header.e_type) {
        case ET_REL: return .relocatable
        case ET_EXEC: return .executable
        case ET_DYN: return .sharedObject
        default: throw fault(.unsupported, at: 16, "ELF type \(header.e_type) is no object, executable or library")
        }
    }

    /// libelf reads a table that is cut off as an empty one, so its place is checked here.
    private func checkSectionTable(_ header: GElf_Ehdr) throws(ObjectFileError) {
        if header.e_shoff == 0 {
            guard header.e_shnum == 0 else { throw fault(.malformed, at: 40, "sections without a section table") }
            return
        }
        guard header.e_shentsize == 64 else { throw fault(.malformed, at: 58, "wrong section header size") }
        guard isInFile(header.e_shoff, 64) else {
            throw fault(.truncated, at: header.e_shoff, "section headers lie outside the file")
        }
        // With 0xff00 sections or more, the count is the null section's size.
        let count =
            header.e_shnum != 0
            ? UInt64(header.e_shnum)
            : UInt64(
                littleEndian: handle.image.loadUnaligned(fromByteOffset: Int(header.e_shoff) + 32, as: UInt64.self))
        guard count > 0, count <= UInt64(handle.image.count) / 64, isInFile(header.e_shoff, count * 64) else {
            throw fault(.truncated, at: header.e_shoff, "section headers lie outside the file")
        }
        var seen = 0
        guard elf_getshdrnum(handle.elf, &seen) == 0, seen == count else {
            throw fault(.malformed, at: header.e_shoff, "section headers can't be read")
        }
    }

    /// Fills `sections`, without relocations and groups.
    mutating func readSections() throws(ObjectFileError) {
        var count = 0
        guard elf_getshdrnum(handle.elf, &count) == 0, count > 0 else { return }
        var names = 0
        guard elf_getshdrstrndx(handle.elf, &names) == 0, names < count else {
            throw fault(.malformed, at: 62, "the section names' index is out of range")
        }
        sections.reserveCapacity(count)
        for index in 0..<count {
            var header = GElf_Shdr()
            guard let scn = elf_getscn(handle.elf, index), gelf_getshdr(scn, &header) != nil else {
                throw fault(.malformed, at: 40, "section header \(index): \(libelfMessage())")
            }
            sections.append(try readSection(sections.endIndex, header, names: names))
        }
    }

    private func readSection(_ index: SectionIndex, _ header: GElf_Shdr, names: Int) throws(ObjectFileError) -> Section
    {
        var section = Section(
            index: index, name: "", type: header.sh_type, flags: header.sh_flags, address: header.sh_addr,
            fileOffset: header.sh_offset, size: header.sh_size, alignment: header.sh_addralign,
            entrySize: header.sh_entsize, link: header.sh_link, info: header.sh_info, data: [])
        if index == 0 { return section }
        // A file stripped of its names has section 0 for their table.
        if names != 0 {
            guard let name = elf_strptr(handle.elf, names, Int(header.sh_name)) else {
                throw fault(.malformed, in: section, "its name lies outside the table of names")
            }
            section.name = String(cString: name)
        }
        if section.isNoBits || section.type == SHT_NULL { return section }
        guard isInFile(section.fileOffset, section.size) else {
            throw fault(
                .truncated, in: section,
                "its \(section.size) bytes at offset 0x\(String(section.fileOffset, radix: 16)) lie outside the file")
        }
        let start = Int(section.fileOffset)
        section.data = Array(handle.image[start..<start + Int(section.size)])
        return section
    }

    /// A section's contents as libelf's table of its type.
    func table(_ section: Section) throws(ObjectFileError) -> UnsafeMutablePointer<Elf_Data> {
        guard let scn = elf_getscn(handle.elf, section.index.rawValue), let data = elf_getdata(scn, nil) else {
            throw fault(.malformed, in: section, libelfMessage())
        }
        return data
    }

    func readSegments() throws(ObjectFileError) -> [Segment] {
        var count = 0
        guard elf_getphdrnum(handle.elf, &count) == 0 else { throw fault(.malformed, at: 56, libelfMessage()) }
        var segments: [Segment] = []
        for index in 0..<count {
            var header = GElf_Phdr()
            guard gelf_getphdr(handle.elf, Int32(index), &header) != nil else {
                throw fault(.malformed, at: 32, "program header \(index): \(libelfMessage())")
            }
            segments.append(
                Segment(
                    type: header.p_type, flags: header.p_flags, fileOffset: header.p_offset, address: header.p_vaddr,
                    fileSize: header.p_filesz, memorySize: header.p_memsz, alignment: header.p_align))
        }
        return segments
    }
}
