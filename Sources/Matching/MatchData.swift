import CodeModel
import ObjectFiles
import Targets

/// Where an object's data lies, and whether it is the same.
extension Matcher {
    /// Data sections by what verified code says of them; then every function must agree.
    mutating func placeData() {
        var votes: [SectionIndex: [UInt64: Int]] = [:]
        for reading in verified.values.joined() {
            guard let (section, place) = sectionPlace(reading), places[section] == nil else { continue }
            votes[section, default: [:]][place, default: 0] += 1
        }
        let pieces = target.translated == nil ? [:] : votes.filter { $0.value.count > 1 }
        for (section, candidates) in votes where pieces[section] == nil {
            places[section] = candidates.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
        }
        placePieces(of: Set(pieces.keys))
        let differingPlaces = target.translated == nil ? differingSections() : []
        let differing = target.translated == nil ? [] : differingEntities()
        for (index, readings) in verified {
            func isDifferent(_ reading: FieldReading) -> Bool {
                if let referent = referent(reading), differing.contains(referent) { return true }
                return sectionPlace(reading).map { differingPlaces.contains($0.0) } ?? !isSameLiteral(reading)
            }
            guard let bad = readings.first(where: { !agrees($0) || isDifferent($0) }) else { continue }
            verified[index] = nil
            mismatches[index] = .other("it refers to another \(described(bad))")
        }
    }

    /// A function is its code and its handlers.
    mutating func matchHandlers() {
        let handlers = HandlerMatch(plain: plain, target: target)
        for index in verified.keys {
            let entity = plain.entities[index]
            guard let address = moved[index] ?? places[entity.section].map({ $0 &+ entity.offset }),
                let difference = handlers.difference(of: index, at: address)
            else { continue }
            verified[index] = nil
            mismatches[index] = .other(difference)
        }
    }

    func described(_ reading: FieldReading) -> String {
        if let referent = referent(reading) { return plain.entities[referent].name }
        let name = plain.file.symbols[reading.relocation.symbol].name
        return name.isEmpty ? "datum" : name
    }

    func differingSections() -> Set<SectionIndex> {
        Set(places.filter { !isSameData($0.key, at: $0.value) }.keys)
    }

    /// Of another link's target, each datum has to be the same one; its neighbours need not.
    func differingEntities() -> Set<EntityIndex> {
        Set(
            plain.entities.indices.filter { index in
                let entity = plain.entities[index]
                let address = moved[index] ?? places[entity.section].map { $0 &+ entity.offset }
                guard entity.kind == .data, let place = address else { return false }
                return !isSameData(entity.section, at: place, from: entity.offset, size: entity.size)
            })
    }

    /// Sections of which parts are shifted against each other: each datum lies where all references to it say.
    mutating func placePieces(of sections: Set<SectionIndex>) {
        guard !sections.isEmpty else { return }
        var votes: [EntityIndex: Set<UInt64>] = [:]
        for reading in verified.values.joined() {
            guard let (held, place) = sectionPlace(reading), sections.contains(held), let index = referent(reading)
            else { continue }
            votes[index, default: []].insert(reading.exact?.address ?? place &+ plain.entities[index].offset)
        }
        for (index, addresses) in votes where addresses.count == 1 { moved[index] = addresses.first }
    }

    /// Tables and initial values are part of what a match proves: the section's bytes, relocated fields aside; or a part
    /// of them.
    func isSameData(_ index: SectionIndex, at place: UInt64, from first: UInt64 = 0, size: UInt64? = nil) -> Bool {
        let section = plain.file.sections[index]
        let size = size ?? section.size
        guard !section.isExecutable, !section.isNoBits, !section.isThreadLocal, size > 0,
            let held = plain.bytes(section: index, from: first, to: first &+ size),
            let found = target.bytes(at: place, size: size).map(Array.init), found.count == held.count
        else { return true }
        var expected = Array(held)
        for relocation in plain.relocations(section: index, from: first, to: first &+ size) {
            let start = Int(truncatingIfNeeded: relocation.offset - first)
            guard start >= 0, start < expected.count else { continue }
            let end = min(expected.count, start + relocation.type.fieldSize)
            expected.replaceSubrange(start..<end, with: found[start..<end])
        }
        return expected == found
    }

    /// A literal may lie anywhere in the target, but has to be the same one.
    func isSameLiteral(_ reading: FieldReading) -> Bool {
        guard let base = reading.symbolAddress, reading.relocation.type == .pc32 else { return true }
        let symbol = plain.file.symbols[reading.relocation.symbol]
        guard let index = symbol.sectionIndex else { return true }
        let section = plain.file.sections[index]
        // The assembler may leave the label's name (`.LC0`) or count from the section.
        let distance = symbol.kind == .section ? reading.relocation.addend &+ 4 : 0
        let offset = Int64(bitPattern: symbol.value) &+ distance
        guard section.isMergeable, section.relocations.isEmpty, plain.isLiteralStart(section, offset) else {
            return true
        }
        let literal = Array(plain.literal(section, from: Int(offset)))
        if section.isStrings, isOfBuild(literal) { return true }
        guard let found = target.bytes(at: base &+ UInt64(bitPattern: distance), size: UInt64(literal.count)) else {
            return true
        }
        return found.elementsEqual(literal)
    }

    /// Paths (`__FILE__`), `__DATE__` and `__TIME__` say where and when the target was built: no other source.
    func isOfBuild(_ text: [UInt8]) -> Bool {
        let isTime = text.count == 9 && text[2] == 58 && text[5] == 58
        let isDate = text.count == 12 && text[3] == 32 && text[6] == 32
        return isTime || isDate || text.contains(47)
    }
}
