import Diagnostics
import Matching
import ObjectFiles
import Recompiling

extension DebugFacts {
    /// A unit may begin to use a type that it did not know, and that the fix changes: what other units have made of it has
    /// the layout that they knew, though their code need not change (a member in what was padding).
    func newTypeFindings(_ sources: CompiledInput) -> [Finding] {
        let touched = (sources.change?.files ?? []).filter { sources.touchedHeaders.contains($0.path) }
        let known = words(of: touched.map(\.original))
        guard !known.isEmpty else { return [] }
        var seen: Set<Finding> = []
        return pairs.flatMap { pair -> [Finding] in
            guard let original = pair.original, let new = pair.new else { return [] }
            var fresh = Set(
                new.types.keys.filter { original.types[$0] == nil && known.contains(plainName(ofType: $0)) })
            guard !fresh.isEmpty else { return [] }
            var found: [Finding] = []
            for unit in sources.units where unit.name != pair.unit.name && !fresh.isEmpty {
                guard var other = self.original(of: unit) else {
                    found.append(unreadable(unit, pair.unit.name))
                    continue
                }
                other.types = other.types.filter { fresh.contains($0.key) }
                (other.variables, other.alignments) = ([:], [:])
                fresh.subtract(other.types.keys)
                found += layoutDifferences(original: other, new: new).map {
                    Finding(
                        subject: $0.subject,
                        why: "\($0.description), and \(unit.name) may have made data of this type in the process")
                }
            }
            return found
        }.filter { seen.insert($0).inserted }
    }

    /// What the unit knew of types; nil where that can't be read.
    private func original(of unit: UnitObjects) -> DebugUnit? {
        if let known = pairs.first(where: { $0.unit.name == unit.name }) { return known.original }
        let info = try? DebugInfo.read(path: unit.originalObject, parts: .types)
        if let described = info?.units.first { return described }
        // An assembler's source has no types, and what defines nothing has made no data.
        guard let file = try? ObjectFile.read(path: unit.originalObject), file.section(named: ".debug_info") == nil
        else {
            return nil
        }
        let isEmpty = !file.symbols.contains { $0.isDefined && [.function, .object, .threadLocal].contains($0.kind) }
        return unit.isAssembler || isEmpty ? DebugUnit(name: unit.source) : nil
    }

    private func unreadable(_ unit: UnitObjects, _ user: String) -> Finding {
        Finding(
            subject: unit.name,
            why:
                "it has no readable debug information, so that its layout of a type which \(user) begins to use is not known",
            remedy: "compile with -g")
    }
}

/// The words of C that texts have.
func words(of texts: [[UInt8]?]) -> Set<Substring> {
    let text = texts.map { String(decoding: $0 ?? [], as: UTF8.self) }.joined(separator: "\n")
    return Set(text.split { !($0.isLetter || $0.isNumber || $0 == "_") })
}

/// `C` of `class ns::C<int>`.
func plainName(ofType key: String) -> Substring {
    let name = key.prefix { $0 != "<" }
    return name[(name.lastIndex { $0 == ":" || $0 == " " }.map { name.index(after: $0) } ?? name.startIndex)...]
}
