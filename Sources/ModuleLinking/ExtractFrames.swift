import Closing
import CodeModel
import Diagnostics
import ElfFormat
import ObjectFiles
import PatchFormat
import Targets

/// The module's unwind data: exactly the FDEs of code that travels, as the compiler made them, so that exceptions,
/// thread cancellation and backtraces pass through the module's functions as they pass through the target's.
///
/// Every module has it, for debuggers and whoever reads a core dump. The process's own unwinder is told of it only where
/// something can be thrown through the functions (`ModulePlan.needsUnwindData`): that takes a borrowed thread.
extension ModuleBuilder {
    /// Writes the table, and room for the unwinder's record of it. Under the name `.eh_frame`, `ld` would change it: it
    /// takes padding out of records, and all records behind them move. A replaced function's stub needs no FDE: it
    /// has no frame, and calls nothing.
    mutating func addFrames() {
        let number = add(
            Section(index: 0, name: ".livepatch.frames", type: 1, flags: 2, size: 0, alignment: 8, data: []))
        /// CIEs without relocations, by their bytes: one serves all units.
        var plainCIEs: [[UInt8]: Int] = [:]
        for unit in plan.units.indices {
            for side in [Side.new, .original] { addFrames(of: unit, side, to: number, &plainCIEs) }
        }
        object.sections[number].data += [0, 0, 0, 0]
        object.sections[number].size = UInt64(object.sections[number].data.count)
        sectionsOfTables.frames = number
        addFrameHeader(number)
        guard plan.needsUnwindData else { return }
        sectionsOfTables.frameObject = addTable(
            ".livepatch.unwind", flags: 3, size: Int(ModuleUnwind.objectSize), alignment: 8)
    }

    /// What a reader finds the table by: its version, how the table's address is written (by its distance), and that there
    /// is no index, without which readers go through the table from its start.
    private mutating func addFrameHeader(_ frames: SectionIndex) {
        let header = addTable(".livepatch.framehdr", flags: 2, size: 8, alignment: 4)
        object.sections[header].data.replaceSubrange(0..<4, with: [1, 0x1b, 0xff, 0xff])
        object.addRelocation(local(frames, at: 4, .pc32, addend: 0), to: header)
        sectionsOfTables.frameHeader = header
    }

    /// Whether the record can be had without binding anything. Data that only debuggers read is no reason to refuse.
    private func isPlain(_ fde: ObjectFrames.FDE, _ frames: ObjectFrames, _ section: Section) -> Bool {
        fde.lsda == nil && frames.cies[fde.cie].relocations.isEmpty
            && [.pc32, .pc64, .abs32].contains(section.relocations[fde.codeRelocation].type)
    }

    private mutating func addFrames(
        of unit: Int, _ side: Side, to number: SectionIndex, _ plainCIEs: inout [[UInt8]: Int]
    ) {
        let file = objectFile(unit, side)
        func place(_ section: SectionIndex) -> SectionIndex? {
            sectionNumbers[SectionKey(unit: unit, side: side, section: section)]
        }
        guard file.sections.contains(where: { $0.isExecutable && place($0.index) != nil }) else { return }
        let frames = ObjectFrames(file)
        if let fault = frames.fault {
            return plan.needsUnwindData ? refuse(.badInput, plan.units[unit].name, fault) : ()
        }
        let key = SectionKey(unit: unit, side: side, section: frames.section)
        let site = TravellingSection(key: key, number: number, section: file.sections[frames.section], symbols: [])
        var cies: [Int: Int] = [:]
        for fde in frames.fdes {
            guard let code = place(fde.code.section), plan.needsUnwindData || isPlain(fde, frames, site.section) else {
                continue
            }
            let cie = cies[fde.cie] ?? addCIE(frames.cies[fde.cie], of: site, &plainCIEs)
            cies[fde.cie] = cie
            let start = append(fde.range, of: site)
            setDistance(in: number, at: start + 4, to: cie)
            for index in fde.relocations {
                let relocation = site.section.relocations[index]
                let (section, offset) =
                    index == fde.codeRelocation
                    ? (code, fde.code.offset)
                    : (fde.lsda.flatMap { place($0.section) } ?? 0, fde.lsda?.offset ?? 0)
                // An absolute address, which the CIE now calls a distance of the same size.
                let isShort = relocation.type == .abs32
                guard section != 0, isShort || relocation.type == .pc32 || relocation.type == .pc64 else {
                    refuse(.relocationType, plan.units[unit].name, "\(relocation.type) in its unwind data")
                    continue
                }
                let moved = UInt64(start) + relocation.offset - UInt64(fde.range.lowerBound)
                object.addRelocation(
                    local(section, at: moved, isShort ? .pc32 : relocation.type, addend: Int64(offset)), to: number)
            }
        }
    }

