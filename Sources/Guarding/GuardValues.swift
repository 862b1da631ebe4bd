import CodeModel
import Comparing
import Diagnostics
import ElfFormat
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// Writable variables that have another initial value in the new object. By a decision the new value is written at the
/// switch; where it can't be, no decision helps.
func guardValues(_ unit: MatchedUnit, in target: TargetImage) -> [Finding] {
    unit.changes.initialValues.map { number in
        let subject = "\(unit.new.entities[number].name) (\(unit.name))"
        return switch ValueChange(number, unit, target).patches() {
        case .success:
            Finding(
                subject: subject,
                why: "its initial value changes, but the process has long changed the variable itself, or relies on the"
                    + " old one")
        case .failure(let obstacle):
            Finding(
                subject: subject,
                why: "its initial value changes, and can't be written in the process: \(obstacle.why)", isFinal: true)
        }
    }
}

/// All words are compared and written while the process stands still.
func guardValueCount(_ target: GuardedTarget) -> [Finding] {
    let count = writtenValues(target).count
    guard count > ValuePatch.maximumCount else { return [] }
    return [
        Finding(
            subject: target.target.image.name,
            why: "\(count) words get another initial value; at most \(ValuePatch.maximumCount) can be written",
            isFinal: true)
    ]
}

/// What the process gets where decisions let it, word for word. Only plain bytes can be written: a pointer's value is known at load alone, and a thread-local has one copy
/// for each thread.
func writtenValues(_ target: GuardedTarget) -> [ValuePatch] {
    var patches: [ValuePatch] = []
    for unit in target.units {
        for number in unit.changes.initialValues {
            guard case .success(let found) = ValueChange(number, unit, target.target.image).patches() else { continue }
            // Two variants of a unit may share their globals.
            patches += found.filter { !patches.contains($0) }
        }
    }
    return patches
}

private struct ValueObstacle: Error { var why: String }

/// One variable on both sides and in the target.
private struct ValueChange {
    let unit: MatchedUnit
    let target: TargetImage
    let new: Entity
    let original: Entity?
    private let number: EntityIndex

    init(_ number: EntityIndex, _ unit: MatchedUnit, _ target: TargetImage) {
        (self.number, self.unit, self.target) = (number, unit, target)
        new = unit.new.entities[number]
        original = unit.correlation.originalOf[number].map { unit.original.entities[$0] }
    }

    func patches() -> Result<[ValuePatch], ValueObstacle> {
        guard let original else { return failure("it is a common symbol, or the original has none of the name") }
        guard original.kind == .data, new.kind == .data else { return failure("it is thread-local") }
        guard original.isWritable, new.isWritable, original.size == new.size, new.size > 0 else {
            return failure("it is a constant on one side, or has another size")
        }
        if let why = sharedBehind(original) ?? pointers(original) { return failure(why) }
        guard let before = bytes(unit.original, original), let after = bytes(unit.new, new) else {
            return failure("its bytes are not all in the object")
        }
        guard original.symbols.allSatisfy({ unit.original.file.symbols[$0].binding != .weak }) else {
            return failure("it is weak: another unit's may be the one that is used")
        }
        guard target.isExecutable || !original.names.contains(where: { target.exports[$0] != nil }) else {
            return failure("\(target.name) exports it: the process may use another module's, or a copy")
        }
        guard let address = address(original) else { return failure("its address in the target can't be told") }
        guard isTargets(before, original, at: address) else {
            return failure("the target's file has other bytes at 0x\(String(address, radix: 16))")
        }
        return words(before, after, original, address)
    }

    private func failure(_ why: String) -> Result<[ValuePatch], ValueObstacle> { .failure(ValueObstacle(why: why)) }

