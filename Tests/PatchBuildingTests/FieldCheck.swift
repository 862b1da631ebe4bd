import ElfFormat
import ObjectFiles
import PatchFormat

@testable import Closing
@testable import CodeModel
@testable import ModuleLinking

/// Compares every field of every travelling section of a loaded module with what the psABI's formula makes of the
/// plan, without looking at how `extract` came to it.
struct FieldCheck {
    let plan: ModulePlan
    let module: LoadedModule
    let extraction: Extraction
    private let numbers: [SectionKey: SectionIndex]
    private let map: [UInt8]
    private(set) var checked = 0
    private(set) var faults: [String] = []

    init(_ plan: ModulePlan, _ linked: LinkedModule) throws {
        self.plan = plan
        module = try LoadedModule(linked)
        extraction = try extract(plan)
        // Sections are added in the same order every time.
        var builder = ModuleBuilder(plan)
        builder.addSections()
        numbers = builder.sectionNumbers
        map = module.file.section(named: ".livepatch.map")?.data ?? []
        for unit in plan.units.indices {
            for side in [Side.new, .original] {
                let sections = side == .new ? plan.units[unit].newSections : plan.units[unit].originalSections
                for section in sections { check(SectionKey(unit: unit, side: side, section: section)) }
            }
        }
    }

    private func file(_ key: SectionKey) -> ObjectFile {
        key.side == .new ? plan.units[key.unit].new : plan.units[key.unit].original
    }

    private func address(_ key: SectionKey) -> UInt64? {
        guard let number = numbers[key], let index = extraction.mapIndex[number] else { return nil }
        return (0..<8).reversed().reduce(0) { $0 << 8 | UInt64(map[index * 8 + $1]) }
    }

    private mutating func check(_ key: SectionKey) {
        let section = file(key).sections[key.section]
        guard let place = address(key) else { return }
        var bytes = section.data
        for relocation in section.relocations {
            let size = relocation.type.fieldSize
            let offset = Int(relocation.offset)
            for index in offset..<offset + size { bytes[index] = module.memory[Int(place) + index] }
            check(relocation, key, section, place + relocation.offset)
        }
        let loaded = Array(module.memory[Int(place)..<Int(place) + bytes.count])
        if loaded != bytes { faults.append("\(section.name): bytes outside of relocations differ") }
    }

    private mutating func check(_ relocation: Relocation, _ key: SectionKey, _ section: Section, _ place: UInt64) {
        let symbol = file(key).symbols[relocation.symbol]
        checked += 1
        guard let value = expected(relocation, symbol, key, section) else { return }
        let base = LoadedModule.base
        let width = relocation.type.fieldSize
        let field = module.load(place, width)
        let signed = UInt64(bitPattern: width == 4 ? Int64(Int32(truncatingIfNeeded: field)) : Int64(bitPattern: field))
        let addend = UInt64(bitPattern: relocation.addend)
        var matches: Bool
        switch relocation.type {
        case .pc32, .plt32, .pc64:
            let reached = signed &+ base &+ place &- addend
            matches = reached == value || jumps(reached, to: value)
        case .gotpcrel, .gotpcrelx, .rexGotpcrelx: matches = module.word(at: signed &+ base &+ place &- addend) == value
        case .abs64: matches = field == value &+ addend
        case .abs32, .abs32s: matches = field == (value &+ addend) & 0xffff_ffff
        default: matches = true
        }
        if !matches {
            faults.append("\(section.name)+\(relocation.offset): \(relocation.type) \(symbol.name) is wrong")
        }
    }

    /// A PLT entry of `ld`'s or ours.
    private func jumps(_ reached: UInt64, to value: UInt64) -> Bool {
        guard reached >= LoadedModule.base, reached - LoadedModule.base < module.memory.count - 8 else { return false }
        var place = reached - LoadedModule.base
        if module.load(place, 1) == 0x3e { place += 1 }
        return module.load(place, 2) == 0x25ff && module.word(at: module.reached(place + 2)) == value
    }

    private func expected(
        _ relocation: Relocation, _ symbol: Symbol, _ key: SectionKey, _ section: Section
    ) -> UInt64? {
        let base = LoadedModule.base
        let references = key.side == .new ? plan.units[key.unit].newReferences : plan.units[key.unit].originalReferences
        if let definition = symbol.sectionIndex {
            let code = section.isExecutable && relocation.type.isPCRelative ? 4 : 0
            let pointed = symbol.value &+ UInt64(bitPattern: relocation.addend &+ Int64(code))
            let isTable = !section.isExecutable && relocation.type.isPCRelative
            let definitionKey = SectionKey(unit: key.unit, side: key.side, section: definition)
            if case .outside(let binding)? = references[symbol.index] { return value(binding) }
            let isGOT = [.gotpcrel, .gotpcrelx, .rexGotpcrelx].contains(relocation.type)
            if !isTable, let entry = replacedEntry(definitionKey, isGOT ? symbol.value : pointed) {
                return LoadedModule.targetBase &+ entry &- (isGOT ? 0 : pointed &- symbol.value)
            }
            return address(definitionKey).map { base &+ $0 &+ symbol.value }
        }
        guard case .outside(let binding)? = references[symbol.index] else { return nil }
        return value(binding)
    }

    private func replacedEntry(_ key: SectionKey, _ offset: UInt64) -> UInt64? {
        plan.functions.first {
            let symbols = key.side == .new ? $0.newSymbols : $0.oldSymbols
            guard $0.unit == key.unit, let first = symbols.first else { return false }
            let symbol = file(key).symbols[first]
            return symbol.sectionIndex == key.section && symbol.value == offset
        }?.description.original?.range.address
    }

    private func value(_ binding: Binding) -> UInt64? {
        switch binding.kind {
        case .imported: module.importAddresses[binding.symbol]
        case .slot: 0x7eee_0000_0000 &+ binding.address
        case .threadLocal: nil
        default: LoadedModule.targetBase &+ binding.address
        }
    }
}
