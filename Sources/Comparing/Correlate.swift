import CodeModel
import ObjectFiles
import SourceChanges

/// Which definition of the new object is which of the original one.
package struct Correlation: Sendable {
    /// By entity index of the original object: the entity of the new one.
    package var newOf: [EntityIndex: EntityIndex] = [:]
    package var originalOf: [EntityIndex: EntityIndex] = [:]
    /// Writable data that exists on both sides under one stem and can't be told apart: binding the wrong one would
    /// lose state.
    package var ambiguous: [String] = []
    /// Writable data, as entities of the new object, paired by order alone: right if a function that does not change
    /// uses them.
    var assumed: Set<EntityIndex> = []
    /// Functions, as entities of the new object, whose name holds a number that the compiler counted, among others that
    /// it may have counted anew: sound as long as they do not change.
    var renumbered: Set<EntityIndex> = []

    mutating func pair(_ original: EntityIndex, _ new: EntityIndex) {
        newOf[original] = new
        originalOf[new] = original
    }
}

/// Pairs the definitions of two objects of one unit, without a look at their sources.
package func correlate(_ original: ObjectView, _ new: ObjectView) -> Correlation {
    correlate(original, new, declared: nil)
}

/// Pairs the definitions of two objects of one unit.
///
/// The compiler numbers static locals (`counter.3`) and clones (`f.constprop.0`) in the order it meets them, so a
/// number says nothing: within one stem, definitions are paired by content and by who refers to them.
/// Any pairing of clones is sound, because every caller is compared under it; a wrong pairing of writable data is
/// not, so what stays undecided is reported.
///
/// - Parameter declared: where both sources declare variables; nil where that is not known.
func correlate(_ original: ObjectView, _ new: ObjectView, declared: Declarations?) -> Correlation {
    var correlation = Correlation()
    let originalGroups = Dictionary(grouping: original.entities.indices) { GroupKey(original.entities[$0]) }
    let newGroups = Dictionary(grouping: new.entities.indices) { GroupKey(new.entities[$0]) }
    let groups = originalGroups.sorted { $0.key < $1.key }.compactMap { key, originals in
        newGroups[key].map { Group(original: original, new: new, kind: key.kind, left: originals, right: $0) }
    }
    for var group in groups where group.kind == .function {
        let whole = group
        if !group.isCounted { group.pairUnnumbered(&correlation) }
        group.pairFunctions(&correlation)
        if whole.isCounted { correlation.renumbered.formUnion(whole.uncertain(correlation)) }
    }
    // Data is told apart by the functions that use it, which have their partners now.
    let originalReferrers = LazyReferrers(original) { original.entities[$0].name }
    let paired = correlation
    let newReferrers = LazyReferrers(new) { number in
        let name = new.entities[number].name
        guard let partner = paired.originalOf[number] else { return hasNumbers(name) ? "+" + name : name }
        let other = original.entities[partner].name
        return hasNumbers(name) || hasNumbers(other) ? other : name
    }
    for var group in groups where group.kind != .function {
        if !group.isCounted { group.pairUnnumbered(&correlation) }
        group.pairConstants(&correlation)
        group.pairByReferrers(&correlation, originalReferrers.table, newReferrers.table)
        group.pairSingle(&correlation, originalReferrers.table, newReferrers.table)
        if let declared { group.pairByDeclaration(&correlation, declared) }
        group.pairByOrder(&correlation, originalReferrers.table, newReferrers.table)
        correlation.ambiguous += group.undecidedWritable()
    }
    correlation.checkGuards(original, new)
    return correlation
}

/// The compiler counted something in this C++ name.
private func hasNumbers(_ name: String) -> Bool {
    name.hasPrefix("_Z") && withoutNumbers(name[...]) != name[...]
}

extension Correlation {
    /// A variable that is initialised at its first use, and the guard that says whether it has been, stay together.
    fileprivate mutating func checkGuards(_ original: ObjectView, _ new: ObjectView) {
        for (a, b) in newOf where new.entities[b].name.hasPrefix("_ZGV") {
            func variable(_ view: ObjectView, _ number: EntityIndex) -> EntityIndex? {
                view.entityNamed["_Z" + view.entities[number].name.dropFirst(4)]
            }
            guard let old = variable(original, a), let fresh = variable(new, b), newOf[old] != fresh else { continue }
            ambiguous.append(new.entities[fresh].name)
        }
    }

