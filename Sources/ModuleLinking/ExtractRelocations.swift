import Closing
import Diagnostics
import ElfFormat
import MachineCode
import ObjectFiles
import PatchFormat

/// The closed list of relocation types, and what becomes of each: kept for `ld`, sent through a slot of ours, or
/// lifted out for the applier. Anything else is refused.
extension ModuleBuilder {
    mutating func addRelocations() {
        for index in sites.indices where !addAbsoluteTypes(of: sites[index]) {
            for relocation in sites[index].section.relocations where relocation.type != .none {
                add(relocation, at: sites[index])
            }
        }
    }

    mutating func add(_ relocation: Relocation, at site: TravellingSection) {
        switch resolve(relocation, at: site) {
        case .local(let section, let offset): addLocal(relocation, at: site, section, offset)
        case .outside(let binding, let addend):
            var relocation = relocation
            relocation.addend = addend
            switch binding.kind {
            case .target, .slot: addBound(relocation, at: site, binding)
            case .imported: addImported(relocation, at: site, binding)
            case .threadLocal: addThreadLocal(relocation, at: site, binding)
            case .module: refuseType(relocation, site, binding.symbol)
            }
        case nil: break
        }
    }

    private mutating func refuseType(_ relocation: Relocation, _ site: TravellingSection, _ symbol: String) {
        refuse(
            .relocationType, site.name(at: relocation.offset),
            "\(relocation.type) against \(symbol) in \(site.section.name) is not in the closed list")
    }

    /// The field is filled by the applier.
    private mutating func lift(
        _ relocation: Relocation, _ type: RelocationType, at site: TravellingSection, binding: Int, addend: Int64
    ) {
        let size = UInt64(type.fieldSize)
        let length = UInt64(object.sections[site.number].data.count)
        guard size <= length, relocation.offset <= length - size else {
            return refuse(.badInput, site.section.name, "a relocation lies outside of the section")
        }
        let start = Int(relocation.offset)
        for index in start..<start + Int(size) { object.sections[site.number].data[index] = 0 }
        tables.records.append(
            LiftedRecord(
                section: site.number, offset: relocation.offset, type: type, binding: binding, addend: addend))
    }

    /// The field is filled by `ld`, with the distance to a slot of ours. A plain PC32, so that `ld` relaxes nothing
    /// (trap linker-relaxations).
    private mutating func reach(_ slot: SlotKey, _ relocation: Relocation, at site: TravellingSection) {
        let place = tables.slot(slot)
        keep(
            Relocation(offset: relocation.offset, type: .pc32, symbol: 0, addend: relocation.addend), at: site,
            tables: .got, place)
    }

    private mutating func keep(
        _ relocation: Relocation, at site: TravellingSection, tables part: TablePart, _ offset: UInt64
    ) {
        tables.references.append(
            TableReference(site: site.number, relocation: relocation, part: part, offset: offset))
    }

    // MARK: To the module itself

    private mutating func addLocal(
        _ relocation: Relocation, at site: TravellingSection, _ section: SectionIndex, _ offset: Int64
    ) {
        let addend = relocation.addend &+ offset
        switch relocation.type {
        case .pc32, .plt32, .pc64:
            let type = relocation.type == .plt32 ? .pc32 : relocation.type
            object.addRelocation(local(section, at: relocation.offset, type, addend: addend), to: site.number)
        case .abs64 where site.section.isWritable:
            object.addRelocation(local(section, at: relocation.offset, .abs64, addend: addend), to: site.number)
        case .abs64, .abs32, .abs32s:
            // `ld -shared` would make these text relocations, or refuses them.
            let binding = bindings.module(section: section, name: object.sections[section].name)
            lift(relocation, relocation.type, at: site, binding: binding, addend: addend)
        case let type where type.isNearSlot:
            reach(.local(section: section, offset: offset), relocation, at: site)
        default: refuseType(relocation, site, object.sections[section].name)
        }
    }

    // MARK: To the target

    private mutating func addBound(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        switch relocation.type {
        case .pc32, .plt32:
            let index = bindings.index(of: binding)
            if binding.kind == .slot, relocation.isBranch(in: site.section) {
                // What the slot holds may lie in a library that is too far for a direct call.
                return keep(relocation, at: site, tables: .plt, tables.jump(to: index))
            }
            lift(relocation, .pc32, at: site, binding: index, addend: relocation.addend)
        case .pc64, .abs64, .abs32, .abs32s:
            let index = bindings.index(of: binding)
            lift(relocation, relocation.type, at: site, binding: index, addend: relocation.addend)
        case let type where type.isNearSlot:
            reach(.address(bindings.index(of: binding)), relocation, at: site)
        default: refuseType(relocation, site, binding.symbol)
        }
    }

    // MARK: To libraries

    private mutating func addImported(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        var kept = relocation
        switch relocation.type {
        case .plt32: break
        case .pc32 where relocation.isBranch(in: site.section): kept.type = .plt32
        case let type where type.isNearSlot: kept.type = .gotpcrel
        case .abs64 where site.section.isWritable: break
        case .abs64:
            // Code of the large model: `ld -shared` would make this a text relocation.
            guard let index = bindings.indexOfImported(binding) else { return refuseVersions(binding) }
            return lift(relocation, .abs64, at: site, binding: index, addend: relocation.addend)
        case .pc32: return addDirect(relocation, at: site, binding)
        case .abs32, .abs32s:
            guard site.section.isExecutable else { return refuseType(relocation, site, binding.symbol) }
            let isJump = isDestructor(binding.symbol) && relocation.addend == 0
            return isJump
                ? addJumpAddress(relocation, at: site, binding) : refuseDirect(relocation, site, binding.symbol)
        default: return refuseType(relocation, site, binding.symbol)
        }
        guard bindings.indexOfImported(binding) != nil else { return refuseVersions(binding) }
        kept.symbol = undefined(binding)
        object.addRelocation(kept, to: site.number)
    }

