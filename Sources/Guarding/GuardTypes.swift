import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

extension MatchedUnit {
    /// Its code may travel.
    var needsLayouts: Bool {
        !changes.functions.isEmpty
            || new.entities.indices.contains { new.entities[$0].isGlobal && correlation.originalOf[$0] == nil }
    }
}

extension ObjectView {
    /// Variables that nothing writes, so that the compiler has made constants of them, by the names that they have in the
    /// source, where no variable of the same name is another.
    fileprivate var tables: Set<String> {
        var (constants, others): (Set<String>, Set<String>) = ([], [])
        for entity in entities where entity.kind != .function {
            let isConstant = entity.kind == .data && !entity.isWritable && !entity.isGlobal
            let name = stem(entity.name)
            if isConstant { constants.insert(name) } else { others.insert(name) }
        }
        return constants.subtracting(others)
    }
}

/// Rules that need the units' debug information: layouts of types that existing data has, signatures, constants.
package struct DebugFacts {
    package struct Pair {
        package var unit: MatchedUnit
        package var original: DebugUnit?
        package var new: DebugUnit?
    }

    package private(set) var pairs: [Pair] = []

    fileprivate init(units: [MatchedUnit]) {
        var seen: Set<String> = []
        for unit in units where unit.needsLayouts && seen.insert(unit.name).inserted {
            var original = (try? DebugInfo.read(path: unit.original.file.path))?.units.first
            // No data that the process has made lies in a constant, and one whose content changes travels.
            if let all = original?.variables, !unit.isCPlusPlus {
                let tables = unit.original.tables.intersection(unit.new.tables)
                original?.variables = all.filter { !tables.contains(plainName($0.key)) }
            }
            pairs.append(
                Pair(
                    unit: unit, original: original,
                    new: (try? DebugInfo.read(path: unit.new.file.path))?.units.first))
        }
    }

    /// `table` of `function()::table#2`.
    private func plainName(_ key: String) -> String {
        let name = key.prefix { $0 != "#" }
        return String(name[(name.lastIndex(of: ":").map { name.index(after: $0) } ?? name.startIndex)...])
    }

    /// The compilers and their options, as debug information names them.
    package var producers: [String] {
        Set(pairs.compactMap { $0.new?.producer }.filter { !$0.isEmpty }).sorted()
    }

    /// Every type of a unit counts whose functions change: what only `sizeof` or a cast mentions is not reachable from
    /// the description of any function.
    func layoutFindings() -> [Finding] {
        pairs.flatMap { pair -> [Finding] in
            guard let original = pair.original, let new = pair.new else {
                return [
                    Finding(
                        subject: pair.unit.name,
                        why: "it has no readable debug information, so a changed type would not be seen",
                        remedy: "compile with -g")
                ]
            }
            let differences = layoutDifferences(original: original, new: new)
            let sentences = Dictionary(grouping: differences, by: \.subject).mapValues { $0.map(\.description) }
            var seen: Set<String> = []
            return differences.map(\.subject).filter { seen.insert($0).inserted }.map { subject in
                Finding(
                    subject: subject,
                    why: "\(listed(sentences[subject, default: []])), and data of this type may exist in the process")
            }
        }
    }

    /// One sentence after the other; of many, the first.
    private func listed(_ sentences: [String]) -> String {
        let most = 6
        let rest = sentences.count > most ? "; and \(sentences.count - most) more changes" : ""
        return sentences.prefix(most).joined(separator: "; ") + rest
    }

    /// What changes in types and keeps their layout, for the reader of the patch.
    package var layoutRemarks: [String] {
        var seen: Set<String> = []
        return pairs.flatMap { pair -> [String] in
            guard let original = pair.original, let new = pair.new else { return [] }
            let differences = Set(layoutDifferences(original: original, new: new).map(\.subject))
            return ObjectFiles.layoutRemarks(original: original, new: new).filter { !differences.contains($0.subject) }
                .map { "\($0.subject): \($0.description), with the same layout" }
        }.filter { seen.insert($0).inserted }
    }

    /// What calls a replaced function from a unit that is in no given target goes on calling it as before. It can only call
    /// what a target exports; of anything else, such a unit's program has a copy of its own.
    func signatureFindings(homeless: [ComparedUnit], exported: Set<String>) -> [Finding] {
        var callers: [String: String] = [:]
        for item in homeless {
            for symbol in item.unit.original.file.symbols where !symbol.isDefined && exported.contains(symbol.name) {
                callers[symbol.name] = item.unit.name
            }
        }
        guard !callers.isEmpty else { return [] }
        return changedSignatures().compactMap { change in
            callers[change.linkageName].map { caller in
                Finding(
                    subject: change.subject,
                    why: "\(change.words), and \(caller), which is in none of the given targets, calls it",
                    isFinal: true)
            }
        }
    }

    /// A function whose address a target hands on may be called by a library of the same tree that changes with it, and
    /// is in none of the given targets: one whose functions a target calls, or that calls a target's.
    func callbackFindings(homeless: [ComparedUnit], exported: Set<String>, imported: Set<String>) -> [Finding] {
        let partner = homeless.first { item in
            item.unit.original.file.symbols.contains { symbol in
                symbol.binding != .local && !symbol.name.isEmpty
                    && (symbol.isDefined ? imported : exported).contains(symbol.name)
            }
        }
        guard let partner else { return [] }
        let handedOn = Dictionary(
            pairs.map { ($0.unit.name, $0.unit.original.takenAddresses.functions) },
            uniquingKeysWith: { first, _ in first })
        return changedSignatures().filter { handedOn[$0.unit]?.contains($0.linkageName) ?? false }.map { change in
            Finding(
                subject: change.subject,
                why:
                    "\(change.words), its address is handed on, and \(partner.unit.name), which changes too and is in none of the given targets, may call it",
                remedy: "give the library that the unit is linked into as a --target, too", isFinal: true)
        }
    }

    /// Functions that can't be called any more as they were, by the unit of each.
    package var changedSignatureNames: [(unit: String, function: String, isHandedOn: Bool)] {
        let handedOn = Dictionary(
            pairs.map { ($0.unit.name, $0.unit.original.takenAddresses.functions) },
            uniquingKeysWith: { first, _ in first })
        return changedSignatures().map {
            ($0.unit, $0.linkageName, handedOn[$0.unit]?.contains($0.linkageName) ?? false)
        }
    }

    struct ChangedSignature {
        var linkageName: String
        var unit: String
        var subject: String
        var words: String
    }

    /// Functions that can't be called any more as they were.
    func changedSignatures() -> [ChangedSignature] {
        pairs.flatMap { pair -> [ChangedSignature] in
            guard let original = pair.original, let new = pair.new else { return [] }
            let (before, after) = (original.signatures, new.signatures)
            var seen: Set<String> = []
            return original.functions.compactMap { function in
                // Lambdas share a name. Clones of a function share its type as well.
                guard seen.insert(function.symbolName).inserted, let all = before[function.symbolName], all.count == 1,
                    let old = all.first, let found = after[function.symbolName], found.count == 1,
                    let signature = found.first, !original.acceptsCalls(old, from: signature, in: new)
                else { return nil }
                return ChangedSignature(
                    linkageName: function.symbolName, unit: pair.unit.name,
                    subject: "\(function.name) (\(pair.unit.name))", words: "it changes from `\(old)` to `\(signature)`"
                )
            }
        }
    }

    /// Constants that only debug information tells, before and after.
    package var constants: [(unit: String, before: [String: Int64], after: [String: Int64])] {
        pairs.map { ($0.unit.name, $0.original?.constants ?? [:], $0.new?.constants ?? [:]) }
    }
}

extension DebugFunction {
    fileprivate var symbolName: String { linkageName ?? name }
}

extension DebugUnit {
    fileprivate var signatures: [String: Set<TypeShape>] {
        Dictionary(grouping: functions, by: \.symbolName).mapValues { Set($0.compactMap(\.signature)) }
    }
}

/// Reads the debug information of the units whose code may travel. What can't be read is refused (`type-layout`).
package func readDebugFacts(of units: [MatchedUnit]) -> DebugFacts { DebugFacts(units: units) }