    /// Of the data paired by order, what changed functions use, and neither an unchanged one nor its declaration proves.
    mutating func settleAssumed(_ unit: LoadedUnit, _ changes: ChangeSet, declared: Declarations?) {
        guard !assumed.isEmpty else { return }
        let new = unit.new
        var proven: Set<EntityIndex> = []
        var used: Set<EntityIndex> = []
        for (number, entity) in new.entities.enumerated() where entity.kind == .function {
            let section = new.file.sections[entity.section]
            let isChanged = changes.functions[new.functionOwning(number)] != nil || originalOf[number] == nil
            for relocation in new.relocations(section: entity.section, from: entity.offset, to: entity.end) {
                guard case .entity(let data, _) = new.referent(of: relocation, in: section) else { continue }
                guard assumed.contains(data) else { continue }
                if isChanged { used.insert(data) } else { proven.insert(data) }
            }
        }
        used.subtract(proven)
        if !used.isEmpty, let declared { used.subtract(declaredAlike(used, new, declared)) }
        ambiguous += used.sorted().map { new.entities[$0].name }
    }

    /// Of `used`, data paired by order: what both sources declare on the same lines, in text that the change leaves as it is from
    /// the first declaration of the name to the last.
    ///
    /// Lines between them count too: a block that goes and a like one that comes could else pass for one another.
    private func declaredAlike(
        _ used: Set<EntityIndex>, _ new: ObjectView, _ declared: Declarations
    ) -> Set<EntityIndex> {
        let (before, after) = (declared.before, declared.after)
        let groups = Dictionary(grouping: used) { stem(new.entities[$0].name) }
        return groups.values.reduce(into: []) { result, group in
            let places = group.compactMap { after[$0] }
            let originals = group.compactMap { originalOf[$0].flatMap { before[$0] } }
            guard places.count == group.count, places == originals, Set(places).count == group.count,
                Set(places.map(\.file)).count == 1, let file = places.first?.file,
                let first = places.map(\.number).min(), let last = places.map(\.number).max(),
                declared.lines.keeps(first...last, of: file)
            else { return }
            result.formUnion(group)
        }
    }
}

