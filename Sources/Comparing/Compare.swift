import CodeModel
import ObjectFiles

/// What differs between the original and the new object of one unit.
package struct ChangeSet: Sendable {
    /// Entities of the new object whose original exists and has another body, with the first difference found.
    /// A changed `.cold` half makes its function changed.
    package var functions: [EntityIndex: String] = [:]
    /// Functions that change too, and stay as they are by decision.
    package var leftOut: [EntityIndex] = []
    /// Constants with another content, by entity of the new object. Whoever reads one is in `functions`.
    package var constants: Set<EntityIndex> = []
    /// Writable or thread-local data with another initial value, or another size; entities of the new object.
    package var initialValues: [EntityIndex] = []
    package var sizes: [EntityIndex] = []
    /// Common symbols (`-fcommon`) with another size.
    package var commonSizes: [String] = []
    /// Functions that change and whose number in their name may not be what it was: lambdas, local classes.
    package var uncertain: [EntityIndex] = []
    /// What runs without being called, or is found in other ways than by its own name, is not what it was: constructors,
    /// data in sections that other code reads as a whole, aliases.
    package var lists = false
    package var isEmpty: Bool {
        functions.isEmpty && constants.isEmpty && initialValues.isEmpty && sizes.isEmpty && commonSizes.isEmpty
            && !lists
    }

    init() {}
}

/// Compares every definition that exists on both sides, relocations read by what they refer to.
package func compare(_ original: ObjectView, _ new: ObjectView, _ correlation: Correlation) -> ChangeSet {
    var comparer = Comparer(original: original, new: new, correlation: correlation)
    var changes = ChangeSet()
    for (a, b) in correlation.newOf.sorted(by: { $0.value < $1.value }) {
        let entity = new.entities[b]
        if entity.kind == .function {
            guard let reason = comparer.difference(ofEntity: a, and: b) ?? comparer.differenceOfFrames(a, b) else {
                continue
            }
            changes.functions[new.functionOwning(b)] = reason
        } else if original.entities[a].size != entity.size, entity.isWritable || original.entities[a].isWritable {
            changes.sizes.append(b)
        } else if comparer.isChangedData(a, b) {
            if entity.isWritable || original.entities[a].isWritable {
                changes.initialValues.append(b)
            } else {
                changes.constants.insert(b)
            }
        }
    }
    changes.addGuarded(new, correlation)
    changes.addLabelTables(new, correlation)
    changes.addRenumbered(new, correlation)
    changes.addCommons(original, new)
    changes.lists = changesLists(original, new, correlation)
    return changes
}

extension ChangeSet {
    /// A table of labels (`&&label`) holds places inside of its function: when the function changes, so does the table,
    /// though its bytes are the same.
    fileprivate mutating func addLabelTables(_ new: ObjectView, _ correlation: Correlation) {
        for number in correlation.newOf.values.sorted() where !constants.contains(number) {
            let entity = new.entities[number]
            guard entity.kind == .data, !entity.isWritable else { continue }
            if new.innerPlaces(of: number).contains(where: { functions[$0] != nil }) { constants.insert(number) }
        }
    }

    /// With a guard that is new, and not yet set, an old variable would be initialised once more.
    fileprivate mutating func addGuarded(_ new: ObjectView, _ correlation: Correlation) {
        for (number, entity) in new.entities.enumerated()
        where entity.name.hasPrefix("_ZGV") && correlation.originalOf[number] == nil {
            guard let variable = new.entityNamed["_Z" + entity.name.dropFirst(4)],
                correlation.originalOf[variable] != nil, !initialValues.contains(variable)
            else { continue }
            initialValues.append(variable)
        }
    }

    /// Whoever holds a lambda made by the original expects its code, not that of another that has its number now.
    fileprivate mutating func addRenumbered(_ new: ObjectView, _ correlation: Correlation) {
        uncertain = functions.keys.filter { correlation.renumbered.contains($0) }.sorted()
    }

    /// Memory for a common symbol is given at the link, and never again.
    fileprivate mutating func addCommons(_ original: ObjectView, _ new: ObjectView) {
        let after = Dictionary(
            new.file.symbols.filter { $0.place == .common }.map { ($0.name, $0.size) },
            uniquingKeysWith: { first, _ in first })
        for symbol in original.file.symbols where symbol.place == .common {
            if let number = new.entityNamed[symbol.name] {
                initialValues.append(number)
                if new.entities[number].size != symbol.size { commonSizes.append(symbol.name) }
            } else if let size = after[symbol.name], size != symbol.size {
                commonSizes.append(symbol.name)
            }
        }
    }
}

