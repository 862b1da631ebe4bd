import ElfFormat
import MachineCode
import ObjectFiles

/// A named function or data object of a relocatable object; all names of one address are one entity.
package struct Entity: Sendable {
    package enum Kind: Sendable { case function, data, threadLocal }
    package var kind: Kind
    /// The name used in messages: a global one when there is one.
    package var name: String
    package var names: [String]
    package var section: SectionIndex
    package var offset: UInt64
    package var size: UInt64
    /// Symbol indices, the one of `name` first.
    package var symbols: [SymbolIndex]
    package var isGlobal: Bool
    package var isWritable: Bool
    /// Of vague linkage (C++): any object file may define it too, and one definition serves the whole process.
    package var isVague = false

    package var end: UInt64 { offset &+ size }
    /// `f` for GCC's `f.cold`: the half of `f` that was moved out of the way.
    package var coldParent: String? { name.hasSuffix(".cold") ? String(name.dropLast(5)) : nil }
}

package typealias EntityIndex = ElementIndex<Entity>

/// What a relocation refers to, seen from the object itself. Deltas and offsets are raw: symbol value plus addend, still
/// holding the bias of PC-relative fields, which is equal wherever instruction bytes are.
package enum Referent {
    case undefined(name: String, addend: Int64)
    case entity(EntityIndex, delta: Int64)
    /// Content without a name: literals, constants, jump tables. `exact` is true when a label told the offset.
    case anonymous(section: SectionIndex, offset: Int64, exact: Bool)
    case absolute(Int64)
}

