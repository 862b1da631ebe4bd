import Diagnostics
import Matching
import ObjectFiles
import Recompiling

extension DebugFacts {
    /// A unit may begin to use a type that it did not know, and that the fix changes: what other units have made of it has
    /// the layout that they knew, though their code need not change (a member in what was padding).
    func newTypeRefusals(_ sources: CompiledInput) -> [Refusal] {
        let touched = (sources.change?.files ?? []).filter { sources.touchedHeaders.contains($0.path) }
        let text = touched.map { String(decoding: $0.original ?? [], as: UTF8.self) }.joined(separator: "\n")
        guard !text.isEmpty else { return [] }
        let words = Set(text.split { !($0.isLetter || $0.isNumber || $0 == "_") })
        var seen: Set<Refusal> = []
        return pairs.flatMap { pair -> [Refusal] in
            guard let original = pair.original, let new = pair.new else { return [] }
            var fresh = Set(new.types.keys.filter { original.types[$0] == nil && words.contains(plainName($0)) })
            guard !fresh.isEmpty else { return [] }
            var found: [Refusal] = []
            for unit in sources.units where unit.name != pair.unit.name && !fresh.isEmpty {
                guard var other = self.original(of: unit) else { continue }
                other.types = other.types.filter { fresh.contains($0.key) }
                (other.variables, other.alignments) = ([:], [:])
                fresh.subtract(other.types.keys)
                found += layoutDifferences(original: other, new: new).map {
                    Refusal(
                        .typeLayout, subject: $0.subject,
                        why: "\($0.description), and \(unit.name) may have made data of this type in the process")
                }
            }
            return found
        }.filter { seen.insert($0).inserted }
    }

    private func original(of unit: UnitObjects) -> DebugUnit? {
        if let known = pairs.first(where: { $0.unit.name == unit.name }) { return known.original }
        return (try? DebugInfo.read(path: unit.originalObject, parts: .types))?.units.first
    }

    /// `C` of `class ns::C<int>`.
    private func plainName(_ key: String) -> Substring {
        let name = key.prefix { $0 != "<" }
        return name[(name.lastIndex { $0 == ":" || $0 == " " }.map { name.index(after: $0) } ?? name.startIndex)...]
    }
}
