import ObjectFiles

/// The unwind data of a relocatable object: the records of its `.eh_frame`, by the code that they describe.
package struct ObjectFrames: Sendable {
    /// What several FDEs share, the personality routine among it.
    package struct CIE: Sendable {
        package var record: CallFrames.CIE
        /// Indices of the section's relocations.
        package var relocations: Range<Int>
    }

    /// How to unwind a range of code.
    package struct FDE: Sendable {
        /// Offsets in the section, the length's field included.
        package var range: Range<Int>
        package var relocations: Range<Int>
        /// Index into `cies`.
        package var cie: Int
        /// Index of the relocation that names the code, and what it names.
        package var codeRelocation: Int
        package var code: Place
        /// The code's handlers and cleanups.
        package var lsda: Place?
    }

    package struct Place: Hashable, Sendable {
        package var section: SectionIndex
        package var offset: UInt64
    }

    /// Of `.eh_frame`; 0 when the object has none.
    package private(set) var section: SectionIndex = 0
    package private(set) var cies: [CIE] = []
    package private(set) var fdes: [FDE] = []
    /// By section of code: indices into `fdes`, by offset.
    package private(set) var bySection: [SectionIndex: [Int]] = [:]
    /// Why the data can't be used.
    package private(set) var fault: String?
    /// By section: where the LSDAs in it begin, in order.
    private var lsdaStarts: [SectionIndex: [UInt64]] = [:]

    package init(_ file: ObjectFile) {
        let found = file.sections.filter { $0.isAllocated && $0.name == ".eh_frame" && !$0.data.isEmpty }
        guard let frames = found.first else { return }
        section = frames.index
        do {
            guard found.count == 1 else { throw ObjectFault("it has several sections of unwind data") }
            try read(frames, file)
        } catch {
            (fault, cies, fdes) = ("\(error)", [], [])
        }
        for (index, fde) in fdes.enumerated() {
            bySection[fde.code.section, default: []].append(index)
            if let lsda = fde.lsda { lsdaStarts[lsda.section, default: []].append(lsda.offset) }
        }
        for key in bySection.keys { bySection[key]?.sort { fdes[$0].code.offset < fdes[$1].code.offset } }
        for key in lsdaStarts.keys { lsdaStarts[key] = Set(lsdaStarts[key] ?? []).sorted() }
    }

    /// FDEs of the code in `[start, end)` of a section.
    package func describing(section: SectionIndex, from start: UInt64, to end: UInt64) -> ArraySlice<Int> {
        let all = bySection[section] ?? []
        let low = all.partitioningIndex { fdes[$0].code.offset >= start }
        let high = all.partitioningIndex { fdes[$0].code.offset >= end }
        return all[low..<max(low, high)]
    }

    /// Where the LSDA that begins at `place` ends: at the next one, or with the section.
    package func end(of place: Place, in file: ObjectFile) -> UInt64 {
        let starts = lsdaStarts[place.section] ?? []
        let next = starts.partitioningIndex { $0 > place.offset }
        return next < starts.count ? starts[next] : file.sections[place.section].size
    }

    // MARK: Reading

    private struct ObjectFault: Error, CustomStringConvertible {
        var description: String
        init(_ description: String) { self.description = description }
    }

    private mutating func read(_ frames: Section, _ file: ObjectFile) throws {
        let records = try CallFrames(frames.data)
        guard records.terminators.allSatisfy({ $0 + 4 == frames.data.count }) else {
            throw ObjectFault("its unwind data goes on after its end")
        }
        func relocations(in range: Range<Int>) -> Range<Int> {
            let low = frames.relocations.partitioningIndex { $0.offset >= UInt64(range.lowerBound) }
            let high = frames.relocations.partitioningIndex { $0.offset >= UInt64(range.upperBound) }
            return low..<max(low, high)
        }
        cies = records.cies.map { CIE(record: $0, relocations: relocations(in: $0.range)) }
        fdes = try records.fdes.map { record in
            guard let fde = describe(record, relocations(in: record.range), frames, file) else {
                throw ObjectFault(
                    "its unwind data at +0x\(String(record.range.lowerBound, radix: 16)) is of an unknown form")
            }
            return fde
        }
    }

    /// - Returns: nil unless relocations name the code, which comes first, and at most an LSDA.
    private func describe(
        _ record: CallFrames.FDE, _ relocations: Range<Int>, _ frames: Section, _ file: ObjectFile
    ) -> FDE? {
        guard let first = relocations.first, frames.relocations[first].offset == UInt64(record.range.lowerBound + 8),
            relocations.count <= 2, let code = place(frames.relocations[first], file)
        else { return nil }
        var fde = FDE(
            range: record.range, relocations: relocations, cie: record.cie, codeRelocation: first, code: code)
        if relocations.count == 2 {
            guard let lsda = place(frames.relocations[first + 1], file) else { return nil }
            fde.lsda = lsda
        }
        return fde
    }

    private func place(_ relocation: Relocation, _ file: ObjectFile) -> Place? {
        let symbol = file.symbols[relocation.symbol]
        guard let section = symbol.sectionIndex, file.sections.indices.contains(section) else { return nil }
        let offset = symbol.value &+ UInt64(bitPattern: relocation.addend)
        guard offset <= file.sections[section].size else { return nil }
        return Place(section: section, offset: offset)
    }
}