/// An object with its definitions indexed.
package struct ObjectView: Sendable {
    package let file: ObjectFile
    package let entities: Indexed<Entity>
    package let entityOfSymbol: IndexedMap<Symbol, EntityIndex>
    /// Entities of a section, sorted by offset.
    package let entitiesInSection: IndexedMap<Section, [EntityIndex]>
    package let entityNamed: [String: EntityIndex]
    /// By a function's name: its `.cold` halves.
    package let coldHalves: [String: [EntityIndex]]
    package let frames: ObjectFrames
    /// By entity: the nearest one before it in its section that reaches further than itself, or has no size, as an index
    /// into `entitiesInSection`; -1 where there is none.
    private let outer: [Int]

    package init(_ file: ObjectFile) {
        self.file = file
        frames = ObjectFrames(file)
        var places: [Place: [SymbolIndex]] = [:]
        for symbol in file.symbols where Self.names(symbol, in: file) {
            guard case .section(let section) = symbol.place else { continue }
            places[Place(section: section, offset: symbol.value), default: []].append(symbol.index)
        }
        var found: [Entity] = []
        for (place, symbols) in places.sorted(by: { ($0.key.section, $0.key.offset) < ($1.key.section, $1.key.offset) })
        {
            found.append(Self.makeEntity(place, symbols, file))
        }
        let entities = Indexed(Self.settleSizes(found, file))
        var ofSymbol = IndexedMap<Symbol, EntityIndex>(count: file.symbols.count)
        var inSection = IndexedMap<Section, [EntityIndex]>(count: file.sections.count)
        var named: [String: EntityIndex] = [:]
        var cold: [String: [EntityIndex]] = [:]
        for (index, entity) in entities.enumerated() {
            for symbol in entity.symbols { ofSymbol[symbol] = index }
            for name in entity.names { named[name] = index }
            inSection[entity.section, default: []].append(index)
            if entity.kind == .function, let parent = entity.coldParent { cold[parent, default: []].append(index) }
        }
        self.entities = entities
        entityOfSymbol = ofSymbol
        entitiesInSection = inSection
        entityNamed = named
        coldHalves = cold
        outer = Self.outerEntities(entities, inSection)
    }

    private struct Place: Hashable {
        var section: SectionIndex
        var offset: UInt64
    }

    /// Assembler-local labels (`.LC0`) and untyped symbols of data sections name nothing that a programmer wrote; clang
    /// gives those of literals (`.L.str.6`) a type, though their number says nothing.
    private static func names(_ symbol: Symbol, in file: ObjectFile) -> Bool {
        guard let index = symbol.sectionIndex, file.sections.indices.contains(index) else { return false }
        let section = file.sections[index]
        guard section.isAllocated, !symbol.name.isEmpty else { return false }
        // Clang names each function's table there, which goes where the function goes.
        if section.name.hasPrefix(".gcc_except_table") { return false }
        if section.isMergeable, symbol.name.hasPrefix(".L") { return false }
        switch symbol.kind {
        case .function, .object, .threadLocal, .indirect: return true
        case .none: return !symbol.name.hasPrefix(".L") && !section.isMergeable
        default: return false
        }
    }

    /// Labels that an `asm` statement puts inside of a function or datum are part of it; a function without a size, of an
    /// `asm` outside of functions, reaches to the next one, as does a datum of one.
    private static func settleSizes(_ entities: [Entity], _ file: ObjectFile) -> [Entity] {
        var settled: [Entity] = []
        for entity in entities {
            let isLabel = entity.size == 0 && entity.symbols.allSatisfy { file.symbols[$0].kind == .none }
            if isLabel, let last = settled.last, last.section == entity.section, entity.offset < last.end { continue }
            settled.append(entity)
        }
        for index in settled.indices where settled[index].size == 0 {
            let isDatumOfAsm = settled[index].symbols.allSatisfy { file.symbols[$0].kind == .none }
            guard settled[index].kind == .function || isDatumOfAsm else { continue }
            let next = settled.indices.contains(index + 1) ? settled[index + 1] : nil
            let section = settled[index].section
            let end = next?.section == section ? next?.offset ?? 0 : file.sections[section].size
            settled[index].size = end > settled[index].offset ? end - settled[index].offset : 0
        }
        return settled
    }

    private static func outerEntities(
        _ entities: Indexed<Entity>, _ inSection: IndexedMap<Section, [EntityIndex]>
    ) -> [Int] {
        var outer = [Int](repeating: -1, count: entities.count)
        for (_, numbers) in inSection.pairs {
            for (index, number) in numbers.enumerated() {
                var candidate = index - 1
                while candidate >= 0 {
                    let other = entities[numbers[candidate]]
                    if other.end > entities[number].end || other.size == 0 { break }
                    candidate = outer[numbers[candidate].rawValue]
                }
                outer[number.rawValue] = candidate
            }
        }
        return outer
    }

    /// Of several names, the one that the definition was given and that its section is called by; the others are aliases
    /// (a base constructor's `C2`, whose `C1` is the same code).
    package func ownName(of entity: Entity) -> String {
        entity.names.first { file.sections[entity.section].name.hasSuffix(".text." + $0) } ?? entity.name
    }

    private static func makeEntity(_ place: Place, _ symbols: [SymbolIndex], _ file: ObjectFile) -> Entity {
        let section = file.sections[place.section]
        let ordered = symbols.sorted { first, second in
            let (a, b) = (file.symbols[first], file.symbols[second])
            if (a.binding == .local) != (b.binding == .local) { return b.binding == .local }
            return a.name < b.name
        }
        let kind: Entity.Kind =
            section.isExecutable ? .function : section.isThreadLocal ? .threadLocal : .data
        return Entity(
            kind: kind, name: file.symbols[ordered[0]].name, names: ordered.map { file.symbols[$0].name },
            section: place.section, offset: place.offset, size: ordered.map { file.symbols[$0].size }.max() ?? 0,
            symbols: ordered, isGlobal: file.symbols[ordered[0]].binding != .local,
            // Written by the dynamic linker only.
            isWritable: section.isWritable && !section.name.hasPrefix(".data.rel.ro") && !section.isReferenceWord,
            isVague: ordered.contains { [.weak, .unique].contains(file.symbols[$0].binding) })
    }

    /// The entity that covers `offset` of a section, or the section's only one.
    package func entity(section: SectionIndex, offset: Int64) -> EntityIndex? {
        guard let candidates = entitiesInSection[section] else { return nil }
        // Unnamed constants share the sections whose content may be merged.
        if candidates.count == 1, entities[candidates[0]].offset == 0, !file.sections[section].isMergeable {
            return candidates[0]
        }
        var index = candidates.partitioningIndex { Int64(bitPattern: entities[$0].offset) > offset } - 1
        while index >= 0 {
            let entity = entities[candidates[index]]
            if offset < Int64(bitPattern: entity.end) || entity.size == 0 { return candidates[index] }
            index = outer[candidates[index].rawValue]
        }
        return nil
    }

    /// A constant whose address means nothing, since the linker may merge it with its equals (clang puts small static
    /// tables there): a copy is as good as the target's.
    package func mayBeCopied(_ entity: EntityIndex) -> Bool {
        !entities[entity].isGlobal && file.sections[entities[entity].section].isMergeable
    }

    /// What a relocation of `section` refers to.
    package func referent(of relocation: Relocation, in section: Section) -> Referent {
        let symbol = file.symbols[relocation.symbol]
        let raw = Int64(bitPattern: symbol.value) &+ relocation.addend
        switch symbol.place {
        case .undefined, .common: return .undefined(name: symbol.name, addend: relocation.addend)
        case .absolute: return .absolute(raw)
        case .section(let index):
            if let entity = entityOfSymbol[relocation.symbol] {
                return .entity(entity, delta: raw &- Int64(bitPattern: entities[entity].offset))
            }
            let exact = symbol.kind != .section
            let probe =
                exact ? Int64(bitPattern: symbol.value) : raw &+ bias(of: relocation, in: section, to: index, raw: raw)
            if let entity = entity(section: index, offset: probe) {
                return .entity(entity, delta: raw &- Int64(bitPattern: entities[entity].offset))
            }
            return .anonymous(section: index, offset: exact ? Int64(bitPattern: symbol.value) : probe, exact: exact)
        }
    }

    /// PC-relative fields of code count from the instruction's end: 4 bytes on, or more where an immediate follows
    /// (`movl $5, x(%rip)`, `shufps $1, .LC0(%rip), %xmm0`). Decoded only where it makes a difference.
    private func bias(of relocation: Relocation, in section: Section, to other: SectionIndex, raw: Int64) -> Int64 {
        guard section.isExecutable, relocation.type.isPCRelative else { return 0 }
        if file.sections[other].isMergeable {
            if isLiteralStart(file.sections[other], raw &+ 4) { return 4 }
        } else if entity(section: other, offset: raw &+ 4) == entity(section: other, offset: raw &+ 8) {
            return 4
        }
        return distanceToEnd(relocation, section) ?? 4
    }

    package func isLiteralStart(_ section: Section, _ offset: Int64) -> Bool {
        guard offset >= 0, offset < Int64(section.data.count) else { return false }
        let width = max(1, Int(section.entrySize))
        if Int(offset) % width != 0 { return false }
        if !section.isStrings || offset == 0 { return true }
        return section.data[max(0, Int(offset) - width)..<Int(offset)].allSatisfy { $0 == 0 }
    }

    /// The whole literal that starts at `offset`, a string's end included.
    package func literal(_ section: Section, from offset: Int) -> ArraySlice<UInt8> {
        let width = max(1, Int(section.entrySize))
        var end = min(offset + width, section.data.count)
        while section.isStrings, end < section.data.count, !section.data[(end - width)..<end].allSatisfy({ $0 == 0 }) {
            end = min(end + width, section.data.count)
        }
        return section.data[offset..<end]
    }

    /// From a field to the end of its instruction.
    private func distanceToEnd(_ relocation: Relocation, _ section: Section) -> Int64? {
        guard let holder = entity(section: section.index, offset: Int64(relocation.offset)).map({ entities[$0] }),
            let bytes = bytes(section: section.index, from: holder.offset, to: holder.end)
        else { return nil }
        var distance: Int64?
        forEachInstruction(bytes, at: holder.offset) { instruction in
            if instruction.address <= relocation.offset, relocation.offset < instruction.end {
                distance = Int64(instruction.end - relocation.offset)
            }
        }
        return distance
    }

    /// The relocations of a section within `[start, end)`.
    package func relocations(section: SectionIndex, from start: UInt64, to end: UInt64) -> ArraySlice<Relocation> {
        let all = file.sections[section].relocations
        let low = all.partitioningIndex { $0.offset >= start }
        let high = all.partitioningIndex { $0.offset >= end }
        return all[low..<max(low, high)]
    }

    /// The bytes of an entity; nil for memory without bytes in the file, empty when a size is wrong.
    package func bytes(section: SectionIndex, from start: UInt64, to end: UInt64) -> ArraySlice<UInt8>? {
        let section = file.sections[section]
        if section.isNoBits { return nil }
        guard start <= end, end <= UInt64(section.data.count) else { return [] }
        return section.data[Int(start)..<Int(end)]
    }
}

extension ObjectView {
    /// The function's last instruction is the stack protector's call that reports an overwritten stack. It ends the
    /// process without unwinding: nobody comes back from it.
    ///
    /// With `-fstack-protector-strong` that is how most functions end, and what follows without padding is another
    /// function's entry, which tables hold as a pointer.
    package func endsInStackCheck(_ function: Entity) -> Bool {
        guard function.size >= 4 else { return false }
        return relocations(section: function.section, from: function.end &- 4, to: function.end).contains {
            ["__stack_chk_fail", "__stack_chk_fail_local"].contains(file.symbols[$0.symbol].name)
        }
    }
}

extension Section {
    /// A word of the compiler's through which unwind data names a typeinfo or a personality routine
    /// (`DW.ref.__gxx_personality_v0`): it stands for what it holds, so every object file has one of its own.
    package var isReferenceWord: Bool { comdat?.hasPrefix("DW.ref.") ?? false }
}

extension Relocation {
    /// Whether the field belongs to a call, a jump or a conditional jump.
    package func isBranch(in section: Section) -> Bool {
        type == .plt32
            || (type == .pc32 && section.isExecutable && Encoding.isBranchField(in: section.data, at: offset))
    }
}
