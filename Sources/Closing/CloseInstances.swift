import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Targets

extension Closure {
    /// An instance of a template (or an inline function) that a unit gave to the target and that only another unit makes now.
    /// What that makes travels as something new. If it is another body, the target's own copy must not be used any more: by
    /// units that can't make their own (explicit instantiation), through a pointer, from outside.
    mutating func refuseMovedInstances() {
        var seen: Set<String> = []
        for unit in units {
            for (number, entity) in unit.original.entities.enumerated()
            where entity.isVague && entity.kind == .function && unit.correlation.newOf[number] == nil {
                guard let newOwner = newGlobals[entity.name], !formerOwners(of: entity.name).isEmpty,
                    seen.insert(entity.name).inserted
                else { continue }
                let new = units[newOwner.unit].new
                if unit.original.holdsSame(entity, as: new.entities[newOwner.entity], of: new) { continue }
                guard let user = userOfOld(entity) else { continue }
                refuse(
                    Refusal(
                        .ambiguousSymbol, subject: "\(entity.name) (\(unit.name))",
                        why:
                            "another unit instantiates it now, in another form, and \(user) goes on using the target's",
                        remedy: "leave the instantiation where it was"))
            }
        }
    }

    /// Who may use the target's copy but functions that are replaced.
    private func userOfOld(_ entity: Entity) -> String? {
        let places = entity.names.flatMap { target.definitions(of: $0) + (target.guessed[$0] ?? []) }
        if entity.names.contains(where: { target.exports[$0] != nil }) { return "whoever calls it from outside" }
        let replaced = functions.compactMap(\.description.original).flatMap { [$0.range] + $0.coldRanges }
        for place in places {
            let own = AddressRange(address: place.value, size: max(1, place.size))
            for user in target.references(to: place.value) where !(replaced + [own]).contains(where: { $0.holds(user) })
            {
                return "other code (at 0x\(String(user, radix: 16)))"
            }
        }
        return nil
    }
}

extension AddressRange {
    fileprivate func holds(_ place: UInt64) -> Bool { place >= address && place &- address < size }
}

extension TargetImage {
    /// Places that may refer to `address`: every 4 bytes of code that count to it, or are it; and pointers in data.
    fileprivate func references(to address: UInt64) -> [UInt64] {
        var found: [UInt64] = []
        for section in file.sections where section.isAllocated && section.isExecutable && section.data.count >= 4 {
            section.data.withUnsafeBytes { bytes in
                for offset in 0...(bytes.count - 4) {
                    let value = bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)
                    let place = section.address &+ UInt64(offset)
                    let isDistance = place &+ 4 &+ UInt64(bitPattern: Int64(value)) == address
                    if isDistance || (isFixed && UInt64(UInt32(bitPattern: value)) == address) { found.append(place) }
                }
            }
        }
        found += relativeValueAt.filter { $0.value == address }.map(\.key).sorted()
        guard isFixed else { return found }
        for section in file.sections where section.isAllocated && !section.isExecutable && section.data.count >= 8 {
            section.data.withUnsafeBytes { bytes in
                for offset in stride(from: 0, through: bytes.count - 8, by: 8)
                where bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) == address {
                    found.append(section.address &+ UInt64(offset))
                }
            }
        }
        return found
    }

    /// Whether some code of the target is a function's, as far as a link leaves it as it was. Of one too short to be told by
    /// its bytes it may be.
    func mayHold(_ entity: Entity, of view: ObjectView) -> Bool {
        guard let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end).map(Array.init)
        else {
            return true
        }
        // A relaxation may change what stands before a field, and the call behind a thread-local's.
        var isOpen = [Bool](repeating: false, count: bytes.count)
        for relocation in view.relocations(section: entity.section, from: entity.offset, to: entity.end) {
            let at = Int(relocation.offset - entity.offset)
            for index in max(0, at - 4)..<min(bytes.count, at + 12) { isOpen[index] = true }
        }
        guard let anchor = longestRun(of: isOpen), anchor.count >= 6 else { return true }
        return file.sections.contains { section in
            guard section.isAllocated, section.isExecutable, section.data.count >= bytes.count else { return false }
            return (0...(section.data.count - bytes.count)).contains { start in
                guard section.data[start + anchor.lowerBound] == bytes[anchor.lowerBound] else { return false }
                return bytes.indices.allSatisfy { isOpen[$0] || section.data[start + $0] == bytes[$0] }
            }
        }
    }

    private func longestRun(of isOpen: [Bool]) -> Range<Int>? {
        var best: Range<Int>?
        var start = 0
        for index in 0...isOpen.count where index == isOpen.count || isOpen[index] {
            if index - start > best?.count ?? 0 { best = start..<index }
            start = index + 1
        }
        return best
    }
}
