import Diagnostics
import ElfFormat
import PatchFormat
import ProcessImage

/// Finds what the bindings of one target are worth in one process, as the target itself is bound (trap binding-scope).
package struct BindingResolver {
    package let view: ProcessView
    package let linkMap: LinkMap
    package let target: LoadedObject
    private var tablesByBias: [UInt64: DynamicTables] = [:]
    private var searchScope: [LoadedObject]?

    package init(view: ProcessView, linkMap: LinkMap, target: LoadedObject) {
        self.view = view
        self.linkMap = linkMap
        self.target = target
    }

    /// - Parameter moduleBase: where the module will lie.
    package mutating func value(of binding: Binding, moduleBase: UInt64) throws -> BindingValue {
        switch binding.kind {
        case .target:
            if let symbol = binding.chosenAs {
                try requireChosen(symbol, at: binding.address, "new code may mean that of \(target.file)")
            }
            return .address(target.bias &+ binding.address)
        case .module: return .address(moduleBase &+ binding.address)
        case .slot: return .address(try slotValue(binding))
        case .threadLocal: return .threadLocal(try threadLocal(binding))
        case .imported: return try value(of: ImportedSymbol(binding))
        }
    }

    private func slotValue(_ binding: Binding) throws -> UInt64 {
        guard target.isInside(binding.address, 8, PF.read) else {
            throw Refusal(
                .badBundle, subject: binding.symbol, why: "its slot \(hex(binding.address)) lies outside the target")
        }
        return try view.read(target.bias &+ binding.address, 8).u64(0)
    }

    // MARK: Symbols of libraries

    /// The target's own slot first; then the global scope, where copy relocations and canonical PLT entries of the
    /// executable come first.
    package mutating func value(of symbol: ImportedSymbol) throws -> BindingValue {
        if let value = try resolvedSlot(of: symbol, in: target) { return .address(value) }
        for object in try scope() {
            let tables = try tables(of: object)
            guard let index = try tables.lookup(symbol.name, version: symbol.version) else { continue }
            let found = tables.symbols[index]
            switch found.kind {
            case STT.indirect: return try implementation(of: symbol, found, in: object)
            case STT.threadLocal:
                throw Refusal(.unboundSymbol, subject: symbol.name, why: "it is a thread-local of \(object.file)")
            default:
                let isAbsolute = found.section == DynamicSymbol.absoluteSection
                return .address(isAbsolute ? found.value : object.bias &+ found.value)
            }
        }
        if symbol.isWeak { return .address(0) }
        throw try notFound(symbol)
    }

    private mutating func notFound(_ symbol: ImportedSymbol) throws -> Refusal {
        let subject = symbol.name + (symbol.version.map { "@" + $0 } ?? "")
        if let library = symbol.library, try !linkMap.objects.contains(where: { try isNamed($0, library) }) {
            return Refusal(.unboundSymbol, subject: subject, why: "\(library) is not loaded in the process")
        }
        return Refusal(.unboundSymbol, subject: subject, why: "no object in the target's search scope defines it")
    }

    /// The value of a relocated slot of `object` for exactly this symbol; nil when it has none, or none resolved yet.
    ///
    /// A pointer that was initialised with the symbol (`void (*hook)(void *) = free;`) is no slot: the program may have
    /// stored another value since.
    private mutating func resolvedSlot(of symbol: ImportedSymbol, in object: LoadedObject) throws -> UInt64? {
        let tables = try tables(of: object)
        for relocation in tables.relocations
        where relocation.type.isFilledSlot || relocation.type == .abs64 && relocation.addend == 0 {
            guard try tables.relocation(relocation, names: symbol) else { continue }
            guard relocation.type != .abs64 || object.isReadOnlyOnceRelocated(relocation.offset, 8) else { continue }
            let own = tables.symbols[relocation.symbol]
            // A canonical PLT entry is the function's address for everybody.
            if !own.isDefined, own.value != 0 { return object.bias &+ own.value }
            guard object.isInside(relocation.offset, 8, PF.read) else { continue }
            let value = try view.read(object.bias &+ relocation.offset, 8).u64(0)
            // A lazy slot still points into the object's own PLT.
            if value == 0 || (object.contains(value) && !own.isDefined) { continue }
            return value
        }
        return nil
    }

    /// The implementation that the process uses of an IFUNC: from any slot that holds it; else its resolver will be asked, as
    /// the dynamic linker does when the first slot is bound.
    private mutating func implementation(
        of symbol: ImportedSymbol, _ definition: DynamicSymbol, in object: LoadedObject
    ) throws -> BindingValue {
        for relocation in try tables(of: object).relocations
        where relocation.type == .irelative && UInt64(bitPattern: relocation.addend) == definition.value {
            guard object.isInside(relocation.offset, 8, PF.read) else { continue }
            let value = try view.read(object.bias &+ relocation.offset, 8).u64(0)
            if object.contains(value) { return .address(value) }
        }
        for user in linkMap.objects where user.bias != object.bias {
            if let value = try resolvedSlot(of: symbol, in: user), object.contains(value) { return .address(value) }
        }
        return .chosen(by: object.bias &+ definition.value, unbound: try unboundSlot(of: symbol))
    }

    /// Where the target's own slot for the symbol leads as long as nothing was called through it: to the code of its PLT
    /// that has the dynamic linker bind it, and goes on to the implementation.
    private mutating func unboundSlot(of symbol: ImportedSymbol) throws -> UInt64? {
        let tables = try tables(of: target)
        for relocation in tables.relocations where relocation.type == .jumpSlot {
            guard try tables.relocation(relocation, names: symbol), !tables.symbols[relocation.symbol].isDefined,
                target.isInside(relocation.offset, 8, PF.read)
            else { continue }
            let value = try view.read(target.bias &+ relocation.offset, 8).u64(0)
            if target.isInside(value &- target.bias, 1, PF.execute) { return value }
        }
        return nil
    }

    /// What a load must ask for: the module's slots whose implementation nothing in the process shows.
    package mutating func choices(of image: ModuleImage, _ bindings: [Binding]) throws -> [PlannedChoice] {
        try image.importedSlots(bindings).compactMap { slot, symbol, isCalled in
            guard case .chosen(let resolver, let unbound) = try value(of: symbol), unbound == nil || !isCalled else {
                return nil
            }
            return PlannedChoice(slot: slot, resolver: resolver)
        }
    }

    /// Several objects may define a function that a library exports, and the process uses the first: a patch of another
    /// would not be called (trap binding-scope).
    package mutating func requireChosen(_ function: PatchedFunction) throws {
        guard let original = function.original, let symbol = original.chosenAs else { return }
        try requireChosen(symbol, at: original.range.address, "the patch replaces that of \(target.file)")
    }

    private mutating func requireChosen(_ symbol: ProcessSymbol, at address: UInt64, _ why: String) throws {
        for object in try scope() {
            let tables = try tables(of: object)
            // The PLT entry that a program has for the function's address is no definition of it.
            guard let index = try tables.lookup(symbol.name, version: symbol.version), tables.symbols[index].isDefined
            else { continue }
            if object.bias &+ tables.symbols[index].value == target.bias &+ address { return }
            throw Refusal(
                .unboundSymbol, subject: symbol.name,
                why: "the process uses the definition of \(object.file), and \(why)",
                remedy: "patch \(object.file), or restart")
        }
    }

    // MARK: The search scope

    /// The executable with everything it needs, preloads included, then everything that the target needs.
    private mutating func scope() throws -> [LoadedObject] {
        if let searchScope { return searchScope }
        let listed = Array(linkMap.objects.prefix(linkMap.listed))
        guard let executable = listed.first else { return linkMap.objects }
        let global = try closure(of: executable)
        // Preloads stand between the executable and the first thing that it needs.
        let firstNeeded = listed.dropFirst().firstIndex { global.contains($0.bias) } ?? listed.count
        let local = try closure(of: target)
        let result =
            listed.enumerated().filter { $0.offset < firstNeeded || global.contains($0.element.bias) }.map(\.element)
            + listed.filter { local.contains($0.bias) && !global.contains($0.bias) }
        searchScope = result
        return result
    }

    /// The biases of an object and of all it needs, directly or not.
    private mutating func closure(of object: LoadedObject) throws -> Set<UInt64> {
        var reached: Set<UInt64> = [object.bias]
        var queue = [object]
        while let next = queue.popLast() {
            for name in try tables(of: next).needed {
                guard let found = try linkMap.objects.first(where: { try isNamed($0, name) }),
                    reached.insert(found.bias).inserted
                else { continue }
                queue.append(found)
            }
        }
        return reached
    }

    private mutating func isNamed(_ object: LoadedObject, _ name: String) throws -> Bool {
        if object.file == lastComponent(name) { return true }
        return try tables(of: object).soname == name
    }

    private mutating func tables(of object: LoadedObject) throws -> DynamicTables {
        if let known = tablesByBias[object.bias] { return known }
        let tables = try view.tables(of: object)
        tablesByBias[object.bias] = tables
        return tables
    }

    // MARK: Thread-locals

    private mutating func threadLocal(_ binding: Binding) throws -> ThreadLocal {
        guard let segment = target.headers.first(where: { $0.type == PT.tls }) else {
            throw Refusal(.badBundle, subject: binding.symbol, why: "the target has no thread-local storage")
        }
        guard binding.address <= segment.memorySize else {
            throw Refusal(.badBundle, subject: binding.symbol, why: "it lies outside the target's thread-local storage")
        }
        var result = ThreadLocal(offset: binding.address)
        if target.bias == linkMap.objects.first?.bias {
            // The executable's segment ends at the thread pointer (ELF TLS variant II); its module id is 1.
            let alignment = max(1, segment.alignment)
            guard alignment & (alignment - 1) == 0, segment.address & (alignment - 1) == 0,
                let size = roundUp(segment.memorySize, alignment), let signed = Int64(exactly: size)
            else { throw Refusal(.unsupportedProcess, subject: target.file, why: "its TLS segment is not aligned") }
            result.staticOffset = -signed
            result.moduleID = 1
            return result
        }
        let tables = try tables(of: target)
        for relocation in tables.relocations where relocation.symbol < tables.symbols.count {
            let symbol = tables.symbols[relocation.symbol]
            guard relocation.symbol == 0 || symbol.isDefined, target.isInside(relocation.offset, 8, PF.read) else {
                continue
            }
            if relocation.type == .tpoff64 {
                let slot = try view.read(target.bias &+ relocation.offset, 8).u64(0)
                let inside = (relocation.symbol == 0 ? 0 : symbol.value) &+ UInt64(bitPattern: relocation.addend)
                result.staticOffset = Int64(bitPattern: slot &- inside)
            } else if relocation.type == .dtpmod64 {
                result.moduleID = try view.read(target.bias &+ relocation.offset, 8).u64(0)
            }
        }
        return result
    }
}

extension DynamicTables {
    /// Whether a relocation is for exactly this symbol, of this version.
    fileprivate func relocation(_ relocation: DynamicRelocation, names symbol: ImportedSymbol) throws -> Bool {
        guard relocation.symbol != 0, relocation.symbol < symbols.count,
            version(ofSymbol: relocation.symbol)?.name == symbol.version
        else { return false }
        return try name(of: symbols[relocation.symbol]) == symbol.name
    }
}
