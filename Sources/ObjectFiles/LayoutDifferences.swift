/// Why data made by the original unit can't be used by the new one.
public struct LayoutDifference: Hashable, Sendable, CustomStringConvertible {
    /// The type's key in `DebugUnit.types`: `struct client`.
    public var subject: String
    /// One sentence, without the subject.
    public var description: String

    public init(subject: String, description: String) {
        self.subject = subject
        self.description = description
    }
}

/// Differences in layout of the types that both units define, sorted by type.
///
/// Rule `type-layout`: data that exists was laid out by the original. So a type that one side lacks, a new
/// enumerator, and a member with a new name at the old place, of the old size and kind, are no differences; any
/// added member is one, also where it takes the place of padding, because existing data does not hold it.
public func layoutDifferences(original: DebugUnit, new: DebugUnit) -> [LayoutDifference] {
    var comparison = LayoutComparison(original: original, new: new)
    let later = Dictionary(grouping: new.types.keys.sorted(by: isEarlier)) { sharedName($0) }
    let groups = Dictionary(grouping: original.types.keys.sorted(by: isEarlier)) { sharedName($0) }
    let types = groups.sorted { $0.key < $1.key }.flatMap { name, keys -> [LayoutDifference] in
        // Named types that they refer to are compared by themselves.
        var before = keys.compactMap { original.types[$0] }
        var after = later[name, default: []].compactMap { new.types[$0] }
        if after.isEmpty { after = before.prefix(1).compactMap { new.counterpart(of: $0, $0.name) } }
        takeEqual(&before, &after)
        return zip(before, after).flatMap { old, fresh in
            comparison.compare(old, fresh).map { LayoutDifference(subject: old.name, description: $0) }
        }
    }
    return types + comparison.variables() + comparison.typedefs() + comparison.alignments()
}

/// Several types of one name are told apart by a number, `struct f()::<lambda()> #2`, in the order they stand in.
private func sharedName(_ key: String) -> Substring {
    guard let mark = key.lastIndex(of: "#"), key[..<mark].hasSuffix(" "), mark < key.index(before: key.endIndex),
        key[key.index(after: mark)...].allSatisfy(\.isNumber)
    else { return key[...] }
    return key[..<mark].dropLast()
}

private func isEarlier(_ a: String, _ b: String) -> Bool { (a.utf8.count, a) < (b.utf8.count, b) }

/// One that comes or goes gives the others another number.
private func takeEqual(_ before: inout [TypeLayout], _ after: inout [TypeLayout]) {
    func isSame(_ a: TypeLayout, _ b: TypeLayout) -> Bool {
        var b = b
        b.name = a.name
        return a == b
    }
    before.removeAll { layout in
        guard let index = after.firstIndex(where: { isSame(layout, $0) }) else { return false }
        after.remove(at: index)
        return true
    }
}

extension DebugUnit {
    /// The type of that name, be it of another kind: a structure that becomes a union.
    func counterpart(of type: TypeLayout, _ key: String) -> TypeLayout? {
        if let same = types[key] { return same }
        guard key.hasPrefix(type.kind.rawValue + " ") else { return nil }
        let name = key.dropFirst(type.kind.rawValue.count)
        return [TypeKind.structure, .classType, .union, .enumeration].lazy.compactMap { types[$0.rawValue + name] }
            .first
    }

    /// Whether what calls a function of this signature may go on calling one of the other: old callers pass what the
    /// new one reads, and get what they read.
    public func acceptsCalls(_ before: TypeShape, from after: TypeShape, in new: DebugUnit) -> Bool {
        guard case .function(let oldResult, let oldList, let oldVariadic) = before,
            case .function(let newResult, let newList, let newVariadic) = after
        else { return false }
        var comparison = LayoutComparison(original: self, new: new)
        guard oldVariadic == newVariadic, newList.count <= oldList.count,
            zip(oldList, newList).allSatisfy({ comparison.difference($0, $1) == nil })
        else { return false }
        return oldResult == .void || comparison.difference(oldResult, newResult) == nil
    }
}

/// Compares types of two units: members by place and by what they hold; differently named types by their layout.
struct LayoutComparison {
    let original: DebugUnit
    let new: DebugUnit
    /// Whether pairs of differently named types differ; a pair that is still being compared does not by itself.
    private var pairs: [[String]: Bool] = [:]

