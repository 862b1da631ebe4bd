import ObjectFiles

/// The unwind data of a relocatable object: the records of its `.eh_frame`, by the code that they describe.
package struct FrameRecords: Sendable {
    /// A CIE: what several descriptions share, the personality routine among it.
    package struct Common: Sendable {
        /// Offsets in the section, the length's field included.
        package var range: Range<Int>
        /// Indices of the section's relocations.
        package var relocations: Range<Int>
    }

    /// An FDE: how to unwind one piece of code.
    package struct Description: Sendable {
        package var range: Range<Int>
        package var relocations: Range<Int>
        /// Index into `commons`.
        package var common: Int
        /// Index of the relocation that names the code, and what it names.
        package var codeRelocation: Int
        package var code: Place
        /// The code's handlers and cleanups (`.gcc_except_table`).
        package var table: Place?
    }

    package struct Place: Hashable, Sendable {
        package var section: SectionIndex
        package var offset: UInt64
    }

    /// Of `.eh_frame`; 0 when the object has none.
    package private(set) var section: SectionIndex = 0
    package private(set) var commons: [Common] = []
    package private(set) var descriptions: [Description] = []
    /// By section of code: indices into `descriptions`, by offset.
    package private(set) var bySection: [SectionIndex: [Int]] = [:]
    /// Why the data can't be used.
    package private(set) var fault: String?
    /// By section: where the tables in it begin, in order.
    private var tableStarts: [SectionIndex: [UInt64]] = [:]

    package init(_ file: ObjectFile) {
        let found = file.sections.filter { $0.isAllocated && $0.name == ".eh_frame" && !$0.data.isEmpty }
        guard let frames = found.first else { return }
        section = frames.index
        fault = found.count > 1 ? "it has several sections of unwind data" : read(frames, file)
        if fault != nil { (commons, descriptions) = ([], []) }
        for (index, description) in descriptions.enumerated() {
            bySection[description.code.section, default: []].append(index)
            if let table = description.table { tableStarts[table.section, default: []].append(table.offset) }
        }
        for key in bySection.keys {
            bySection[key]?.sort { descriptions[$0].code.offset < descriptions[$1].code.offset }
        }
        for key in tableStarts.keys { tableStarts[key] = Set(tableStarts[key] ?? []).sorted() }
    }

    /// Descriptions of the code in `[start, end)` of a section.
    package func describing(section: SectionIndex, from start: UInt64, to end: UInt64) -> ArraySlice<Int> {
        let all = bySection[section] ?? []
        let low = all.partitioningIndex { descriptions[$0].code.offset >= start }
        let high = all.partitioningIndex { descriptions[$0].code.offset >= end }
        return all[low..<max(low, high)]
    }

    /// Where the table that begins at `place` ends: at the next one, or with the section.
    package func end(of place: Place, in file: ObjectFile) -> UInt64 {
        let starts = tableStarts[place.section] ?? []
        let next = starts.partitioningIndex { $0 > place.offset }
        return next < starts.count ? starts[next] : file.sections[place.section].size
    }

    // MARK: Reading

    /// - Returns: what is wrong, if anything is.
    private mutating func read(_ frames: Section, _ file: ObjectFile) -> String? {
        let data = frames.data
        var numbers: [Int: Int] = [:]
        var (offset, relocation) = (0, 0)
        while offset + 8 <= data.count {
            let length = Int(data.word(offset))
            if length == 0 { return offset + 4 == data.count ? nil : "its unwind data goes on after its end" }
            let end = offset + 4 + length
            guard length >= 4, length < 0xffff_fff0, end <= data.count else { return "its unwind data is damaged" }
            let first = relocation
            while relocation < frames.relocations.count, frames.relocations[relocation].offset < UInt64(end) {
                relocation += 1
            }
            let id = Int(data.word(offset + 4))
            if id == 0 {
                numbers[offset] = commons.count
                commons.append(Common(range: offset..<end, relocations: first..<relocation))
            } else if let common = numbers[offset + 4 - id],
                let description = describe(offset..<end, first..<relocation, common, frames, file)
            {
                descriptions.append(description)
            } else {
                return "its unwind data at +0x\(String(offset, radix: 16)) is of an unknown form"
            }
            offset = end
        }
        // A terminator of four bytes may stand last.
        return offset == data.count || (offset + 4 == data.count && data.word(offset) == 0)
            ? nil : "its unwind data is cut off"
    }

    private func describe(
        _ range: Range<Int>, _ relocations: Range<Int>, _ common: Int, _ frames: Section, _ file: ObjectFile
    ) -> Description? {
        guard let first = relocations.first, frames.relocations[first].offset == UInt64(range.lowerBound + 8),
            relocations.count <= 2, let code = place(frames.relocations[first], file)
        else { return nil }
        var description = Description(
            range: range, relocations: relocations, common: common, codeRelocation: first, code: code)
        if relocations.count == 2 {
            guard let table = place(frames.relocations[first + 1], file) else { return nil }
            description.table = table
        }
        return description
    }

    private func place(_ relocation: Relocation, _ file: ObjectFile) -> Place? {
        let symbol = file.symbols[relocation.symbol]
        guard let section = symbol.sectionIndex, file.sections.indices.contains(section) else { return nil }
        let offset = symbol.value &+ UInt64(bitPattern: relocation.addend)
        guard offset <= file.sections[section].size else { return nil }
        return Place(section: section, offset: offset)
    }
}
