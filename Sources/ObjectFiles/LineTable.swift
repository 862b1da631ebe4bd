import CElfutils

/// Which source line each instruction of an object comes from, by its debug information.
public struct LineTable: Sendable {
    public struct Row: Sendable, Hashable {
        /// Offset in the section; the row holds up to the next one.
        public var offset: UInt64
        /// Index in `files`; nil where the compiler names no line.
        public var file: Int?
        /// 1-based.
        public var line: Int
    }

    /// As the compiler named them, with the directory it ran in.
    public var files: [String] = []
    /// By section index, sorted by offset.
    public var rows: [SectionIndex: [Row]] = [:]

    public init() {}

    /// The row that an instruction belongs to.
    public func row(section: SectionIndex, offset: UInt64) -> Row? {
        guard let rows = rows[section] else { return nil }
        var (low, high) = (0, rows.count)
        while low < high {
            let middle = (low + high) / 2
            if rows[middle].offset <= offset { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? rows[low - 1] : nil
    }

    /// Reads the line tables of a relocatable object, for these of its sections; empty without debug information.
    public static func read(path: String, sections: Set<SectionIndex>) throws(ObjectFileError) -> LineTable {
        guard let handle = try DwarfHandle.open(try ElfHandle.open(path: path), path: path) else { return LineTable() }
        var table = LineTable()
        var known: [UnsafePointer<CChar>: Int] = [:]
        var unit: OpaquePointer?
        while true {
            var entry = Dwarf_Die()
            guard dwarf_get_units(handle.dwarf, unit, &unit, nil, nil, &entry, nil) == 0 else { break }
            table.add(linesOf: &entry, handle, sections, &known)
        }
        for section in table.rows.keys { table.rows[section]?.sort { $0.offset < $1.offset } }
        return table
    }

    private mutating func add(
        linesOf entry: inout Dwarf_Die, _ handle: borrowing DwarfHandle, _ sections: Set<SectionIndex>,
        _ known: inout [UnsafePointer<CChar>: Int]
    ) {
        var lines: OpaquePointer?
        var count = 0
        guard dwarf_getsrclines(&entry, &lines, &count) == 0, let lines else { return }
        let directory = Self.compilationDirectory(&entry)
        for index in 0..<count {
            guard let line = dwarf_onesrcline(lines, index) else { continue }
            var (address, number, isEnd): (Dwarf_Addr, Int32, Bool) = (0, 0, false)
            guard dwarf_lineaddr(line, &address) == 0, dwarf_lineno(line, &number) == 0,
                dwarf_lineendsequence(line, &isEnd) == 0, !isEnd
            else { continue }
            let place = handle.place(address, size: 0)
            guard let section = place.section, sections.contains(section) else { continue }
            let file = number > 0 ? dwarf_linesrc(line, nil, nil).map { fileIndex($0, in: directory, &known) } : nil
            rows[section, default: []].append(Row(offset: place.start, file: file, line: Int(number)))
        }
    }

    private static func compilationDirectory(_ entry: inout Dwarf_Die) -> String {
        var attribute = Dwarf_Attribute()
        guard dwarf_attr(&entry, UInt32(DW_AT_comp_dir), &attribute) != nil, let text = dwarf_formstring(&attribute)
        else { return "" }
        return String(cString: text)
    }

    private mutating func fileIndex(
        _ name: UnsafePointer<CChar>, in directory: String, _ known: inout [UnsafePointer<CChar>: Int]
    ) -> Int {
        if let index = known[name] { return index }
        let file = String(cString: name)
        // An include directory that was given relative to the compiler's own.
        files.append(file.hasPrefix("/") || directory.isEmpty ? file : directory + "/" + file)
        known[name] = files.count - 1
        return files.count - 1
    }
}
