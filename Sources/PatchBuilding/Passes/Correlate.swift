import ObjectFiles

/// Which definition of the new object is which of the original one.
public struct Correlation: Sendable {
    /// By entity index of the original object: the entity of the new one.
    public var newOf: [Int: Int] = [:]
    public var originalOf: [Int: Int] = [:]
    /// Writable data that exists on both sides under one stem and can't be told apart: binding the wrong one would
    /// lose state.
    public var ambiguous: [String] = []
    /// Writable data, as entities of the new object, paired by order alone: right if a function that does not change
    /// uses them.
    var assumed: Set<Int> = []

    mutating func pair(_ original: Int, _ new: Int) {
        newOf[original] = new
        originalOf[new] = original
    }
}

/// Pairs the definitions of two objects of one unit.
///
/// The compiler numbers static locals (`counter.3`) and clones (`f.constprop.0`) in the order it meets them, so a
/// number says nothing: within one stem, definitions are paired by content and by who refers to them.
/// Any pairing of clones is sound, because every caller is compared under it; a wrong pairing of writable data is
/// not, so what stays undecided is reported.
public func correlate(_ original: ObjectView, _ new: ObjectView) -> Correlation {
    var correlation = Correlation()
    let originalGroups = Dictionary(grouping: original.entities.indices) { GroupKey(original.entities[$0]) }
    let newGroups = Dictionary(grouping: new.entities.indices) { GroupKey(new.entities[$0]) }
    let originalReferrers = LazyReferrers(original)
    let newReferrers = LazyReferrers(new)
    for (key, originals) in originalGroups.sorted(by: { $0.key < $1.key }) {
        guard let news = newGroups[key] else { continue }
        var group = Group(original: original, new: new, left: originals, right: news)
        group.pairUnnumbered(&correlation)
        if key.kind == .function {
            group.pairFunctions(&correlation)
        } else {
            group.pairConstants(&correlation)
            group.pairByReferrers(&correlation, originalReferrers.table, newReferrers.table)
            group.pairSingle(&correlation, originalReferrers.table, newReferrers.table)
            group.pairByOrder(&correlation, originalReferrers.table, newReferrers.table)
            correlation.ambiguous += group.undecidedWritable()
        }
    }
    return correlation
}

extension Correlation {
    /// Of the data paired by order, what changed functions use and no unchanged one proves.
    mutating func settleAssumed(_ new: ObjectView, _ changes: ChangeSet) {
        guard !assumed.isEmpty else { return }
        var proven: Set<Int> = []
        var used: Set<Int> = []
        for (number, entity) in new.entities.enumerated() where entity.kind == .function {
            let section = new.file.sections[entity.section]
            let isChanged = changes.functions[new.functionOwning(number)] != nil || originalOf[number] == nil
            for relocation in new.relocations(section: entity.section, from: entity.offset, to: entity.end) {
                guard case .entity(let data, _) = new.referent(of: relocation, in: section) else { continue }
                guard assumed.contains(data) else { continue }
                if isChanged { used.insert(data) } else { proven.insert(data) }
            }
        }
        ambiguous += used.subtracting(proven).sorted().map { new.entities[$0].name }
    }
}

/// A name without the numbers the compiler added: `counter.3` and `counter.5` are `counter`.
func stem(_ name: String) -> String {
    guard name.contains(".") else { return name }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    let kept = parts.enumerated().filter { $0.offset == 0 || $0.element.isEmpty || !$0.element.allSatisfy(\.isNumber) }
    return kept.map { String($0.element) }.joined(separator: ".")
}

/// `__func__` and its kin: a literal in all but name, told apart by content.
func isFunctionNameLiteral(_ name: String) -> Bool {
    ["__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"].contains(stem(name))
}

private struct GroupKey: Hashable, Comparable {
    var stem: String
    var kind: Entity.Kind

    init(_ entity: Entity) {
        stem = PatchBuilding.stem(entity.name)
        kind = entity.kind
    }

    static func < (a: GroupKey, b: GroupKey) -> Bool { (a.stem, a.kind.rank) < (b.stem, b.kind.rank) }
}

extension Entity.Kind {
    fileprivate var rank: Int {
        switch self {
        case .data: 0
        case .function: 1
        case .threadLocal: 2
        }
    }
}

/// Computed only when a group needs it.
private final class LazyReferrers {
    private let view: ObjectView
    init(_ view: ObjectView) { self.view = view }
    lazy var table: [Int: Set<String>] = view.referrers()
}

extension ObjectView {
    /// Who refers to each entity: names of functions without clone suffixes.
    func referrers() -> [Int: Set<String>] {
        var result: [Int: Set<String>] = [:]
        for entity in entities where entity.kind == .function {
            let section = file.sections[entity.section]
            for relocation in relocations(section: entity.section, from: entity.offset, to: entity.end) {
                guard case .entity(let target, _) = referent(of: relocation, in: section) else { continue }
                // Parts and clones of a function are that function.
                let function = entity.name.prefix { $0 != "." }
                result[target, default: []].insert(String(function))
            }
        }
        return result
    }
}

