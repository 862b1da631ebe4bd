import CodeModel
import ObjectFiles
import Targets

/// Whether a function of the target has the handlers and cleanups that the recorded source gives it: which types a handler
/// catches is told by its table alone, not by its code.
struct HandlerMatch {
    let plain: ObjectView
    let target: TargetImage

    /// What differs, in words.
    func difference(of index: EntityIndex, at address: UInt64) -> String? {
        let entity = plain.entities[index]
        let found = plain.frames.describing(section: entity.section, from: entity.offset, to: entity.end)
        guard found.count == 1, let number = found.first, target.frames.fault == nil else { return nil }
        let fde = plain.frames.fdes[number]
        guard fde.code.offset == entity.offset, let place = target.frames.lsdas[address] else { return nil }
        guard let lsda = fde.lsda else {
            return place == 0 ? nil : "it has handlers or cleanups in the target only"
        }
        if place == 0 { return "it has no handlers or cleanups in the target" }
        return compare(lsda, with: place) ? nil : "its handlers or cleanups are not those of the target"
    }

    private func compare(_ lsda: ObjectFrames.Place, with address: UInt64) -> Bool {
        let section = plain.file.sections[lsda.section]
        guard let shape = LSDA(section.data, at: Int(lsda.offset)) else { return true }
        let end = lsda.offset &+ UInt64(shape.size)
        guard let found = target.bytes(at: address, size: UInt64(shape.size)) else { return false }
        var expected = Array(section.data[Int(lsda.offset)..<Int(end)])
        let bytes = Array(found)
        for relocation in plain.relocations(section: lsda.section, from: lsda.offset, to: end) {
            let start = Int(relocation.offset - lsda.offset)
            let field = start..<start + relocation.type.fieldSize
            guard field.upperBound <= bytes.count else { return false }
            expected.replaceSubrange(field, with: bytes[field])
            if !refers(relocation, in: section, shape, to: bytes, field, at: address) { return false }
        }
        return expected == bytes
    }

    /// Whether the target's table names the same type; where that can't be told, the code decides alone.
    private func refers(
        _ relocation: Relocation, in section: Section, _ shape: LSDA, to bytes: [UInt8], _ field: Range<Int>,
        at address: UInt64
    ) -> Bool {
        guard let names = typeNames(relocation, in: section), field.count == 4, let form = shape.typeEncoding else {
            return true
        }
        let raw = field.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) }
        var place = UInt64(raw)
        if form & 0x70 == 0x10 {
            place = address &+ UInt64(field.lowerBound) &+ UInt64(bitPattern: Int64(Int32(bitPattern: raw)))
        }
        guard form & 0x80 != 0 else { return isOne(of: names, place) }
        if let name = target.symbolicNameAt[place] { return names.contains(name) }
        if let known = target.relativeValueAt[place] { return isOne(of: names, known) }
        guard let word = target.bytes(at: place, size: 8) else { return true }
        return isOne(of: names, word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }

    /// What the reference names, through the compiler's word for it if it is indirect.
    private func typeNames(_ relocation: Relocation, in section: Section) -> [String]? {
        switch plain.referent(of: relocation, in: section) {
        case .undefined(let name, _): return [name]
        case .entity(let number, _):
            let entity = plain.entities[number]
            let holder = plain.file.sections[entity.section]
            guard holder.isReferenceWord || holder.name.hasPrefix(".data.rel") else { return entity.names }
            guard let inner = plain.relocations(section: entity.section, from: entity.offset, to: entity.end).first
            else { return nil }
            switch plain.referent(of: inner, in: holder) {
            case .undefined(let name, _): return [name]
            case .entity(let other, _): return plain.entities[other].names
            default: return nil
            }
        default: return nil
        }
    }

    private func isOne(of names: [String], _ address: UInt64) -> Bool {
        let known = names.flatMap { target.definitions(of: $0) }
        // Where an address is a guess only, nothing can be told.
        return known.isEmpty || known.contains { $0.value == address } || names.contains { target.guessed[$0] != nil }
    }
}
