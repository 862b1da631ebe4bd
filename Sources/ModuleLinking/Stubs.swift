import Closing
import Diagnostics
import ElfFormat
import MachineCode
import ObjectFiles
import PatchFormat

extension ModuleBuilder {
    /// Adds stubs, the pointers they jump through, and the switch.
    mutating func addStubs() {
        object.addSymbol(name: "livepatch", kind: .file, place: .absolute)
        let replaced = plan.functions.filter { $0.description.original != nil }
        let switchByte = addTable(".livepatch.switch", flags: 3, size: 8, alignment: 8, symbol: "livepatch_switch")
        sectionsOfTables.switchByte = switchByte
        if sharesSwitch {
            let pointer = addTable(".livepatch.switchptr", flags: 3, size: 8, alignment: 8)
            object.addRelocation(local(switchByte, at: 0, .abs64, addend: 0), to: pointer)
            sectionsOfTables.switchPointer = pointer
        }
        let stubs = addTable(".livepatch.stubs", flags: 6, size: replaced.count * Stub.alignment, alignment: 32)
        let slots = addTable(".livepatch.slots", flags: 3, size: replaced.count * 8, alignment: 8)
        object.sections[stubs].data = Array(repeating: Encoding.filler, count: replaced.count * Stub.alignment)
        var next = 0
        for function in plan.functions {
            var extracted = ExtractedFunction()
            extracted.newRanges = ranges(function.newSymbols, function, .new)
            extracted.oldRanges = ranges(function.oldSymbols, function, .original)
            if let original = function.description.original {
                addStub(number: next, function, original, &extracted, stubs: stubs, slots: slots)
                next += 1
            }
            functions.append(extracted)
        }
    }

    private mutating func addStub(
        number: Int, _ function: FunctionPlan, _ original: OriginalFunction, _ extracted: inout ExtractedFunction,
        stubs: SectionIndex, slots: SectionIndex
    ) {
        let name = function.description.name
        guard let new = extracted.newRanges.first else { return refuse(.badInput, name, "its new body doesn't travel") }
        let place = UInt64(number * Stub.alignment)
        let slot = UInt64(number * 8)
        let stub = sharesSwitch ? Stub.shared : Stub.direct
        object.sections[stubs].data.replaceSubrange(Int(place)..<Int(place) + stub.code.count, with: stub.code)
        let tested = sectionsOfTables.switchPointer ?? sectionsOfTables.switchByte
        for relocation in [
            local(tested, at: place + stub.test.offset, .pc32, addend: stub.test.addend),
            local(new.section, at: place + stub.new, .pc32, addend: Int64(new.offset) - 4),
            local(slots, at: place + stub.old, .pc32, addend: Int64(slot) - 4),
        ] { object.addRelocation(relocation, to: stubs) }
        object.addSymbol(
            name: name + ".stub", kind: .function, place: .section(stubs), value: place, size: UInt64(stub.code.count))
        extracted.stub = ObjectRange(section: stubs, offset: place, size: UInt64(stub.code.count))
        extracted.oldSlot = ObjectRange(section: slots, offset: slot, size: 8)
        fillSlot(slots, slot, name, original, extracted.oldRanges.first)
    }

    /// The way on while the switch is off: behind the pad, or the copy.
    private mutating func fillSlot(
        _ slots: SectionIndex, _ slot: UInt64, _ name: String, _ original: OriginalFunction, _ copy: ObjectRange?
    ) {
        switch original.entry.kind {
        case .padded:
            let (address, overflow) = original.range.address.addingReportingOverflow(
                UInt64(max(0, original.entry.resumeOffset)))
            if overflow { return refuse(.badInput, name, "its address is out of range") }
            let binding = bindings.index(of: Binding(kind: .target, symbol: name, address: address))
            tables.records.append(
                LiftedRecord(section: slots, offset: slot, type: .abs64, binding: binding, addend: 0))
        case .bare:
            guard let copy else { return refuse(.badInput, name, "the copy of its original body doesn't travel") }
            object.addRelocation(local(copy.section, at: slot, .abs64, addend: Int64(copy.offset)), to: slots)
        case .none: refuse(.entryNone, name, "its entry can't take a jump")
        }
    }

    /// Where a function and its `.cold` halves lie in the object.
    private mutating func ranges(_ symbols: [SymbolIndex], _ function: FunctionPlan, _ side: Side) -> [ObjectRange] {
        symbols.compactMap { index in
            let found = symbol(index, function.unit, side)
            guard let found, let section = found.sectionIndex,
                let number = sectionNumbers[SectionKey(unit: function.unit, side: side, section: section)],
                found.value <= object.sections[number].size
            else {
                refuse(.badInput, function.description.name, "a part of it doesn't travel: \(found?.name ?? "?")")
                return nil
            }
            let room = object.sections[number].size - found.value
            return ObjectRange(
                section: number, offset: found.value, size: found.size == 0 ? room : min(found.size, room))
        }
    }

    /// Adds a section of the module's own.
    mutating func addTable(
        _ name: String, flags: UInt64, size: Int, alignment: UInt64, symbol: String? = nil
    ) -> SectionIndex {
        let data = [UInt8](repeating: 0, count: size)
        let number = add(
            Section(
                index: 0, name: name, type: 1, flags: flags, size: UInt64(size), alignment: alignment, data: data))
        if let symbol { object.addSymbol(name: symbol, kind: .object, place: .section(number), size: UInt64(size)) }
        return number
    }
}
