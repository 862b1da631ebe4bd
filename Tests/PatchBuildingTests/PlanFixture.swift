import ElfFormat
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Closing

/// A `ModulePlan` made by hand from two C sources, as the passes before `extract` would make it.
struct PlanFixture {
    static let buildID = "00112233445566778899aabbccddeeff00112233"
    static let flags = ["-O2", "-c", "-ffunction-sections", "-fdata-sections", "-fcf-protection=full"]

    var original = ""
    var new = ""
    var options = ["-fPIC"]
    /// Functions that exist in the target, by address; all are replaced.
    var replaced: [String: UInt64] = [:]
    /// Functions and data that travel because the target has none.
    var added: [String] = []
    var entry = Entry(kind: .bare, jumpOffset: 0, resumeOffset: 0)
    /// By symbol's name (for section symbols: section's name).
    var bindings: [String: Binding] = [:]
    /// What is added lies in the original object too, and travels with it.
    var originalHasAdded = false

    func plan() throws -> ModulePlan {
        let newFile = try ObjectFile.read(path: Fixture.compile(new, Self.flags + options, output: "new.o"))
        let oldFile = try ObjectFile.read(
            path: Fixture.compile(original.isEmpty ? new : original, Self.flags + options, output: "old.o"))
        let names = replaced.keys.sorted()
        var unit = UnitPlan(name: "src/unit.o", original: oldFile, new: newFile)
        unit.newSections = travelling(newFile, names + added)
        unit.newReferences = references(newFile, unit.newSections)
        if entry.kind == .bare {
            unit.originalSections = travelling(oldFile, names + (originalHasAdded ? added : []))
            unit.originalReferences = references(oldFile, unit.originalSections)
        }
        let functions = (names + added).compactMap { plan($0, newFile, oldFile) }
        return ModulePlan(
            file: "served", buildID: Self.buildID, units: [unit], functions: functions)
    }

    private func plan(_ name: String, _ new: ObjectFile, _ old: ObjectFile) -> FunctionPlan? {
        let newSymbols = symbols(new, name)
        guard let first = newSymbols.first, new.symbols[first].kind == .function else { return nil }
        var description = PatchedFunction(name: name, object: "src/unit.o", change: .new, reason: "code differs")
        var oldSymbols: [SymbolIndex] = []
        if let address = replaced[name] {
            description.change = .changed
            description.original = OriginalFunction(
                range: AddressRange(address: address, size: 64), coldRanges: [], digest: Digest.sha256([1]),
                entry: entry, endsWithCall: false)
            if entry.kind == .bare { oldSymbols = symbols(old, name) }
        }
        return FunctionPlan(description: description, unit: 0, newSymbols: newSymbols, oldSymbols: oldSymbols)
    }

    /// The function (or object), then its `.cold` half.
    private func symbols(_ file: ObjectFile, _ name: String) -> [SymbolIndex] {
        [name, name + ".cold"].compactMap { wanted in file.symbols.first { $0.name == wanted && $0.isDefined }?.index }
    }

    /// Sections of these names' symbols, and read-only data of the same names.
    private func travelling(_ file: ObjectFile, _ names: [String]) -> Set<SectionIndex> {
        var sections = Set(names.flatMap { symbols(file, $0) }.compactMap { file.symbols[$0].sectionIndex })
        // GCC 14 keeps pairs of addresses, which it stores at once, as constants without a name.
        let constants = [".rodata", ".data.rel.ro"]
        for section in file.sections where section.isAllocated && constants.contains(where: section.name.hasPrefix) {
            let isOfOther =
                bindings[section.name] != nil || file.symbols(in: section.index).contains { $0.kind == .object }
            if !isOfOther { sections.insert(section.index) }
        }
        return sections
    }

    private func references(_ file: ObjectFile, _ travelling: Set<SectionIndex>) -> [SymbolIndex: Reference] {
        var references: [SymbolIndex: Reference] = [:]
        for symbol in file.symbols.dropFirst() where symbol.kind != .file {
            let name = symbol.kind == .section ? file.sections[symbol.sectionIndex ?? 0].name : symbol.name
            if let binding = bindings[name] {
                references[symbol.index] = .outside(binding)
            } else if let section = symbol.sectionIndex {
                if travelling.contains(section) { references[symbol.index] = .here }
            } else {
                references[symbol.index] = .outside(Self.imported(name))
            }
        }
        return references
    }

    static func imported(_ name: String, version: String = "GLIBC_2.2.5") -> Binding {
        Binding(kind: .imported, symbol: name, version: version, library: "libc.so.6")
    }
}

/// A linked module in memory, with every relocation and record applied by the psABI's formulas: what the applier does.
struct LoadedModule {
    static let base: UInt64 = 0x7f00_0000_0000
    static let targetBase: UInt64 = 0x7f00_1000_0000
    /// Of the target's TLS block.
    static let threadOffset: Int64 = -0x100
    static let threadModule: UInt64 = 77

