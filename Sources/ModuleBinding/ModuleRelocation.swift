import Diagnostics
import ElfFormat
import PatchFormat

extension ModuleImage {
    /// Applies the binding records and the module's own dynamic relocations for a module that will lie at `base`.
    ///
    /// - Parameters:
    ///   - values: one per binding of the manifest.
    ///   - resolve: the address of a library's symbol that no binding names.
    /// - Throws: `Refusal` relocation-type for a type outside the closed list, no-near-hole when a value does not fit
    ///   its field.
    package mutating func relocate(
        base: UInt64, bindings: [Binding], values: [BindingValue], resolve: (ImportedSymbol) throws -> BindingValue
    ) throws {
        for record in records {
            try apply(record, name: bindings[record.binding].symbol, value: values[record.binding], base: base)
        }
        // The module's own undefined symbols bear no version: their bindings say which one the target uses.
        var imports: [String: BindingValue] = [:]
        for (binding, value) in zip(bindings, values) where binding.kind == .imported {
            imports[binding.symbol] = value
        }
        for relocation in tables.relocations {
            try apply(relocation, base: base) { symbol in try imports[symbol.name] ?? resolve(symbol) }
        }
    }

    /// The module's slots for functions of libraries, what each is bound to, and whether only calls go through it.
    func importedSlots(_ bindings: [Binding]) throws -> [(slot: UInt64, symbol: ImportedSymbol, isCalled: Bool)] {
        let bound = Dictionary(
            bindings.filter { $0.kind == .imported }.map { ($0.symbol, ImportedSymbol($0)) },
            uniquingKeysWith: { _, last in last })
        return try tables.relocations.compactMap { relocation in
            guard relocation.type.isFilledSlot, relocation.symbol < tables.symbols.count,
                !tables.symbols[relocation.symbol].isDefined
            else { return nil }
            let symbol = try importedSymbol(relocation)
            return (relocation.offset, bound[symbol.name] ?? symbol, relocation.type == .jumpSlot)
        }
    }

    /// The psABI's formulas, with S = the binding's value and P = the place's address in the process.
    private mutating func apply(_ record: BindingRecord, name: String, value: BindingValue, base: UInt64) throws {
        let addend = UInt64(bitPattern: record.addend)
        let place = base &+ record.place
        switch (record.type, value) {
        case (.abs64, .address(let value)): try memory.store(value &+ addend, size: 8, at: record.place)
        case (.pc64, .address(let value)): try memory.store(value &+ addend &- place, size: 8, at: record.place)
        case (.pc32, .address(let value)):
            try storeSigned(value &+ addend &- place, at: record.place, name)
        case (.abs32s, .address(let value)): try storeSigned(value &+ addend, at: record.place, name)
        case (.abs32, .address(let value)):
            guard value &+ addend <= UInt64(UInt32.max) else { throw tooFar(name) }
            try memory.store(value &+ addend, size: 4, at: record.place)
        case (_, .threadLocal(let variable)): try apply(record, name: name, variable: variable)
        default: throw unknown(record.type, name)
        }
    }

    private mutating func apply(_ record: BindingRecord, name: String, variable: ThreadLocal) throws {
        let offset = variable.offset &+ UInt64(bitPattern: record.addend)
        switch record.type {
        case .tpoff64, .tpoff32:
            guard let start = variable.staticOffset else {
                throw Refusal(
                    .unboundSymbol, subject: name,
                    why: "the target has no static place for its thread-locals that could be read from its slots")
            }
            let value = UInt64(bitPattern: start) &+ offset
            if record.type == .tpoff64 { return try memory.store(value, size: 8, at: record.place) }
            try storeSigned(value, at: record.place, name)
        case .dtpmod64:
            guard let id = variable.moduleID else {
                throw Refusal(
                    .unboundSymbol, subject: name, why: "the target's TLS module id can't be read from its slots")
            }
            try memory.store(id, size: 8, at: record.place)
        case .dtpoff64: try memory.store(offset, size: 8, at: record.place)
        case .dtpoff32: try storeSigned(offset, at: record.place, name)
        default: throw unknown(record.type, name)
        }
    }

    private mutating func apply(
        _ relocation: DynamicRelocation, base: UInt64, resolve: (ImportedSymbol) throws -> BindingValue
    ) throws {
        let addend = UInt64(bitPattern: relocation.addend)
        switch relocation.type {
        case .none: return
        case .relative: try memory.store(base &+ addend, size: 8, at: relocation.offset)
        case .globDat, .jumpSlot, .abs64:
            switch (try value(relocation, base, resolve), relocation.type) {
            case (.address(let value), .abs64): try memory.store(value &+ addend, size: 8, at: relocation.offset)
            case (.address(let value), _): try memory.store(value, size: 8, at: relocation.offset)
            case (.chosen(_, let unbound?), .jumpSlot): try memory.store(unbound, size: 8, at: relocation.offset)
            // A call at load stores it.
            case (.chosen, .globDat), (.chosen, .jumpSlot): try memory.store(0, size: 8, at: relocation.offset)
            default: throw unknown(relocation.type, "the module's dynamic relocations")
            }
        default: throw unknown(relocation.type, "the module's dynamic relocations")
        }
    }

    private func value(
        _ relocation: DynamicRelocation, _ base: UInt64, _ resolve: (ImportedSymbol) throws -> BindingValue
    ) throws -> BindingValue {
        guard relocation.symbol < tables.symbols.count else { throw memory.fault("a relocation names no symbol") }
        let symbol = tables.symbols[relocation.symbol]
        if symbol.isDefined { return .address(base &+ symbol.value) }
        return try resolve(try importedSymbol(relocation))
    }

    /// - Precondition: the relocation's symbol is one of the module's.
    private func importedSymbol(_ relocation: DynamicRelocation) throws -> ImportedSymbol {
        let symbol = tables.symbols[relocation.symbol]
        let version = tables.version(ofSymbol: relocation.symbol)
        return ImportedSymbol(
            name: try tables.name(of: symbol), version: version?.name, library: version?.library,
            isWeak: symbol.binding == STB.weak)
    }

    private mutating func storeSigned(_ value: UInt64, at place: UInt64, _ name: String) throws {
        guard Int32(exactly: Int64(bitPattern: value)) != nil else { throw tooFar(name) }
        try memory.store(value, size: 4, at: place)
    }

    private func tooFar(_ name: String) -> Refusal {
        Refusal(.noHole, subject: name, why: "its address does not fit the 32-bit field that refers to it")
    }

    private func unknown(_ type: RelocationType, _ name: String) -> Refusal {
        Refusal(
            .relocationType, subject: name,
            why: "the relocation type \(type) is not one that the applier computes for this kind of binding")
    }
}
