import Disassembly
import ElfFormat
import ObjectFiles
import TestSupport

/// A change of an object that means something else to the machine, and who has to be named for it.
struct Mutation {
    var description: String
    var bytes: [UInt8]
    /// All of them have to be found changed.
    var expected: Set<String>
}

/// Makes mutations that change a meaning by construction: never padding, never what nobody reads.
struct Mutator {
    let subject: ObjectBytes
    var random: SplitMix
    private let storedRelocations: [ObjectBytes.StoredRelocation]
    private let functions: [Symbol]

    init(_ subject: ObjectBytes, seed: UInt64) {
        self.subject = subject
        random = SplitMix(state: seed)
        storedRelocations = subject.storedRelocations.filter { subject.file.sections[$0.section].isAllocated }
        functions = subject.file.symbols.filter { $0.kind == .function && $0.isDefined && $0.size > 8 }
    }

    static var kinds: [(String, (inout Mutator) -> Mutation?)] {
        [
            ("instruction", { $0.instruction() }), ("symbol", { $0.symbol() }), ("addend", { $0.addend() }),
            ("type", { $0.type() }), ("swapped calls", { $0.swappedCalls() }), ("datum", { $0.datum() }),
            ("literal", { $0.literal() }), ("jump table", { $0.jumpTable() }), ("pointer", { $0.pointer() }),
            ("size", { $0.symbolSize() }), ("value", { $0.symbolValue() }), ("protection", { $0.protection() }),
        ]
    }

    // MARK: code

