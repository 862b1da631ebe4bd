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

    static func < (a: GroupKey, b: GroupKey) -> Bool { (a.stem, "\(a.kind)") < (b.stem, "\(b.kind)") }
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
        pair(&correlation) { _, a, b in
            a.name == b.name && stem(a.name) == a.name
        }
    }

    mutating func pairFunctions(_ correlation: inout Correlation) {
        pair(&correlation) { $0.sameBytes($1, $2) && $1.name == $2.name }
        pair(&correlation) { $0.sameBytes($1, $2) }
        pair(&correlation) { _, a, b in a.name == b.name }
        pair(&correlation) { _, _, _ in true }
    }

    /// Constants of equal content may stand for each other.
    mutating func pairConstants(_ correlation: inout Correlation) {
        pair(&correlation) { $0.sameConstant($1, $2) && $1.name == $2.name }
        pair(&correlation) { $0.sameConstant($1, $2) }
    }

    mutating func pairByReferrers(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        func unique(_ set: Set<String>, among indices: [Int], _ table: [Int: Set<String>]) -> Int? {
            let matching = indices.filter { table[$0, default: []] == set }
            return matching.count == 1 ? matching[0] : nil
        }
        for candidate in left {
            let referrers = originalReferrers[candidate, default: []]
            guard !referrers.isEmpty, unique(referrers, among: left, originalReferrers) != nil,
                let partner = unique(referrers, among: right, newReferrers)
            else { continue }
            take(candidate, partner, &correlation)
        }
    }

    /// One left on each side: the same object, unless the functions that use it have nothing in common (a static
    /// local that went away beside one of the same name that came), or it is only a function's own name.
    mutating func pairSingle(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        guard left.count == 1, right.count == 1, !isFunctionNameLiteral(original.entities[left[0]].name) else { return }
        let (a, b) = (originalReferrers[left[0], default: []], newReferrers[right[0], default: []])
        if a.isEmpty || b.isEmpty || !a.isDisjoint(with: b) { take(left[0], right[0], &correlation) }
    }

    /// Several static locals of one name in one function (macros make them): in their order, where their number and sizes
    /// are as before.
    mutating func pairByOrder(
        _ correlation: inout Correlation, _ originalReferrers: [Int: Set<String>], _ newReferrers: [Int: Set<String>]
    ) {
        for candidate in left where left.contains(candidate) {
            let (users, size) = (originalReferrers[candidate, default: []], original.entities[candidate].size)
            let before = left.filter { originalReferrers[$0, default: []] == users }
            let after = right.filter { newReferrers[$0, default: []] == users }
            let sizes = before.map { original.entities[$0].size } + after.map { new.entities[$0].size }
            guard !users.isEmpty, before.count == after.count, sizes.allSatisfy({ $0 == size }) else { continue }
            for (a, b) in zip(before, after) {
                take(a, b, &correlation)
                if new.entities[b].isWritable { correlation.assumed.insert(b) }
            }
        }
    }

    func undecidedWritable() -> [String] {
        let leftWritable = left.filter { original.entities[$0].isWritable }
        let rightWritable = right.filter { new.entities[$0].isWritable }
        guard !leftWritable.isEmpty, !rightWritable.isEmpty else { return [] }
        return rightWritable.map { new.entities[$0].name }
    }

    private mutating func pair(_ correlation: inout Correlation, where same: (Group, Entity, Entity) -> Bool) {
        for candidate in left {
            let group = self
            let partner = right.first { same(group, original.entities[candidate], new.entities[$0]) }
            if let partner { take(candidate, partner, &correlation) }
        }
    }

    private mutating func take(_ a: Int, _ b: Int, _ correlation: inout Correlation) {
        correlation.pair(a, b)
        left.removeAll { $0 == a }
        right.removeAll { $0 == b }
    }

    private func sameConstant(_ a: Entity, _ b: Entity) -> Bool {
        !a.isWritable && !b.isWritable && sameBytes(a, b)
    }

    private func sameBytes(_ a: Entity, _ b: Entity) -> Bool {
        guard a.size == b.size else { return false }
        let x = original.bytes(section: a.section, from: a.offset, to: a.end)
        let y = new.bytes(section: b.section, from: b.offset, to: b.end)
        return x == y
    }
}
