import CodeModel
import Comparing
import Disassembly
import ElfFormat
import Matching
import ObjectFiles
import Reviewing

/// The instructions of one function of an object, with what their relocations stand for.
struct ListingReader {
    let view: ObjectView
    /// For a new object: its unit, by which its definitions have the names that they have in the original.
    let originals: MatchedUnit?

    struct Row: Hashable {
        var section: SectionIndex
        var offset: UInt64
    }

    struct Rows {
        var value = Listing()
        var rows: [Row] = []
        fileprivate var branches: [(row: Int, section: SectionIndex, offset: UInt64)] = []
    }

    func read(_ entity: EntityIndex) -> Rows {
        var rows = Rows()
        for part in [entity] + view.coldHalves[view.entities[entity].name, default: []] { add(part, to: &rows) }
        let index = Dictionary(rows.rows.enumerated().map { ($1, $0) }) { first, _ in first }
        for branch in rows.branches {
            guard let target = index[Row(section: branch.section, offset: branch.offset)] else { continue }
            rows.value.targets[branch.row] = target
        }
        return rows
    }

    private func add(_ part: EntityIndex, to rows: inout Rows) {
        let entity = view.entities[part]
        guard let bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end) else { return }
        let section = view.file.sections[entity.section]
        let first = rows.rows.count
        forEachInstruction(bytes, at: entity.offset, operands: true) { instruction in
            let fields = view.relocations(
                section: entity.section, from: instruction.address, to: instruction.end)
            let row = rows.rows.count
            rows.rows.append(Row(section: entity.section, offset: instruction.address))
            if let target = branch(instruction, fields.first, section) {
                rows.branches.append((row, target.section, target.offset))
            }
            let start = Int(clamping: instruction.address &- entity.offset)
            rows.value.offsets.append(start)
            rows.value.targets.append(-1)
            let end = min(bytes.count, start + instruction.length)
            let encoded = bytes.dropFirst(start).prefix(max(0, end - start))
            let text = text(of: instruction, encoded, fields, section)
            rows.value.text.append(text)
        }
        rows.value.parts.append(rows.rows.count - first)
        rows.value.size += bytes.count
    }

    /// Where a branch within the function leads to, halves included.
    private func branch(
        _ instruction: Instruction, _ field: Relocation?, _ section: Section
    ) -> (section: SectionIndex, offset: UInt64)? {
        guard instruction.kind == .jump || instruction.kind == .conditionalJump else { return nil }
        guard let field else { return instruction.target.map { (section.index, $0) } }
        guard case .entity(let other, let delta) = view.referent(of: field, in: section) else { return nil }
        let target = view.entities[other]
        let distance = Int64(bitPattern: instruction.end &- field.offset)
        return (target.section, target.offset &+ UInt64(bitPattern: delta &+ distance))
    }

    private func text(
        of instruction: Instruction, _ bytes: ArraySlice<UInt8>, _ fields: ArraySlice<Relocation>, _ section: Section
    ) -> String {
        let isBranch = [.call, .jump, .conditionalJump].contains(instruction.kind)
        guard let field = fields.first else { return instruction.spelled(bytes) }
        let name = name(of: field, in: section, end: instruction.end)
        var operands = instruction.operands.trimmingBlanks
        operands = isBranch && operands.isEmpty ? name : operands.naming(name)
        for other in fields.dropFirst() {
            operands = operands.naming(self.name(of: other, in: section, end: instruction.end))
        }
        return instruction.spelled(bytes, operands: operands)
    }

    // MARK: names

    func name(of field: Relocation, in section: Section, end: UInt64) -> String {
        let distance = field.type.isPCRelative ? Int64(bitPattern: end &- field.offset) : 0
        let suffix = field.type.assemblySuffix ?? ""
        switch view.referent(of: field, in: section) {
        case .undefined(let name, let addend): return Self.bounded(name) + suffix + Self.signed(addend &+ distance)
        case .entity(let entity, let delta): return name(ofEntity: entity) + suffix + Self.signed(delta &+ distance)
        case .absolute(let value): return "0x" + String(UInt64(bitPattern: value), radix: 16)
        case .anonymous(let other, let offset, let exact):
            let skip = exact ? field.addend &+ distance : 0
            return content(view.file.sections[other], offset) + Self.signed(skip)
        }
    }

    /// The compiler numbers clones and static locals anew in each compilation.
    func name(ofEntity number: EntityIndex) -> String {
        if let unit = originals, let original = unit.correlation.originalOf[number] {
            return Self.bounded(unit.original.ownName(of: unit.original.entities[original]))
        }
        return Self.bounded(view.ownName(of: view.entities[number]))
    }

    private static func bounded(_ name: String) -> String {
        name.utf8.count <= Review.maximumText ? name : name.prefix(Review.maximumText) + "…"
    }

    private func content(_ section: Section, _ offset: Int64) -> String {
        guard section.isMergeable, section.relocations.isEmpty, offset >= 0, offset < Int64(section.data.count) else {
            return "[\(section.name)\(Self.signed(offset))]"
        }
        let bytes = view.literal(section, from: Int(offset))
        if section.isStrings, section.entrySize <= 1 { return quoted(bytes) }
        return "[0x" + bytes.reversed().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "]"
    }

    private func quoted(_ bytes: ArraySlice<UInt8>) -> String {
        let text = bytes.prefix { $0 != 0 }.prefix(100)
        let escaped = String(decoding: text, as: UTF8.self).unicodeScalars.map { scalar -> String in
            scalar == "\n" ? "\\n" : scalar == "\t" ? "\\t" : scalar == "\"" ? "\\\"" : String(scalar)
        }.joined()
        return "\"" + escaped + (bytes.count > 101 ? "…\"" : "\"")
    }

    static func signed(_ value: Int64) -> String {
        value == 0 ? "" : (value < 0 ? "-0x" : "+0x") + String(value.magnitude, radix: 16)
    }
}

extension ListingReader.Rows {
    /// The source of each row.
    mutating func add(_ places: [SourcePlace?]) {
        var indices: [SourcePlace: Int] = [:]
        value.lines = places.map { place in
            guard let place else { return -1 }
            if let known = indices[place] { return known }
            indices[place] = value.places.count
            value.places.append(place)
            return value.places.count - 1
        }
    }
}

extension String {
    fileprivate var trimmingBlanks: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }

    /// The field of a relocation holds zero in the object: that zero stands for the name.
    fileprivate func naming(_ name: String) -> String {
        for (field, replacement) in [("0x0(%rip)", name + "(%rip)"), ("$0x0", "$" + name), ("0x0", name)] {
            if let range = firstRange(of: field) { return replacingCharacters(in: range, with: replacement) }
        }
        return isEmpty ? name : self + " # " + name
    }

    private func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        self[..<range.lowerBound] + text + self[range.upperBound...]
    }
}