/// The definitions of one stem that are not paired yet.
private struct Group {
    let original: ObjectView
    let new: ObjectView
    var left: [Int]
    var right: [Int]

    mutating func pairUnnumbered(_ correlation: inout Correlation) {
        pair(&correlation) { _, entity in stem(entity.name) == entity.name ? entity.name : nil }
    }

    mutating func pairFunctions(_ correlation: inout Correlation) {
        pair(&correlation) { Content($0, $1, name: $1.name) }
        pair(&correlation) { Content($0, $1) }
        pair(&correlation) { $1.name }
        pair(&correlation) { _, _ in 0 }
    }

    /// Constants of equal content may stand for each other.
    mutating func pairConstants(_ correlation: inout Correlation) {
        pair(&correlation) { $1.isWritable ? nil : Content($0, $1, name: $1.name) }
        pair(&correlation) { $1.isWritable ? nil : Content($0, $1) }
    }

    mutating func pairByReferrers(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        guard !left.isEmpty, !right.isEmpty else { return }
        let before = Dictionary(grouping: left) { originalReferrers[$0, default: []] }
        let after = Dictionary(grouping: right) { newReferrers[$0, default: []] }
        let unique = before.filter { !$0.key.isEmpty && $0.value.count == 1 && after[$0.key]?.count == 1 }
        take(unique.map { ($0.value[0], after[$0.key, default: []][0]) }, &correlation)
    }

    /// One left on each side: the same object, unless the functions that use it have nothing in common (a static
    /// local that went away beside one of the same name that came), or it is only a function's own name.
    mutating func pairSingle(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        guard left.count == 1, right.count == 1, !isFunctionNameLiteral(original.entities[left[0]].name) else { return }
        let (a, b) = (originalReferrers[left[0], default: []], newReferrers[right[0], default: []])
        if a.isEmpty || b.isEmpty || !a.isDisjoint(with: b) { take([(left[0], right[0])], &correlation) }
    }

    /// Several static locals of one name in one function (macros make them, and inlining does): in their order among those
    /// of their size, where number and sizes are as before.
    mutating func pairByOrder(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        guard !left.isEmpty, !right.isEmpty else { return }
        let after = Dictionary(grouping: right) { newReferrers[$0, default: []] }
        var pairs: [(Int, Int)] = []
        for (users, before) in Dictionary(grouping: left, by: { originalReferrers[$0, default: []] }) {
            guard !users.isEmpty, let after = after[users] else { continue }
            let oldSizes = Dictionary(grouping: before) { original.entities[$0].size }
            let newSizes = Dictionary(grouping: after) { new.entities[$0].size }
            guard oldSizes.mapValues(\.count) == newSizes.mapValues(\.count) else { continue }
            for (size, before) in oldSizes { pairs += zip(before, newSizes[size] ?? []) }
        }
        take(pairs, &correlation)
        correlation.assumed.formUnion(pairs.map(\.1).filter { new.entities[$0].isWritable })
    }

    func undecidedWritable() -> [String] {
        let leftWritable = left.filter { original.entities[$0].isWritable }
        let rightWritable = right.filter { new.entities[$0].isWritable }
        guard !leftWritable.isEmpty, !rightWritable.isEmpty else { return [] }
        return rightWritable.map { new.entities[$0].name }
    }

    /// Pairs those of equal keys, in their order; without a key, nothing is paired. Groups may be large (`__func__` is in
    /// every function), so nothing here looks at every pair.
    private mutating func pair<Key: Hashable>(
        _ correlation: inout Correlation, by key: (ObjectView, Entity) -> Key?
    ) {
        guard !left.isEmpty, !right.isEmpty else { return }
        var partners: [Key: [Int]] = [:]
        for number in right.reversed() {
            if let key = key(new, new.entities[number]) { partners[key, default: []].append(number) }
        }
        var pairs: [(Int, Int)] = []
        for number in left {
            guard let key = key(original, original.entities[number]) else { continue }
            if let partner = partners[key]?.popLast() { pairs.append((number, partner)) }
        }
        take(pairs, &correlation)
    }

    private mutating func take(_ pairs: [(Int, Int)], _ correlation: inout Correlation) {
        guard !pairs.isEmpty else { return }
        for (a, b) in pairs { correlation.pair(a, b) }
        let (lefts, rights) = (Set(pairs.map(\.0)), Set(pairs.map(\.1)))
        left.removeAll { lefts.contains($0) }
        right.removeAll { rights.contains($0) }
    }

    /// Bytes, relocations aside, and if need be the name.
    private struct Content: Hashable {
        var name: String?
        var size: UInt64
        var bytes: ArraySlice<UInt8>?

        init(_ view: ObjectView, _ entity: Entity, name: String? = nil) {
            self.name = name
            size = entity.size
            bytes = view.bytes(section: entity.section, from: entity.offset, to: entity.end)
        }
    }
}