    init(original: DebugUnit, new: DebugUnit) {
        self.original = original
        self.new = new
    }

    /// Variables of both units hold what the original's type says, whatever its name.
    mutating func variables() -> [LayoutDifference] {
        original.variables.sorted { $0.key < $1.key }.compactMap { name, before in
            // One and the same type is reported under its own name.
            guard let after = new.variables[name], before.typeKey == nil || before.typeKey != after.typeKey,
                let difference = difference(before, after)
            else { return nil }
            return LayoutDifference(subject: name, description: "the variable's type \(difference)")
        }
    }

    /// Memory that has no type of its own (from `malloc`, behind a `void *`) holds what the original's typedef says. How
    /// functions are called is judged where they are.
    mutating func typedefs() -> [LayoutDifference] {
        original.typedefs.sorted { $0.key < $1.key }.compactMap { name, before in
            guard let after = new.typedefs[name], before != after, !before.isOfFunction, !after.isOfFunction,
                differsAsTarget(before, after)
            else { return nil }
            return LayoutDifference(
                subject: name, description: "the type that it names changes from `\(before)` to `\(after)`")
        }
    }

    /// New code may rely on an alignment that existing data was not given.
    func alignments() -> [LayoutDifference] {
        new.alignments.sorted { $0.key < $1.key }.compactMap { name, after in
            guard let before = original.alignments[name], before < after else { return nil }
            return LayoutDifference(
                subject: name, description: "its alignment is raised to \(after) bytes, which existing data may lack")
        }
    }

    /// Each difference in a sentence.
    mutating func compare(_ before: TypeLayout, _ after: TypeLayout) -> [String] {
        var found: [String] = []
        if (before.kind == .union) != (after.kind == .union)
            || (before.kind == .enumeration) != (after.kind == .enumeration)
        {
            return ["it was a \(before.kind.rawValue) and is a \(after.kind.rawValue)"]
        }
        if before.size != after.size { found.append("its size changes from \(before.size) to \(after.size) bytes") }
        if after.alignment > before.alignment {
            found.append("its alignment is raised to \(after.alignment) bytes, which existing data may lack")
        }
        if before.kind == .enumeration { return found + compareEnumerators(before, after) }
        return found + compareMembers(before.flattened, after.flattened)
            + compareVirtualFunctions(before.virtualFunctions, after.virtualFunctions)
    }

    /// Objects in memory point to the old table of their class.
    private func compareVirtualFunctions(_ before: [VirtualFunction], _ after: [VirtualFunction]) -> [String] {
        if before == after { return [] }
        let places = Dictionary(after.map { ($0.name, $0.slot) }) { first, _ in first }
        let names = Set(before.map(\.name))
        let lost = before.compactMap { function -> String? in
            guard let place = places[function.name] else { return "virtual function `\(function.name)` is removed" }
            return place == function.slot ? nil : "virtual function `\(function.name)` gets another place in its table"
        }
        let added = after.filter { !names.contains($0.name) }.map { "virtual function `\($0.name)` is added" }
        return lost + added
    }

    private func compareEnumerators(_ before: TypeLayout, _ after: TypeLayout) -> [String] {
        let values = Dictionary(after.enumerators.map { ($0.name, $0.value) }) { first, _ in first }
        let removed = before.enumerators.filter { values[$0.name] == nil }.map {
            "enumerator `\($0.name)` (\($0.value)) is removed"
        }
        let changed = before.enumerators.compactMap { enumerator in
            values[enumerator.name].flatMap { value in
                value == enumerator.value
                    ? nil : "enumerator `\(enumerator.name)` changes from \(enumerator.value) to \(value)"
            }
        }
        return folded(removed, "are removed") + folded(changed, "change")
    }

    /// A grammar has hundreds of enumerators, all of which a new one may move.
    private func folded(_ sentences: [String], _ verb: String) -> [String] {
        guard let first = sentences.first, sentences.count > 3 else { return sentences }
        return ["\(first), and \(sentences.count - 1) more enumerators \(verb)"]
    }

