import Diagnostics
import ObjectFiles
import Recompiling

extension DebugFacts {
    /// A type that the fix replaces by one of another name. No type changes then, but what lies behind a `void *`, or behind a
    /// pointer that is cast, was made as the old one and is read as the new one.
    func renamedTypeFindings(_ sources: CompiledInput) -> [Finding] {
        let words = TouchedWords(sources)
        var seen: Set<Finding> = []
        return pairs.flatMap { pair -> [Finding] in
            guard let original = pair.original, let new = pair.new else { return [] }
            let gone = original.structures.filter { new.types[$0] == nil && words.had($0) }
            let fresh = new.structures.filter { original.types[$0] == nil && words.gets($0) }
            return gone.flatMap { old -> [Finding] in
                guard let successor = successor(of: old, among: fresh, original, new, isOnly: gone.count == 1) else {
                    return []
                }
                return differences(old, original, successor, new).map {
                    Finding(
                        subject: old,
                        why: "\(successor) takes its place, and data that was made as \(old) may exist behind a pointer"
                            + " without its type: \($0)")
                }
            }
        }.filter { seen.insert($0).inserted }
    }

    /// The new type with most members of the old one's names; without any, the only one.
    private func successor(
        of old: String, among fresh: [String], _ original: DebugUnit, _ new: DebugUnit, isOnly: Bool
    ) -> String? {
        let names = Set(original.types[old]?.memberNames ?? [])
        let shared = fresh.map { ($0, names.intersection(new.types[$0]?.memberNames ?? []).count) }
        guard let best = shared.max(by: { ($0.1, $1.0) < ($1.1, $0.0) }) else { return nil }
        return best.1 > 0 || isOnly && fresh.count == 1 ? best.0 : nil
    }

    /// Compared as if the new type had the old one's name.
    private func differences(_ old: String, _ original: DebugUnit, _ new: String, _ after: DebugUnit) -> [String] {
        guard let before = original.types[old], var layout = after.types[new] else { return [] }
        layout.name = before.name
        var (left, right) = (original, after)
        (left.types, right.types) = ([old: before], [old: layout])
        (left.variables, right.variables, left.alignments, right.alignments) = ([:], [:], [:], [:])
        (left.typedefs, right.typedefs) = ([:], [:])
        return layoutDifferences(original: left, new: right).map(\.description)
    }
}

extension TypeLayout {
    fileprivate var memberNames: [String] { members.map(\.name) }
}

extension DebugUnit {
    fileprivate var structures: [String] {
        types.keys.filter { key in types[key].map { $0.kind != .enumeration } ?? false }.sorted()
    }
}

/// What the touched files say of types. Units come to know other types with every header.
private struct TouchedWords {
    private let before: Set<Substring>?
    private let after: Set<Substring>

    init(_ sources: CompiledInput) {
        guard let change = sources.change else {
            (before, after) = (nil, [])
            return
        }
        before = words(of: change.files.map(\.original))
        after = words(of: change.files.map(\.new))
    }

    func had(_ type: String) -> Bool { before?.contains(plainName(ofType: type)) ?? true }

    /// The name is new.
    func gets(_ type: String) -> Bool {
        before.map { !$0.contains(plainName(ofType: type)) && after.contains(plainName(ofType: type)) } ?? true
    }
}