    var file: ObjectFile
    var linked: LinkedModule
    var records: [BindingRecord] = []
    var memory: [UInt8]
    var importAddresses: [String: UInt64] = [:]

    init(_ linked: LinkedModule) throws {
        self.linked = linked
        file = try ObjectFile.parse(bytes: linked.bytes, name: "module")
        memory = Array(repeating: 0, count: Int(linked.layout.memorySize))
        for segment in file.segments where segment.type == 1 {
            let start = Int(segment.fileOffset)
            for index in 0..<Int(segment.fileSize) {
                memory[Int(segment.address) + index] = linked.bytes[start + index]
            }
        }
        let table = Int(linked.layout.bindingTable)
        let bytes = Array(memory[table..<table + linked.layout.bindingCount * BindingRecord.size])
        records = try BindingRecord.decode(table: bytes, layout: linked.layout, bindingCount: linked.bindings.count)
        for relocation in file.dynamicRelocations { apply(relocation) }
        for record in records { apply(record) }
    }

    mutating func importAddress(_ name: String) -> UInt64 {
        if let known = importAddresses[name] { return known }
        let made = 0x7fff_0000_0000 + UInt64(importAddresses.count) * 0x1000
        importAddresses[name] = made
        return made
    }

    private mutating func apply(_ relocation: Relocation) {
        switch relocation.type {
        case .relative: store(relocation.offset, Self.base &+ UInt64(bitPattern: relocation.addend), 8)
        default:
            let value = importAddress(file.dynamicSymbols[relocation.symbol].name)
            store(relocation.offset, value &+ UInt64(bitPattern: relocation.addend), 8)
        }
    }

    private mutating func apply(_ record: BindingRecord) {
        let binding = linked.bindings[record.binding]
        let addend = UInt64(bitPattern: record.addend)
        let offset = UInt64(bitPattern: Int64(bitPattern: binding.address) + Self.threadOffset)
        switch record.type {
        case .dtpmod64: store(record.place, Self.threadModule, 8)
        case .dtpoff64, .dtpoff32: store(record.place, binding.address &+ addend, record.type.fieldSize)
        case .tpoff64, .tpoff32: store(record.place, offset &+ addend, record.type.fieldSize)
        case .pc32: store(record.place, value(binding) &+ addend &- (Self.base &+ record.place), 4)
        case .abs64: store(record.place, value(binding) &+ addend, 8)
        default: store(record.place, value(binding) &+ addend, 4)
        }
    }

    private func value(_ binding: Binding) -> UInt64 {
        switch binding.kind {
        case .module: Self.base &+ binding.address
        // As if each slot held an address of its own.
        case .slot: 0x7eee_0000_0000 &+ binding.address
        default: Self.targetBase &+ binding.address
        }
    }

    /// Whether the module has the bytes; a wrong module must not end the test process.
    private func holds(_ address: UInt64, _ size: Int) -> Bool {
        let isInside = address <= UInt64(memory.count) && UInt64(memory.count) - address >= UInt64(size)
        if !isInside { Issue.record("the module has no \(size) bytes at \(address)") }
        return isInside
    }

    private mutating func store(_ address: UInt64, _ value: UInt64, _ size: Int) {
        guard holds(address, size) else { return }
        for index in 0..<size { memory[Int(address) + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
    }

    func load(_ address: UInt64, _ size: Int) -> UInt64 {
        guard holds(address, size) else { return 0 }
        return (0..<size).reversed().reduce(0) { $0 << 8 | UInt64(memory[Int(address) + $1]) }
    }

    /// The 64-bit word at a place in the module, given as it is mapped.
    func word(at mapped: UInt64) -> UInt64 { load(mapped &- Self.base, 8) }

    /// Where the 32-bit field at `address` points, PC-relative, with `trailing` bytes of the instruction behind it.
    func reached(_ address: UInt64, trailing: UInt64 = 0) -> UInt64 {
        let distance = Int64(Int32(truncatingIfNeeded: load(address, 4)))
        return Self.base &+ address &+ 4 &+ trailing &+ UInt64(bitPattern: distance)
    }

    func function(_ name: String) throws -> PatchedFunction {
        try #require(linked.functions.first { $0.name == name })
    }

    /// Fields of relocations against `symbol` in a new body: addresses in the module.
    func fields(_ symbol: String, in function: String, _ plan: ModulePlan) throws -> [UInt64] {
        let unit = try plan.units.at(0).new
        let body = try #require(unit.symbols.first { $0.name == function && $0.kind == .function })
        let start = try self.function(function).newRanges.at(0).address
        return try unit.sections.at(#require(body.sectionIndex)).relocations.filter {
            let named = try unit.symbols.at($0.symbol)
            let section = named.kind == .section ? named.sectionIndex : nil
            return try (section.map { try unit.sections.at($0).name } ?? named.name) == symbol
        }.map { start + $0.offset - body.value }
    }
}