    private mutating func compareMembers(_ before: [Member], _ after: [Member]) -> [String] {
        let beforeNames = Set(before.map(\.name))
        var afterByName = Dictionary(after.map { ($0.name, $0) }) { first, _ in first }
        var claimed: Set<String> = []
        var found: [String] = []
        var moved: [String] = []
        for member in before {
            if let same = afterByName.removeValue(forKey: member.name) {
                if same.hasSamePlace(as: member) {
                    found += retyped(member, same)
                } else {
                    moved.append(movement(member, same))
                }
                continue
            }
            let renamed = after.first {
                !beforeNames.contains($0.name) && !claimed.contains($0.name) && $0.hasSamePlace(as: member)
                    && !(member.isPadding && !$0.isPadding) && difference(member.type, $0.type) == nil
            }
            if let renamed { claimed.insert(renamed.name) } else { found.append("\(member.title) is removed") }
        }
        for member in after where !beforeNames.contains(member.name) && !claimed.contains(member.name) {
            found.append("\(member.title) is added at \(member.position): existing data does not hold it")
        }
        if let first = moved.first {
            found.append(first + (moved.count > 1 ? ", and \(moved.count - 1) more members move" : ""))
        }
        return found
    }

    private func movement(_ before: Member, _ after: Member) -> String {
        guard before.bitSize != after.bitSize else {
            return "\(before.title) moves from \(before.position) to \(after.position)"
        }
        func width(_ member: Member) -> String { member.bitSize.map { "\($0) bits" } ?? "no bit-field" }
        return "\(before.title) changes from \(width(before)) to \(width(after)) wide"
    }

    private mutating func retyped(_ before: Member, _ after: Member) -> [String] {
        difference(before.type, after.type).map { ["\(before.title) \($0)"] } ?? []
    }

    // MARK: Shapes

    /// What keeps data of one type from being read as the other; nil where nothing does.
    mutating func difference(_ before: TypeShape, _ after: TypeShape) -> String? {
        if before == after, !before.isUnknown { return nil }
        let change = "changes from `\(before)` to `\(after)`"
        if before.size != after.size {
            return "changes from `\(before)` (\(before.sizeText)) to `\(after)` (\(after.sizeText))"
        }
        switch (before, after) {
        case (.base(_, _, let old), .base(_, _, let new)): return old == new ? nil : change
        case (.base(_, _, let encoding), let other) where other.isEnumeration: return encoding.isInteger ? nil : change
        case (let other, .base(_, _, let encoding)) where other.isEnumeration: return encoding.isInteger ? nil : change
        case (.pointer(let old, _), .pointer(let new, _)): return differsAsTarget(old, new) ? change : nil
        case (.array(let old, let oldCounts), .array(let new, let newCounts)):
            return oldCounts != newCounts || difference(old, new) != nil ? change : nil
        case (.function(let old, let oldList, let oldVariadic), .function(let new, let newList, let newVariadic)):
            let parameters = zip(oldList, newList).allSatisfy { difference($0, $1) == nil }
            let same = parameters && oldList.count == newList.count && oldVariadic == newVariadic
            return same && difference(old, new) == nil ? nil : change
        case (.void, .void): return nil
        default: return aggregateDifference(before, after) ? change : nil
        }
    }

    /// Structures, unions and enumerations with other names, or none, are compared by their layout.
    private mutating func aggregateDifference(_ before: TypeShape, _ after: TypeShape) -> Bool {
        if case .named(let old, _, _) = before, case .named(let new, _, _) = after {
            // One and the same type is reported under its own name.
            if old == new { return false }
            if let known = pairs[[old, new]] { return known }
            guard let before = original.types[old], let after = self.new.types[new] else { return true }
            pairs[[old, new]] = false
            let differs = !compare(before, after).isEmpty
            pairs[[old, new]] = differs
            return differs
        }
        guard let old = layout(before, in: original), let new = layout(after, in: new) else { return true }
        return !compare(old, new).isEmpty
    }

    private func layout(_ shape: TypeShape, in unit: DebugUnit) -> TypeLayout? {
        switch shape {
        case .named(let key, _, _): unit.types[key]
        case .anonymous(let layout): layout
        default: nil
        }
    }

    /// Whether what a pointer points to is something else now. A pointer to `void` may become one to something, and the
    /// other way round; signedness of the target is left to the code.
    private mutating func differsAsTarget(_ before: TypeShape, _ after: TypeShape) -> Bool {
        if before == .void || after == .void { return false }
        if case .base(_, let old, let encoding) = before, case .base(_, let new, let other) = after {
            return old != new || (encoding == .float) != (other == .float)
        }
        if case .named(let old, _, _) = before, case .named(let new, _, _) = after, old == new { return false }
        return difference(before, after) != nil
    }
}