    private func bytes(_ view: ObjectView, _ entity: Entity) -> [UInt8]? {
        let section = view.file.sections[entity.section]
        guard entity.end >= entity.offset, entity.end <= section.size, entity.size <= 1 << 24 else { return nil }
        guard let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end) else {
            return [UInt8](repeating: 0, count: Int(entity.size))
        }
        return UInt64(bytes.count) == entity.size ? Array(bytes) : nil
    }

    /// Content without a name that follows the variable in its section counts as its own, and would be left behind.
    private func sharedBehind(_ original: Entity) -> String? {
        let (a, b) = (unit.original.extent(of: unit.correlation.originalOf[number] ?? 0), unit.new.extent(of: number))
        guard a.end > original.end || b.end > new.end else { return nil }
        let view = { (view: ObjectView, from: UInt64, range: Comparer.Range) -> [UInt8] in
            view.bytes(section: range.section, from: from, to: range.end).map(Array.init)
                ?? [UInt8](repeating: 0, count: Int(range.end - from))
        }
        let isSame = view(unit.original, original.end, a) == view(unit.new, new.end, b)
        return isSame ? nil : "what lies behind it without a name differs too"
    }

    /// The same pointers at the same places on both sides, or why not.
    private func pointers(_ original: Entity) -> String? {
        let left = Array(unit.original.relocations(section: original.section, from: original.offset, to: original.end))
        let right = Array(unit.new.relocations(section: new.section, from: new.offset, to: new.end))
        guard left.count == right.count else { return "it holds a pointer that changes" }
        var comparer = Comparer(original: unit.original, new: unit.new, correlation: unit.correlation)
        for (p, q) in zip(left, right) {
            let isSameField = p.offset &- original.offset == q.offset &- new.offset && p.type == q.type
            guard isSameField, comparer.difference(p, in: original.section, q, in: new.section) == nil else {
                return "it holds a pointer that changes, or that leads to something that does"
            }
        }
        return nil
    }

    /// Where the target has it.
    private func address(_ original: Entity) -> UInt64? {
        if let known = original.names.lazy.compactMap({ unit.matched.addresses[$0] }).first { return known }
        let sources = Set(unit.original.file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map(\.name))
        let places = Set(
            target.definitions(of: original.name, isLocal: !original.isGlobal, sources: sources).map(\.value))
        return places.count == 1 ? places.first : nil
    }

    /// Whether the file has these bytes there, but for pointers, which the dynamic linker fills in.
    private func isTargets(_ bytes: [UInt8], _ original: Entity, at address: UInt64) -> Bool {
        guard let found = target.initialBytes(at: address, size: original.size) else { return false }
        let fields = relocatedBytes(unit.original, original)
        return bytes.indices.allSatisfy { bytes[$0] == found[$0] || fields.contains($0) }
    }

    private func relocatedBytes(_ view: ObjectView, _ entity: Entity) -> Set<Int> {
        var fields: Set<Int> = []
        for relocation in view.relocations(section: entity.section, from: entity.offset, to: entity.end) {
            let start = Int(relocation.offset - entity.offset)
            fields.formUnion(start..<start + max(8, relocation.type.fieldSize))
        }
        return fields
    }

    /// One patch for each aligned word of memory that differs, so that each is written at once.
    private func words(
        _ before: [UInt8], _ after: [UInt8], _ original: Entity, _ address: UInt64
    ) -> Result<[ValuePatch], ValueObstacle> {
        let fields = relocatedBytes(unit.original, original).union(relocatedBytes(unit.new, new))
        var patches: [ValuePatch] = []
        var start = 0
        while start < before.count {
            let place = address &+ UInt64(start)
            let end = min(before.count, start + Int(8 - place % 8))
            let (old, value) = (Array(before[start..<end]), Array(after[start..<end]))
            if old != value {
                guard !(start..<end).contains(where: fields.contains), !isLinked(place, end - start) else {
                    return failure("a pointer lies in the bytes that change, or beside them")
                }
                let part = before.count > 8 ? "\(new.name)+\(start)" : new.name
                patches.append(
                    ValuePatch(
                        name: part, address: place, original: Digest.hexadecimal(old),
                        new: Digest.hexadecimal(value)))
            }
            start = end
        }
        return patches.isEmpty ? failure("what differs is not its bytes") : .success(patches)
    }

    /// Whether the dynamic linker writes here.
    private func isLinked(_ address: UInt64, _ size: Int) -> Bool {
        target.file.dynamicRelocations.contains { $0.offset < address &+ UInt64(size) && address < $0.offset &+ 8 }
    }
}

extension TargetImage {
    /// What memory holds at the start, zeroed memory included; nil outside of the file's writable segments.
    fileprivate func initialBytes(at address: UInt64, size: UInt64) -> [UInt8]? {
        let segment = file.segments.first {
            $0.type == PT.load && address >= $0.address && size <= $0.memorySize
                && address - $0.address <= $0.memorySize - size
        }
        guard let segment else { return nil }
        let start = address - segment.address
        let inFile = segment.fileSize > start ? min(size, segment.fileSize - start) : 0
        guard inFile > 0 else { return [UInt8](repeating: 0, count: Int(size)) }
        guard let bytes = bytes(at: address, size: inFile) else { return nil }
        return Array(bytes) + [UInt8](repeating: 0, count: Int(size - inFile))
    }
}
