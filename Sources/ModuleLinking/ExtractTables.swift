import Closing
import ElfFormat
import MachineCode
import ObjectFiles
import PatchFormat

/// The last step of `extract`: the tables that references were collected for are written.
extension ModuleBuilder {
    consuming func finish() -> Extraction {
        addSlots()
        let bindingTable = tables.records.isEmpty ? nil : addRecords()
        sectionsOfTables.bindings = bindingTable
        let mapIndex = addMap()
        return Extraction(
            object: object, bindings: bindings.bindings, bindingCount: tables.records.count,
            moduleBindings: bindings.modules, mapIndex: mapIndex, functions: functions, tables: sectionsOfTables,
            imports: Set(imports.keys))
    }

    /// Initialisers of objects that are new in the module. Not under the name that `ld` makes dynamic tags of.
    mutating func addInitializers() {
        let count = plan.units.reduce(0) { $0 + $1.initializers.count }
        guard count > 0 else { return }
        let table = addTable(".livepatch.init", flags: 3, size: count * 8, alignment: 8)
        var place: UInt64 = 0
        for (unit, item) in plan.units.enumerated() {
            for index in item.initializers {
                guard let found = symbol(index, unit, .new), let section = found.sectionIndex,
                    let number = sectionNumbers[SectionKey(unit: unit, side: .new, section: section)]
                else {
                    refuse(.badInput, item.name, "an initialiser does not travel")
                    continue
                }
                object.addRelocation(local(number, at: place, .abs64, addend: Int64(found.value)), to: table)
                place += 8
            }
        }
        sectionsOfTables.initializers = table
    }

    /// `.livepatch.got` and `.livepatch.plt`, and the references to them.
    private mutating func addSlots() {
        guard tables.gotSize > 0 else { return }
        let got = addTable(".livepatch.got", flags: 3, size: Int(tables.gotSize), alignment: 16)
        for (key, offset) in tables.slots { fill(key, got, offset) }
        let plt = tables.jumps.isEmpty ? 0 : addJumps(got)
        for field in tables.jumpAddresses {
            let binding = bindings.module(section: plt, name: ".livepatch.plt")
            tables.records.append(
                LiftedRecord(
                    section: field.section, offset: field.offset, type: field.type, binding: binding,
                    addend: Int64(field.jump)))
        }
        for reference in tables.references {
            let section = reference.part == .got ? got : plt
            let addend = reference.relocation.addend &+ Int64(reference.offset)
            object.addRelocation(
                local(section, at: reference.relocation.offset, .pc32, addend: addend), to: reference.site)
        }
    }

    private mutating func fill(_ key: SlotKey, _ got: SectionIndex, _ offset: UInt64) {
        func record(_ type: RelocationType, _ binding: Int, at offset: UInt64, addend: Int64 = 0) -> LiftedRecord {
            LiftedRecord(section: got, offset: offset, type: type, binding: binding, addend: addend)
        }
        switch key {
        case .address(let binding, let distance):
            tables.records.append(record(.abs64, binding, at: offset, addend: distance))
        case .local(let section, let place):
            object.addRelocation(local(section, at: offset, .abs64, addend: place), to: got)
        case .threadOffset(let binding): tables.records.append(record(.tpoff64, binding, at: offset))
        case .threadPair(let binding):
            tables.records.append(record(.dtpmod64, binding, at: offset))
            tables.records.append(record(.dtpoff64, binding, at: offset + 8))
        case .threadDescriptor(let entry, let argument):
            tables.records.append(record(.abs64, entry, at: offset))
            tables.records.append(record(.abs64, argument, at: offset + 8))
        case .threadModule(let binding): tables.records.append(record(.dtpmod64, binding, at: offset))
        }
    }

    /// One `notrack jmp *slot(%rip)` each: no register changes, as in the target's own PLT.
    private mutating func addJumps(_ got: SectionIndex) -> SectionIndex {
        let size = Int(ModuleTables.jumpSize)
        let plt = addTable(".livepatch.plt", flags: 6, size: tables.jumps.count * size, alignment: 16)
        for (index, binding) in tables.jumps.enumerated() {
            let start = index * size
            object.sections[plt].data.replaceSubrange(start..<start + size, with: Encoding.jumpThroughSlot)
            let slot = Int64(tables.slot(.address(binding)))
            object.addRelocation(local(got, at: UInt64(start + 3), .pc32, addend: slot - 4), to: plt)
        }
        return plt
    }

    /// `.livepatch.bindings`: see `BindingRecord`.
    private mutating func addRecords() -> SectionIndex {
        let size = BindingRecord.size
        let table = addTable(".livepatch.bindings", flags: 2, size: tables.records.count * size, alignment: 8)
        var data: [UInt8] = []
        for (index, record) in tables.records.enumerated() {
            // `ld` fills in the distance to the place.
            object.addRelocation(
                local(record.section, at: UInt64(index * size), .pc32, addend: Int64(record.offset)), to: table)
            data += bytes(0 as UInt32) + bytes(record.type.rawValue) + bytes(UInt32(record.binding))
            data += bytes(0 as UInt32) + bytes(record.addend)
        }
        object.sections[table].data = data
        return table
    }

    private func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// `.livepatch.map`: addresses of all sections with a size, in order, for the pass after the link. It is not
    /// loaded.
    private mutating func addMap() -> [SectionIndex: Int] {
        let numbers = sectionSymbols.keys.sorted().filter { object.sections[$0].size > 0 }
        let map = object.addSection(
            name: ".livepatch.map", flags: 0, alignment: 8, data: Array(repeating: 0, count: numbers.count * 8))
        for (index, number) in numbers.enumerated() {
            object.addRelocation(local(number, at: UInt64(index * 8), .abs64, addend: 0), to: map)
        }
        return Dictionary(uniqueKeysWithValues: numbers.enumerated().map { ($1, $0) })
    }
}