    /// Another valid instruction of the same length; relocated fields stay.
    private mutating func instruction() -> Mutation? {
        guard let function = functions.randomElement(using: &random), let section = function.sectionIndex else {
            return nil
        }
        let holder = subject.file.sections[section]
        let code = Array(holder.data[Int(function.value)..<Int(function.value + function.size)])
        let fields = storedRelocations.filter { $0.section == section }.flatMap { stored in
            (0..<UInt64(stored.relocation.type.fieldSize)).map { stored.relocation.offset + $0 - function.value }
        }
        let real = disassemble(code, at: 0, operands: true).filter { $0.kind != .nop && $0.kind != .invalid }
        guard let chosen = real.randomElement(using: &random) else { return nil }
        let free = (chosen.address..<chosen.end).filter { !fields.contains($0) }
        guard let place = free.randomElement(using: &random) else { return nil }
        var changed = code
        changed[Int(place)] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &random)
        let after = disassemble(
            Array(changed[Int(chosen.address)..<Int(chosen.end)]), at: chosen.address, operands: true)
        guard after.count == 1, after[0].kind != .invalid, after[0].kind != .nop,
            after[0].mnemonic != chosen.mnemonic || after[0].operands != chosen.operands
        else { return nil }
        var object = subject
        object.put(changed[Int(place)], at: Int(holder.fileOffset + function.value + place))
        return Mutation(
            description: "\(chosen.mnemonic) \(chosen.operands) became \(after[0].mnemonic) \(after[0].operands)",
            bytes: object.bytes, expected: [ObjectBytes.function(function.name)])
    }

    private mutating func codeRelocation(_ isWanted: (ObjectBytes.StoredRelocation) -> Bool = { _ in true }) -> (
        ObjectBytes.StoredRelocation, Symbol
    )? {
        let code = storedRelocations.filter { subject.file.sections[$0.section].isExecutable && isWanted($0) }
        guard let stored = code.randomElement(using: &random),
            let owner = subject.owner(section: stored.section, offset: stored.relocation.offset)
        else { return nil }
        return (stored, owner)
    }

    /// Another symbol of like kind, at another place.
    private mutating func symbol() -> Mutation? {
        guard let (stored, owner) = codeRelocation() else { return nil }
        let symbols = subject.file.symbols
        let old = symbols[stored.relocation.symbol]
        let others = symbols.filter {
            $0.kind == old.kind && $0.isDefined == old.isDefined && !$0.name.isEmpty && $0.name != old.name
                && ($0.place != old.place || $0.value != old.value || !old.isDefined)
        }
        guard let other = others.randomElement(using: &random) else { return nil }
        return relocated(stored, owner, "\(old.name) became \(other.name)") {
            $0.set(stored.record, symbol: other.index)
        }
    }

    private mutating func addend() -> Mutation? {
        guard let (stored, owner) = codeRelocation(), let step: Int64 = [-8, -1, 1, 8].randomElement(using: &random)
        else {
            return nil
        }
        return relocated(stored, owner, "addend \(step)") {
            $0.set(stored.record, addend: stored.relocation.addend + step)
        }
    }

    private mutating func type() -> Mutation? {
        let kinds: [RelocationType: RelocationType] = [
            .pc32: .abs32s, .plt32: .abs32s, .rexGotpcrelx: .pc32, .tpoff32: .abs32s, .abs32s: .pc32,
        ]
        guard let (stored, owner) = codeRelocation({ kinds[$0.relocation.type] != nil }),
            let other = kinds[stored.relocation.type]
        else { return nil }
        return relocated(stored, owner, "\(stored.relocation.type) became \(other)") {
            $0.set(stored.record, type: other.rawValue)
        }
    }

    private mutating func swappedCalls() -> Mutation? {
        let calls = storedRelocations.filter {
            subject.file.sections[$0.section].isExecutable && $0.relocation.type == .plt32
        }
        guard let first = calls.randomElement(using: &random) else { return nil }
        let others = calls.filter { $0.section == first.section && $0.relocation.symbol != first.relocation.symbol }
        guard let second = others.randomElement(using: &random),
            let owner = subject.owner(section: first.section, offset: first.relocation.offset)
        else { return nil }
        return relocated(first, owner, "two calls swapped") {
            $0.set(first.record, symbol: second.relocation.symbol)
            $0.set(second.record, symbol: first.relocation.symbol)
        }
    }

    private func relocated(
        _ stored: ObjectBytes.StoredRelocation, _ owner: Symbol, _ text: String, _ change: (inout ObjectBytes) -> Void
    ) -> Mutation {
        var object = subject
        change(&object)
        let place = "\(owner.name)+0x\(String(stored.relocation.offset - owner.value, radix: 16))"
        return Mutation(
            description: "\(place): \(text)", bytes: object.bytes, expected: [ObjectBytes.function(owner.name)])
    }

    // MARK: data

    private func data(_ isWanted: (Section) -> Bool) -> [Symbol] {
        subject.file.symbols.filter { symbol in
            guard let index = symbol.sectionIndex, symbol.kind == .object || symbol.kind == .threadLocal else {
                return false
            }
            let section = subject.file.sections[index]
            return symbol.size > 0 && !section.isNoBits && isWanted(section)
        }
    }

    /// A byte of a variable's initial value, of a thread-local one too, or of a constant.
    private mutating func datum() -> Mutation? {
        guard let symbol = data({ _ in true }).randomElement(using: &random), let index = symbol.sectionIndex else {
            return nil
        }
        let offset = symbol.value + UInt64.random(in: 0..<symbol.size, using: &random)
        let isRelocated = storedRelocations.contains { stored in
            stored.section == index && stored.relocation.offset <= offset
                && offset < stored.relocation.offset + UInt64(stored.relocation.type.fieldSize)
        }
        if isRelocated { return nil }
        var object = subject
        object.bytes[Int(subject.file.sections[index].fileOffset + offset)] ^= UInt8.random(in: 1...255, using: &random)
        return Mutation(
            description: "byte \(offset) of \(symbol.name)", bytes: object.bytes, expected: users(symbol, index))
    }

    /// The datum; where it is a constant, also all that read it.
    private func users(_ symbol: Symbol, _ section: SectionIndex) -> Set<String> {
        let name = subject.file.sections[section].name
        let isConstant = name.hasPrefix(".rodata") || name.hasPrefix(".data.rel.ro")
        return isConstant ? subject.readers(of: section).union([symbol.name]) : [symbol.name]
    }

    /// A byte of a string or of a number without a name, that code refers to by a label.
    private mutating func literal() -> Mutation? {
        let file = subject.file
        let wanted = codeRelocation { stored in
            guard let index = file.symbols[stored.relocation.symbol].sectionIndex else { return false }
            return file.sections[index].isMergeable && file.symbols[stored.relocation.symbol].kind != .section
        }
        guard let (stored, owner) = wanted, let index = file.symbols[stored.relocation.symbol].sectionIndex else {
            return nil
        }
        let (section, start) = (file.sections[index], Int(file.symbols[stored.relocation.symbol].value))
        let length =
            section.isStrings ? section.data[start...].prefix { $0 != 0 }.count : max(1, Int(section.entrySize))
        guard length > 0 else { return nil }
        let place = start + Int.random(in: 0..<length, using: &random)
        var object = subject
        // No new end, and no other string's text: only case and the like.
        object.bytes[Int(section.fileOffset) + place] ^=
            section.isStrings ? 0x80 : 1 << UInt8.random(in: 0..<8, using: &random)
        return Mutation(
            description: "\(section.name)+\(place)", bytes: object.bytes, expected: [ObjectBytes.function(owner.name)])
    }

    private mutating func jumpTable() -> Mutation? {
        let entries = storedRelocations.filter { stored in
            let name = subject.file.sections[stored.section].name
            return name.hasPrefix(".rodata")
                && subject.owner(section: stored.section, offset: stored.relocation.offset) == nil
        }
        guard let stored = entries.randomElement(using: &random) else { return nil }
        var object = subject
        object.set(stored.record, addend: stored.relocation.addend + [-8, -1, 1, 8].randomElement(using: &random)!)
        return Mutation(
            description: "entry \(stored.relocation.offset / 4) of a jump table", bytes: object.bytes,
            expected: subject.readers(of: stored.section))
    }

    /// An address in data, constant or not.
    private mutating func pointer() -> Mutation? {
        let pointers = storedRelocations.filter { !subject.file.sections[$0.section].isExecutable }
        guard let stored = pointers.randomElement(using: &random),
            let owner = subject.owner(section: stored.section, offset: stored.relocation.offset)
        else { return nil }
        var object = subject
        object.set(stored.record, addend: stored.relocation.addend + [-8, -1, 1, 8].randomElement(using: &random)!)
        return Mutation(
            description: "pointer at \(owner.name)+\(stored.relocation.offset - owner.value)", bytes: object.bytes,
            expected: users(owner, stored.section))
    }

    // MARK: symbols and sections

    private func record(of symbol: Symbol) -> Int? {
        subject.file.sections.first { $0.type == 2 }.map { Int($0.fileOffset) + symbol.index.rawValue * 24 }
    }

    private mutating func symbolSize() -> Mutation? {
        let symbols = functions + data { _ in true }
        guard let symbol = symbols.randomElement(using: &random), let record = record(of: symbol) else { return nil }
        var object = subject
        object.put(symbol.size - UInt64.random(in: 1...min(4, symbol.size), using: &random), at: record + 16)
        return Mutation(
            description: "size of \(symbol.name)", bytes: object.bytes, expected: [ObjectBytes.function(symbol.name)])
    }

    private mutating func symbolValue() -> Mutation? {
        guard let symbol = functions.randomElement(using: &random), let record = record(of: symbol) else { return nil }
        var object = subject
        object.put(symbol.value + UInt64.random(in: 1...4, using: &random), at: record + 8)
        return Mutation(
            description: "value of \(symbol.name)", bytes: object.bytes, expected: [ObjectBytes.function(symbol.name)])
    }

    /// Writable data becomes read-only, or a constant writable.
    private mutating func protection() -> Mutation? {
        let symbols = data { !$0.name.hasPrefix(".data.rel.ro") && !$0.isThreadLocal }
        guard let symbol = symbols.randomElement(using: &random), let index = symbol.sectionIndex else { return nil }
        let headers = subject.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 40, as: UInt64.self) }
        var object = subject
        object.put(subject.file.sections[index].flags ^ 1, at: Int(headers) + index.rawValue * 64 + 8)
        return Mutation(description: "protection of \(symbol.name)", bytes: object.bytes, expected: [symbol.name])
    }
}
