import CElfutils
import ElfFormat
import Glibc

extension ObjectWriter {
    /// The object file's bytes. Throws `.malformed` where a symbol, section or relocation names something that was
    /// not added or lies outside its section, and `.unsupported` for 0xff00 sections and more.
    public func bytes() throws(ObjectFileError) -> [UInt8] {
        try checkReferences()
        var output = try ElfOutput.open()
        let (order, firstGlobal) = symbolOrder()
        var newNumbers = [Int](repeating: 0, count: symbols.count)
        for (new, old) in order.enumerated() { newNumbers[old.rawValue] = new }

        let content = sections.dropFirst() + [stackNote].compactMap { $0 }
        let relocated = content.filter { !$0.relocations.isEmpty }
        let symbolTable = content.count + relocated.count + 1
        for section in content { try output.add(section) }
        for section in relocated {
            try output.add(relocationTable(section, newNumbers: newNumbers, symbolTable: symbolTable))
        }
        var names = StringTable()
        let symbolData = symbolEntries(order, &names)
        try output.add(
            table(".symtab", SHT_SYMTAB, symbolData, 24, link: symbolTable + 1, info: firstGlobal, alignment: 8))
        try output.add(table(".strtab", SHT_STRTAB, names.bytes, 0))
        return try output.finish()
    }

    /// Writes the object to a file, replacing it.
    public func write(to path: String) throws(ObjectFileError) {
        let bytes = try bytes()
        func failure() -> ObjectFileError {
            ObjectFileError(path: path, reason: .unwritable, detail: String(cString: strerror(errno)))
        }
        let fd = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard fd >= 0 else { throw failure() }
        defer { close(fd) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress! + written, $0.count - written) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure() }
            written += count
        }
    }

    private func fault(_ section: Section, _ detail: String) -> ObjectFileError {
        ObjectFileError(
            path: ElfOutput.path, reason: .malformed, place: .section(section.index, name: section.name),
            detail: detail)
    }

    private func checkReferences() throws(ObjectFileError) {
        // Each section may bring a relocation table; three tables follow.
        guard sections.count * 2 + 3 < SHN_LORESERVE else {
            throw ObjectFileError(path: ElfOutput.path, reason: .unsupported, detail: "\(sections.count) sections")
        }
        for section in sections {
            guard section.isNoBits || UInt64(section.data.count) == section.size else {
                throw fault(section, "its size is not that of its data")
            }
            guard section.link < UInt32(sections.count) else { throw fault(section, "its linked section is missing") }
            for relocation in section.relocations {
                let (end, overflow) = relocation.offset.addingReportingOverflow(UInt64(relocation.type.fieldSize))
                guard symbols.indices.contains(relocation.symbol), !overflow, end <= section.size else {
                    throw fault(section, "\(relocation.type) at \(relocation.offset) is out of range")
                }
            }
        }
        for symbol in symbols {
            guard symbol.sectionIndex.map(sections.indices.contains) ?? true else {
                throw fault(sections[0], "symbol \(symbol.name) lies in a section that was not added")
            }
        }
    }

    /// An object without this section asks the linker for an executable stack.
    private var stackNote: Section? {
        let name = ".note.GNU-stack"
        if sections.contains(where: { $0.name == name }) { return nil }
        return Section(index: 0, name: name, type: UInt32(SHT_PROGBITS), flags: 0, size: 0, data: [])
    }

    /// Symbol numbers in the order of the file, and how many come before the first that is not local.
    private func symbolOrder() -> (order: [SymbolIndex], firstGlobal: Int) {
        let locals = symbols.indices.filter { symbols[$0].binding == .local }
        return (locals + symbols.indices.filter { symbols[$0].binding != .local }, locals.count)
    }

    private func table(
        _ name: String, _ type: Int32, _ data: [UInt8], _ entrySize: UInt64, link: Int = 0, info: Int = 0,
        alignment: UInt64 = 1
    ) -> Section {
        Section(
            index: 0, name: name, type: UInt32(type), flags: 0, size: UInt64(data.count), alignment: alignment,
            entrySize: entrySize, link: UInt32(link), info: UInt32(info), data: data)
    }

    private func relocationTable(_ section: Section, newNumbers: [Int], symbolTable: Int) -> Section {
        var data: [UInt8] = []
        data.reserveCapacity(section.relocations.count * 24)
        for relocation in section.relocations {
            data.append(littleEndian: relocation.offset)
            data.append(
                littleEndian: UInt64(newNumbers[relocation.symbol.rawValue]) << 32 | UInt64(relocation.type.rawValue))
            data.append(littleEndian: relocation.addend)
        }
        var table = table(
            ".rela" + section.name, SHT_RELA, data, 24, link: symbolTable, info: section.index.rawValue, alignment: 8)
        table.flags = UInt64(SHF_INFO_LINK)
        return table
    }

    private func symbolEntries(_ order: [SymbolIndex], _ names: inout StringTable) -> [UInt8] {
        var data: [UInt8] = []
        data.reserveCapacity(order.count * 24)
        for symbol in order.map({ symbols[$0] }) {
            let section: UInt16
            switch symbol.place {
            case .undefined: section = UInt16(SHN_UNDEF)
            case .absolute: section = UInt16(SHN_ABS)
            case .common: section = UInt16(SHN_COMMON)
            case .section(let index): section = UInt16(index.rawValue)
            }
            data.append(littleEndian: names.offset(of: symbol.name))
            data.append(symbol.binding.rawValue << 4 | symbol.kind.rawValue)
            data.append(symbol.visibility.rawValue)
            data.append(littleEndian: section)
            data.append(littleEndian: symbol.value)
            data.append(littleEndian: symbol.size)
        }
        return data
    }
}

/// A string table under construction: each name once, in order of first use.
struct StringTable {
    private(set) var bytes: [UInt8] = [0]
    private var offsets: [String: UInt32] = ["": 0]

    mutating func offset(of name: String) -> UInt32 {
        if let known = offsets[name] { return known }
        let offset = UInt32(truncatingIfNeeded: bytes.count)
        bytes += name.utf8
        bytes.append(0)
        offsets[name] = offset
        return offset
    }
}

extension [UInt8] {
    fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