    /// - Returns: where the CIE lies in the module's section.
    private mutating func addCIE(
        _ cie: ObjectFrames.CIE, of site: TravellingSection, _ plain: inout [[UInt8]: Int]
    ) -> Int {
        let range = cie.record.range
        let bytes = Array(site.section.data[range])
        if cie.relocations.isEmpty, let known = plain[bytes] { return known }
        let start = append(range, of: site)
        if cie.relocations.isEmpty { plain[bytes] = start }
        for place in cie.record.augmentation.map(relativeEncodings) ?? [] {
            object.sections[site.number].data[start + place.offset - range.lowerBound] = place.encoding
        }
        for index in cie.relocations {
            var relocation = site.section.relocations[index]
            relocation.offset = UInt64(start) + relocation.offset - UInt64(range.lowerBound)
            if relocation.type == .abs32 { relocation.type = .gotpcrel }
            add(relocation, at: site)
        }
        return start
    }

    /// Code that is not position-independent has its unwind data name things by 4-byte addresses. In a module these become
    /// distances (`DW_EH_PE_pcrel|sdata4`), and what a library may hold goes through a slot (`DW_EH_PE_indirect`), as in code
    /// that is: `ld -shared` and the unwinder know both.
    private func relativeEncodings(_ augmentation: CallFrames.Augmentation) -> [(offset: Int, encoding: UInt8)] {
        let plain = [augmentation.code, augmentation.lsda].compactMap { $0 }.map { ($0, UInt8(0x1b)) }
        let slots = [augmentation.personality].compactMap { $0 }.map { ($0, UInt8(0x9b)) }
        return (plain + slots).filter { $0.0.value == 0x03 }.map { ($0.0.offset, $0.1) }
    }

    /// The same for LSDAs: types by distances to slots.
    mutating func addAbsoluteTypes(of site: TravellingSection) -> Bool {
        guard site.section.name.hasPrefix(".gcc_except_table"),
            site.section.relocations.contains(where: { $0.type == .abs32 })
        else { return false }
        let frames = ObjectFrames(objectFile(site.key.unit, site.key.side))
        for case let table? in frames.fdes.map(\.lsda) where table.section == site.key.section {
            guard LSDA(site.section.data, at: Int(table.offset))?.typeEncoding == 0x03 else { continue }
            object.sections[site.number].data[Int(table.offset) + 1] = 0x9b
        }
        for var relocation in site.section.relocations where relocation.type != .none {
            if relocation.type == .abs32 { relocation.type = .gotpcrel }
            add(relocation, at: site)
        }
        return true
    }

    private mutating func append(_ range: Range<Int>, of site: TravellingSection) -> Int {
        let start = object.sections[site.number].data.count
        object.sections[site.number].data += site.section.data[range]
        object.sections[site.number].size = UInt64(object.sections[site.number].data.count)
        return start
    }

    /// An FDE names its CIE by the distance from the field.
    private mutating func setDistance(in number: SectionIndex, at field: Int, to cie: Int) {
        let distance = UInt32(field - cie)
        for byte in 0..<4 {
            object.sections[number].data[field + byte] = UInt8(truncatingIfNeeded: distance >> (8 * byte))
        }
    }
}