extension ObjectView {
    /// The functions that a datum holds inner places of.
    package func innerPlaces(of number: EntityIndex) -> Set<EntityIndex> {
        let entity = entities[number]
        let section = file.sections[entity.section]
        var functions: Set<EntityIndex> = []
        for relocation in relocations(section: entity.section, from: entity.offset, to: entity.end) {
            guard case .entity(let other, let delta) = referent(of: relocation, in: section), delta != 0 else {
                continue
            }
            if entities[other].kind == .function { functions.insert(functionOwning(other)) }
        }
        return functions
    }

    /// The function that a `.cold` half belongs to; any other entity is its own.
    package func functionOwning(_ index: EntityIndex) -> EntityIndex {
        guard let parent = entities[index].coldParent, let owner = entityNamed[parent] else { return index }
        return owner
    }
}

/// Walks both objects side by side. What data holds is decided in CompareContent.swift.
package struct Comparer {
    let original: ObjectView
    let new: ObjectView
    let correlation: Correlation
    /// Whether the content of a pair differs; see `isChanged`.
    var verdicts: [ContentPair: Bool] = [:]

    package init(original: ObjectView, new: ObjectView, correlation: Correlation) {
        self.original = original
        self.new = new
        self.correlation = correlation
    }

    mutating func isChangedData(_ a: EntityIndex, _ b: EntityIndex) -> Bool { isChanged(.data(a, b)) }

    mutating func difference(ofEntity a: EntityIndex, and b: EntityIndex) -> String? {
        settle(finding(ofEntity: a, and: b))
    }

    /// nil when the bytes are equal and every relocation refers to the same thing.
    mutating func difference(_ a: Range, _ b: Range) -> String? { settle(finding(a, b)) }

    package mutating func difference(_ p: Relocation, in a: SectionIndex, _ q: Relocation, in b: SectionIndex)
        -> String?
    {
        var conditions: [Finding.Condition] = []
        return settle(Finding(reason: finding(p, in: a, q, in: b, &conditions), conditions: conditions))
    }

    func finding(ofEntity a: EntityIndex, and b: EntityIndex) -> Finding {
        let (x, y) = (original.entities[a], new.entities[b])
        if x.size != y.size { return Finding(reason: "size \(x.size) became \(y.size) bytes") }
        return finding(original.extent(of: a), new.extent(of: b))
    }

    package struct Range {
        package var section: SectionIndex
        var start: UInt64
        package var end: UInt64
    }

    func finding(_ a: Range, _ b: Range) -> Finding {
        let x = original.bytes(section: a.section, from: a.start, to: a.end)
        let y = new.bytes(section: b.section, from: b.start, to: b.end)
        if (x == nil) != (y == nil) { return Finding(reason: "initial value changed") }
        if let x, let y, x != y {
            let at = zip(x, y).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(x.count, y.count)
            return Finding(reason: "code or content differs at +0x\(String(at, radix: 16))")
        }
        let left = original.relocations(section: a.section, from: a.start, to: a.end)
        let right = new.relocations(section: b.section, from: b.start, to: b.end)
        guard left.count == right.count else { return Finding(reason: "refers to other things") }
        var conditions: [Finding.Condition] = []
        for (p, q) in zip(left, right) {
            let isSameField = p.offset &- a.start == q.offset &- b.start && p.type == q.type
            let reason =
                isSameField ? finding(p, in: a.section, q, in: b.section, &conditions) : "refers to other things"
            if let reason { return Finding(reason: reason, conditions: conditions) }
        }
        return Finding(conditions: conditions)
    }

    private func finding(
        _ p: Relocation, in a: SectionIndex, _ q: Relocation, in b: SectionIndex,
        _ conditions: inout [Finding.Condition]
    ) -> String? {
        let left = original.referent(of: p, in: original.file.sections[a])
        let right = new.referent(of: q, in: new.file.sections[b])
        switch (left, right) {
        case (.undefined(let x, let addend), .undefined(let y, let other)):
            return x == y && addend == other ? nil : "refers to \(y) instead of \(x)"
        case (.absolute(let x), .absolute(let y)):
            return x == y ? nil : "refers to another absolute address"
        case (.entity(let x, let dx), .entity(let y, let dy)):
            return differenceOfEntities(x, dx, y, dy, &conditions)
        case (.anonymous(let x, let dx, let isLabel), .anonymous(let y, let dy, let isOtherLabel)):
            // A label tells where the literal starts, the addend how far into it: `&"text"[2]`.
            let isSamePart = isLabel == isOtherLabel && (!isLabel || p.addend == q.addend)
            let reason = "reads another literal or constant"
            return isSamePart && isSameContent(x, dx, y, dy, reason, &conditions) ? nil : reason
        default:
            return differenceOfKinds(left, right)
        }
    }

    private func differenceOfEntities(
        _ x: EntityIndex, _ dx: Int64, _ y: EntityIndex, _ dy: Int64, _ conditions: inout [Finding.Condition]
    ) -> String? {
        let (a, b) = (original.entities[x], new.entities[y])
        guard correlation.newOf[x] == y else {
            let reason = "refers to \(b.name) instead of \(a.name)"
            guard isFunctionNameLiteral(a.name), isFunctionNameLiteral(b.name), dx == dy else { return reason }
            conditions.append(Finding.Condition(pair: .data(x, y), reason: reason))
            return nil
        }
        guard dx == dy else { return "refers to another part of \(b.name)" }
        if b.kind == .data, !b.isWritable, !a.isWritable {
            conditions.append(Finding.Condition(pair: .data(x, y), reason: "reads the changed constant \(b.name)"))
        }
        return nil
    }

    /// A definition that moved between units is still the same global.
    private func differenceOfKinds(_ left: Referent, _ right: Referent) -> String? {
        switch (left, right) {
        case (.undefined(let name, let addend), .entity(let y, let delta)) where new.entities[y].isGlobal:
            new.entities[y].names.contains(name) && addend == delta
                ? nil : "refers to \(new.entities[y].name) instead of \(name)"
        case (.entity(let x, let delta), .undefined(let name, let addend)) where original.entities[x].isGlobal:
            original.entities[x].names.contains(name) && addend == delta
                ? nil : "refers to \(name) instead of \(original.entities[x].name)"
        default: "refers to something of another kind"
        }
    }

    /// Literals by content, whole strings or whole constants; anything else by its whole section.
    private func isSameContent(
        _ a: SectionIndex, _ da: Int64, _ b: SectionIndex, _ db: Int64, _ reason: String,
        _ conditions: inout [Finding.Condition]
    ) -> Bool {
        let (x, y) = (original.file.sections[a], new.file.sections[b])
        guard x.flags == y.flags, x.entrySize == y.entrySize else { return false }
        if x.isMergeable, x.relocations.isEmpty, y.relocations.isEmpty {
            guard let left = literal(x, at: da), let right = literal(y, at: db) else { return false }
            return left == right
        }
        guard da == db, x.size == y.size else { return false }
        conditions.append(Finding.Condition(pair: .sections(a, b), reason: reason))
        return true
    }

    /// The literal that covers `offset`, and how far into it the offset is.
    private func literal(_ section: Section, at offset: Int64) -> Literal? {
        guard offset >= 0, offset < Int64(section.data.count) else { return nil }
        let width = max(1, Int(section.entrySize))
        if !section.isStrings {
            let start = Int(offset) / width * width
            return Literal(
                bytes: section.data[start..<min(start + width, section.data.count)], skip: Int(offset) - start)
        }
        func isEnd(_ at: Int) -> Bool { section.data[at..<min(at + width, section.data.count)].allSatisfy { $0 == 0 } }
        var start = Int(offset) / width * width
        while start >= width, !isEnd(start - width) { start -= width }
        var end = start
        while end + width <= section.data.count, !isEnd(end) { end += width }
        return Literal(bytes: section.data[start..<min(end, section.data.count)], skip: Int(offset) - start)
    }

    struct Literal: Equatable {
        var bytes: ArraySlice<UInt8>
        var skip: Int
        static func == (a: Literal, b: Literal) -> Bool { a.skip == b.skip && a.bytes == b.bytes }
    }
}