/// A name without the numbers the compiler added: `counter.3` and `counter.5` are `counter`.
package func stem(_ name: String) -> String {
    guard name.contains(".") else { return String(withoutNumbers(name[...])) }
    var parts = name.split(separator: ".", omittingEmptySubsequences: false)
    parts[0] = withoutNumbers(parts[0])
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
        stem = Comparing.stem(entity.name)
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

/// Where both sources declare variables; read only when it is asked for.
final class Declarations {
    let lines: KeptLines
    private let original: ObjectView
    private let new: ObjectView

    init(_ original: ObjectView, _ new: ObjectView, _ lines: KeptLines) {
        (self.original, self.new, self.lines) = (original, new, lines)
    }

    lazy var before: [EntityIndex: SourceLine] = original.declarations
    lazy var after: [EntityIndex: SourceLine] = new.declarations
}

/// Computed only when a group needs it.
private final class LazyReferrers {
    private let view: ObjectView
    private let name: (EntityIndex) -> String
    init(_ view: ObjectView, name: @escaping (EntityIndex) -> String) {
        self.view = view
        self.name = name
    }
    lazy var table: [EntityIndex: Set<String>] = view.referrers(name).ofOwn
}

/// Which functions refer to what, by name and without clone suffixes.
package struct Referrers: Sendable {
    package fileprivate(set) var ofOwn: [EntityIndex: Set<String>] = [:]
    /// By the name of what the object lacks.
    package fileprivate(set) var ofOthers: [String: Set<String>] = [:]
}

extension ObjectView {
    /// Where the source declares each variable, by the debug information.
    fileprivate var declarations: [EntityIndex: SourceLine] {
        let places = (try? DebugInfo.staticVariables(path: file.path)) ?? []
        return Dictionary(
            places.compactMap { place in
                entitiesInSection[place.section]?.first { entities[$0].offset == place.offset }.map { ($0, place.line) }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// Functions go by their own name or by the one that `name` gives to an entity.
    package func referrers(_ name: ((EntityIndex) -> String)? = nil) -> Referrers {
        var result = Referrers()
        for (number, entity) in entities.enumerated() where entity.kind == .function {
            let section = file.sections[entity.section]
            // Parts and clones of a function are that function.
            let function = String((name?(number) ?? entity.name).prefix { $0 != "." })
            for relocation in relocations(section: entity.section, from: entity.offset, to: entity.end) {
                switch referent(of: relocation, in: section) {
                case .entity(let target, _): result.ofOwn[target, default: []].insert(function)
                case .undefined(let other, _): result.ofOthers[other, default: []].insert(function)
                default: break
                }
            }
        }
        return result
    }
}

/// The definitions of one stem that are not paired yet.
private struct Group {
    let original: ObjectView
    let new: ObjectView
    let kind: Entity.Kind
    var left: [EntityIndex]
    var right: [EntityIndex]

    /// Something in a C++ name of the group is a number that the compiler counted.
    var isCounted: Bool {
        left.contains { hasNumbers(original.entities[$0].name) } || right.contains { hasNumbers(new.entities[$0].name) }
    }

    /// The functions of a counted group, if one may have become another's number.
    func uncertain(_ correlation: Correlation) -> [EntityIndex] {
        let isMoved = left.contains { number in
            correlation.newOf[number].map { original.entities[number].name != new.entities[$0].name } ?? true
        }
        return isMoved || left.count != right.count ? right : []
    }

    /// Clang numbers only the second static local of a name (`f.n`, `f.n.1`), so that the first is no better known.
    mutating func pairUnnumbered(_ correlation: inout Correlation) {
        let isFirstOfSeveral = kind != .function && max(left.count, right.count) > 1
        pair(&correlation) { _, entity in
            let isNumbered = stem(entity.name) != entity.name || isFirstOfSeveral && entity.name.contains(".")
            return isNumbered ? nil : entity.name
        }
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
        _ correlation: inout Correlation, _ originalReferrers: [EntityIndex: Set<String>],
        _ newReferrers: [EntityIndex: Set<String>]
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
        _ correlation: inout Correlation, _ originalReferrers: [EntityIndex: Set<String>],
        _ newReferrers: [EntityIndex: Set<String>]
    ) {
        guard left.count == 1, right.count == 1, !isFunctionNameLiteral(original.entities[left[0]].name) else { return }
        let (a, b) = (originalReferrers[left[0], default: []], newReferrers[right[0], default: []])
        if a.isEmpty || b.isEmpty || !a.isDisjoint(with: b) { take([(left[0], right[0])], &correlation) }
    }

    /// Static locals of one name whose declarations stand on lines of their own that the change keeps, and that no other line
    /// passes for: `COUNT(x);` and `COUNT(y);`, where the macro makes one.
    mutating func pairByDeclaration(_ correlation: inout Correlation, _ declarations: Declarations) {
        guard kind == .data, max(left.count, right.count) > 1, !left.isEmpty, !right.isEmpty else { return }
        let before = Dictionary(grouping: left) { declarations.before[$0] }
        let after = Dictionary(grouping: right) { declarations.after[$0] }
        let pairs = before.compactMap { line, entities -> (EntityIndex, EntityIndex)? in
            guard let line, entities.count == 1, let partners = after[line], partners.count == 1,
                declarations.lines.identifies(line.number, of: line.file),
                original.entities[entities[0]].size == new.entities[partners[0]].size
            else { return nil }
            return (entities[0], partners[0])
        }
        take(pairs, &correlation)
    }

    /// Several static locals of one name in one function (macros make them, and inlining does): in their order among those
    /// of their size, where number and sizes are as before.
    mutating func pairByOrder(
        _ correlation: inout Correlation, _ originalReferrers: [EntityIndex: Set<String>],
        _ newReferrers: [EntityIndex: Set<String>]
    ) {
        guard !left.isEmpty, !right.isEmpty else { return }
        let after = Dictionary(grouping: right) { newReferrers[$0, default: []] }
        var pairs: [(EntityIndex, EntityIndex)] = []
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
        var partners: [Key: [EntityIndex]] = [:]
        for number in right.reversed() {
            if let key = key(new, new.entities[number]) { partners[key, default: []].append(number) }
        }
        var pairs: [(EntityIndex, EntityIndex)] = []
        for number in left {
            guard let key = key(original, original.entities[number]) else { continue }
            if let partner = partners[key]?.popLast() { pairs.append((number, partner)) }
        }
        take(pairs, &correlation)
    }

    private mutating func take(_ pairs: [(EntityIndex, EntityIndex)], _ correlation: inout Correlation) {
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