    /// Code of a program names a library's data as if they were its own. Where it only takes the address, `lea x(%rip), r`
    /// becomes `mov slot(%rip), r`, of the same length and effect: what a linker does the other way round. (Where the target
    /// has a copy of the data, that is bound, and nothing gets here.)
    private mutating func addDirect(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        guard isLoadOfAddress(relocation, site) else { return refuseDirect(relocation, site, binding.symbol) }
        guard let index = bindings.indexOfImported(binding) else { return refuseVersions(binding) }
        patch([Encoding.loadOpcode], at: relocation.offset - 2, of: site)
        var field = relocation
        field.addend = -4
        reach(.address(index, offset: relocation.addend &+ 4), field, at: site)
    }

    private mutating func refuseDirect(_ relocation: Relocation, _ site: TravellingSection, _ symbol: String) {
        refuse(
            .pieLibraryData, site.name(at: relocation.offset),
            "it uses \(symbol) of a library directly, and the target has no copy of it")
    }

    /// Nobody can compare a destructor's address: the compiler hands it to the library, to be called. So a jump of the module's
    /// own serves where code asks for an address of 4 bytes.
    private mutating func addJumpAddress(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        guard let index = bindings.indexOfImported(binding) else { return refuseVersions(binding) }
        let start = relocation.offset
        patch([0, 0, 0, 0], at: start, of: site)
        tables.jumpAddresses.append((site.number, start, relocation.type, tables.jump(to: index)))
    }

    private func isDestructor(_ name: String) -> Bool {
        name.hasPrefix("_ZN") && ["D0Ev", "D1Ev", "D2Ev"].contains { name.hasSuffix($0) }
    }

    /// The field is the last of a `lea` of 8 bytes.
    private func isLoadOfAddress(_ relocation: Relocation, _ site: TravellingSection) -> Bool {
        let data = site.section.data
        guard site.section.isExecutable, let field = Int(exactly: relocation.offset),
            Encoding.mayTakeAddress(in: data, at: field)
        else { return false }
        let start = site.symbols.last { $0.value <= relocation.offset }.map { Int($0.value) } ?? 0
        var isFound = false
        forEachInstruction(data[start...], at: UInt64(start)) { instruction in
            guard instruction.end == relocation.offset + 4 else { return }
            isFound = instruction.takesAddress && instruction.length == 7
        }
        return isFound
    }

    private mutating func refuseVersions(_ binding: Binding) {
        refuse(.ambiguousSymbol, binding.symbol, "the module would need two versions of one library symbol")
    }

    private mutating func undefined(_ binding: Binding) -> SymbolIndex {
        if let known = imports[binding.symbol] {
            if !binding.weak { object.symbols[known].binding = .global }
            return known
        }
        let number = object.addSymbol(
            name: binding.symbol, binding: binding.weak ? .weak : .global, place: .undefined)
        imports[binding.symbol] = number
        return number
    }

    // MARK: Thread-locals

    private mutating func addThreadLocal(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        switch relocation.type {
        case .tpoff32, .dtpoff32:
            let index = bindings.index(of: binding)
            lift(relocation, relocation.type, at: site, binding: index, addend: relocation.addend)
        case .gottpoff: reach(.threadOffset(bindings.index(of: binding)), relocation, at: site)
        case .tlsgd: reach(.threadPair(bindings.index(of: binding)), relocation, at: site)
        case .tlsld: reach(.threadModule(bindings.index(of: binding)), relocation, at: site)
        case .gotpc32TLSDesc: addDescriptor(relocation, at: site, binding)
        case .tlsDescCall:
            if descriptor(of: binding) == nil { patch(Encoding.shortNop, at: relocation.offset, of: site) }
        default: refuseType(relocation, site, binding.symbol)
        }
    }

    /// `lea x@tlsdesc(%rip), %rax; call *(%rax)`: through a copy of the target's own descriptor, or as a linker would
    /// relax it, by the distance from the thread pointer.
    private mutating func addDescriptor(_ relocation: Relocation, at site: TravellingSection, _ binding: Binding) {
        let start = Int(relocation.offset) - 3
        guard start >= 0, relocation.offset <= UInt64(site.section.data.count),
            site.section.data[start..<start + 3].elementsEqual(Encoding.addressToRAX), relocation.addend == -4
        else { return refuseType(relocation, site, binding.symbol) }
        if let slot = descriptor(of: binding) {
            let words = [slot, slot &+ 8].map {
                bindings.index(of: Binding(kind: .slot, symbol: binding.symbol, address: $0))
            }
            return reach(.threadDescriptor(words[0], words[1]), relocation, at: site)
        }
        let index = bindings.index(of: binding)
        if plan.threadDescriptors == nil {
            patch(Encoding.constantToRAX, at: UInt64(start), of: site)
            return lift(relocation, .tpoff32, at: site, binding: index, addend: 0)
        }
        patch(Encoding.loadToRAX, at: UInt64(start), of: site)
        reach(.threadOffset(index), relocation, at: site)
    }

    private func descriptor(of binding: Binding) -> UInt64? { plan.threadDescriptors?[binding.address] }

    private mutating func patch(_ bytes: [UInt8], at offset: UInt64, of site: TravellingSection) {
        let start = Int(offset)
        guard start >= 0, start + bytes.count <= object.sections[site.number].data.count else { return }
        object.sections[site.number].data.replaceSubrange(start..<start + bytes.count, with: bytes)
    }
}
