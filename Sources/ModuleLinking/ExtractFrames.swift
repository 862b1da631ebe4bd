import Closing
import CodeModel
import Diagnostics
import ElfFormat
import ObjectFiles
import PatchFormat
import Targets

/// The module's unwind data: exactly the descriptions of code that travels, as the compiler made them, so that exceptions,
/// thread cancellation and backtraces pass through the module's functions as they pass through the target's.
extension ModuleBuilder {
    /// Writes the table, and room for the unwinder's record of it. Under the name `.eh_frame`, `ld` would change it: it
    /// takes padding out of records, and all records behind them move. A replaced function's stub needs no description: it
    /// has no frame, and calls nothing.
    mutating func addFrames() {
        guard plan.needsUnwindData else { return }
        let number = add(
            Section(index: 0, name: ".livepatch.frames", type: 1, flags: 2, size: 0, alignment: 8, data: []))
        /// Shared records without relocations, by their bytes: one serves all units.
        var plainCommons: [[UInt8]: Int] = [:]
        for unit in plan.units.indices {
            for side in [Side.new, .original] { addFrames(of: unit, side, to: number, &plainCommons) }
        }
        object.sections[number].data += [0, 0, 0, 0]
        object.sections[number].size = UInt64(object.sections[number].data.count)
        sectionsOfTables.frames = number
        sectionsOfTables.frameObject = addTable(
            ".livepatch.unwind", flags: 3, size: Int(ModuleUnwind.objectSize), alignment: 8)
    }

    private mutating func addFrames(
        of unit: Int, _ side: Side, to number: SectionIndex, _ plainCommons: inout [[UInt8]: Int]
    ) {
        let file = objectFile(unit, side)
        func place(_ section: SectionIndex) -> SectionIndex? {
            sectionNumbers[SectionKey(unit: unit, side: side, section: section)]
        }
        guard file.sections.contains(where: { $0.isExecutable && place($0.index) != nil }) else { return }
        let frames = FrameRecords(file)
        if let fault = frames.fault { return refuse(.badInput, plan.units[unit].name, fault) }
        let key = SectionKey(unit: unit, side: side, section: frames.section)
        let site = Site(key: key, number: number, section: file.sections[frames.section], symbols: [])
        var commons: [Int: Int] = [:]
        for description in frames.descriptions {
            guard let code = place(description.code.section) else { continue }
            let common =
                commons[description.common]
                ?? addCommon(frames.commons[description.common], of: site, &plainCommons)
            commons[description.common] = common
            let start = append(description.range, of: site)
            setDistance(in: number, at: start + 4, to: common)
            for index in description.relocations {
                let relocation = site.section.relocations[index]
                let (section, offset) =
                    index == description.codeRelocation
                    ? (code, description.code.offset)
                    : (description.table.flatMap { place($0.section) } ?? 0, description.table?.offset ?? 0)
                // An absolute address, which the shared record now calls a distance of the same size.
                let isShort = relocation.type == .abs32
                guard section != 0, isShort || relocation.type == .pc32 || relocation.type == .pc64 else {
                    refuse(.relocationType, plan.units[unit].name, "\(relocation.type) in its unwind data")
                    continue
                }
                let moved = UInt64(start) + relocation.offset - UInt64(description.range.lowerBound)
                object.addRelocation(
                    local(section, at: moved, isShort ? .pc32 : relocation.type, addend: Int64(offset)), to: number)
            }
        }
    }

    /// - Returns: where the shared record lies in the module's section.
    private mutating func addCommon(
        _ common: FrameRecords.Common, of site: Site, _ plain: inout [[UInt8]: Int]
    ) -> Int {
        let bytes = Array(site.section.data[common.range])
        if common.relocations.isEmpty, let known = plain[bytes] { return known }
        let start = append(common.range, of: site)
        if common.relocations.isEmpty { plain[bytes] = start }
        for place in absoluteForms(bytes) {
            object.sections[site.number].data[start + place.at] = place.isPersonality ? 0x9b : 0x1b
        }
        for index in common.relocations {
            var relocation = site.section.relocations[index]
            relocation.offset = UInt64(start) + relocation.offset - UInt64(common.range.lowerBound)
            if relocation.type == .abs32 { relocation.type = .gotpcrel }
            add(relocation, at: site)
        }
        return start
    }

    /// Code that is not position-independent has its unwind data name things by 4-byte addresses. In a module these become
    /// distances (`DW_EH_PE_pcrel|sdata4`), and what a library may hold goes through a slot (`DW_EH_PE_indirect`), as in code
    /// that is: `ld -shared` and the unwinder know both.
    private func absoluteForms(_ record: [UInt8]) -> [(at: Int, isPersonality: Bool)] {
        // Length, identifier and version; then letters, three numbers, and the length of what the letters mean.
        guard record.count > 10, let end = record[9...].firstIndex(of: 0), record[9] == UInt8(ascii: "z") else {
            return []
        }
        var at = end + 1
        for _ in 0..<4 {
            while at < record.count, record[at] & 0x80 != 0 { at += 1 }
            at += 1
        }
        var found: [(at: Int, isPersonality: Bool)] = []
        for letter in record[10..<end] {
            guard at < record.count else { return found }
            let isPersonality = letter == UInt8(ascii: "P")
            guard isPersonality || letter == UInt8(ascii: "R") || letter == UInt8(ascii: "L") else { continue }
            if record[at] == 0x03 { found.append((at, isPersonality)) }
            at += isPersonality ? (record[at] & 0x0f == 0x03 || record[at] & 0x0f == 0x0b ? 5 : 9) : 1
        }
        return found
    }

    /// The same for tables of handlers: types by distances to slots.
    mutating func addAbsoluteTypes(of site: Site) -> Bool {
        guard site.section.name.hasPrefix(".gcc_except_table"),
            site.section.relocations.contains(where: { $0.type == .abs32 })
        else { return false }
        let frames = FrameRecords(objectFile(site.key.unit, site.key.side))
        for case let table? in frames.descriptions.map(\.table) where table.section == site.key.section {
            guard HandlerTable(site.section.data, at: Int(table.offset))?.typeForm == 0x03 else { continue }
            object.sections[site.number].data[Int(table.offset) + 1] = 0x9b
        }
        for var relocation in site.section.relocations where relocation.type != .none {
            if relocation.type == .abs32 { relocation.type = .gotpcrel }
            add(relocation, at: site)
        }
        return true
    }

    private mutating func append(_ range: Range<Int>, of site: Site) -> Int {
        let start = object.sections[site.number].data.count
        object.sections[site.number].data += site.section.data[range]
        object.sections[site.number].size = UInt64(object.sections[site.number].data.count)
        return start
    }

    /// A description names its shared record by the distance from the field.
    private mutating func setDistance(in number: SectionIndex, at field: Int, to common: Int) {
        let distance = UInt32(field - common)
        for byte in 0..<4 {
            object.sections[number].data[field + byte] = UInt8(truncatingIfNeeded: distance >> (8 * byte))
        }
    }
}
