import Diagnostics
import ObjectFiles

extension ComparedUnit {
    /// Its code may travel.
    var needsLayouts: Bool {
        !changes.functions.isEmpty
            || new.entities.indices.contains { new.entities[$0].isGlobal && correlation.originalOf[$0] == nil }
    }
}

/// Rules that need debug information: layouts of types that existing data has, and copies of a changed inline
/// function in code that was not compiled again.
struct DebugFacts {
    private struct Pair {
        var unit: ComparedUnit
        var original: DebugUnit?
        var new: DebugUnit?
    }

    private var pairs: [Pair] = []

    init(units: [ComparedUnit]) {
        var seen: Set<String> = []
        for unit in units where unit.needsLayouts && seen.insert(unit.name).inserted {
            pairs.append(
                Pair(
                    unit: unit, original: (try? DebugInfo.read(path: unit.original.file.path))?.units.first,
                    new: (try? DebugInfo.read(path: unit.new.file.path))?.units.first))
        }
    }

    /// The compilers and their options, as debug information names them.
    var producers: [String] {
        Set(pairs.compactMap { $0.new?.producer }.filter { !$0.isEmpty }).sorted()
    }

    /// C++ code can't be taken without its unwind data, whatever the file is called.
    func languageRefusals() -> [Refusal] {
        pairs.filter { $0.unit.isCPlusPlus || $0.new?.isCPlusPlus == true }.map {
            Refusal(
                .cplusplus, subject: $0.unit.name,
                why: "it is C++, whose unwind data must be registered with the process")
        }
    }

    /// Every type of a unit counts whose functions change: what only `sizeof` or a cast mentions is not reachable from
    /// the description of any function.
    func layoutRefusals() -> [Refusal] {
        pairs.flatMap { pair -> [Refusal] in
            guard let original = pair.original, let new = pair.new else {
                return [
                    Refusal(
                        .typeLayout, subject: pair.unit.name,
                        why: "it has no readable debug information, so a changed type would not be seen",
                        remedy: "compile with -g")
                ]
            }
            return layoutDifferences(original: original, new: new).map {
                Refusal(
                    .typeLayout, subject: $0.subject,
                    why: "\($0.description), and data of this type may exist in the process")
            }
        }
    }

    /// A function of a touched header that has inlined copies in a unit of the target without a recorded command
    /// would stay unfixed there; recorded units that read the header were compiled again.
    func inlinedCopyRefusals(
        target: LoadedTarget, recorded: [String], touchedHeaders: [String: String]
    ) -> [Refusal] {
        guard !touchedHeaders.isEmpty, let info = target.debugInfo else { return [] }
        let known = Set(recorded.map { tail(of: $0) })
        var refusals: [Refusal] = []
        for unit in info.units where !known.contains(tail(of: unit.compilationDirectory + "/" + unit.name)) {
            for copy in unit.inlined {
                guard let header = touchedHeaders.first(where: { defines(copy.function, in: $0.value) })?.key else {
                    continue
                }
                refusals.append(
                    Refusal(
                        .inlinedCopy, subject: "\(copy.function) in \(copy.container) (\(unit.name))",
                        why:
                            "\(header) changes, \(unit.name) holds an inlined copy of its function, and no recorded command compiles that unit again"
                    ))
            }
        }
        return refusals
    }

    /// The last two components: prefix maps change what stands before them.
    private func tail(of path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == "..", !parts.isEmpty { parts.removeLast() } else { parts.append(part) }
        }
        return parts.suffix(2).joined(separator: "/")
    }

    /// The text has the name followed by an argument list.
    private func defines(_ name: String, in text: String) -> Bool {
        var rest = text[...]
        while let range = rest.firstRange(of: name) {
            let before = range.lowerBound == rest.startIndex ? " " : rest[rest.index(before: range.lowerBound)]
            let after = rest[range.upperBound...].drop { $0 == " " }.first
            if after == "(", !(before.isLetter || before.isNumber || before == "_") { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }
}
