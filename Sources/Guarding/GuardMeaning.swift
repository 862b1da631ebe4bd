import Diagnostics
import FoundationEssentials
import Recompiling
import SourceChanges

/// A constant with another value, and the code that uses it (trap meaning-without-layout).
package struct ConstantChange: Hashable {
    /// The file that defines it, or the unit whose debug information tells.
    var place: String
    package var name: String
    package var old: String
    package var new: String
    package var functions: [String] = []
    package var allocating: [String] = []
    /// Those that use it in other ways as well, and keep what they allocate.
    package var relying: [String] = []
    /// The constant that had the new value: a renumbering.
    var displaced: String?

    /// For the reader of the patch.
    package var note: String {
        let users = functions.isEmpty ? "" : " (used by \(functions.joined(separator: ", ")))"
        return "\(place): \(name) changes from \(old) to \(new)\(users): what the process made with the old value stays"
    }

    /// Where something made before the switch outlives it, and other code relies on how it was made.
    var finding: Finding? {
        var why = "\(place): it changes from \(old) to \(new)"
        if let displaced {
            why += ", the value that \(displaced) had: what the process has stored would be taken for something else"
        } else if let first = allocating.first, let other = functions.first(where: { $0 != first }) {
            why +=
                "; \(first) allocates by it and \(other) relies on it, but what is allocated already has the old size"
        } else if let only = relying.first {
            why +=
                "; \(only) allocates by it and relies on it in later calls, but what is allocated already has the old size"
        } else {
            return nil
        }
        return Finding(subject: name, why: why)
    }
}

/// One finding for each constant that needs a decision, but only one for a file in which many are numbered anew, as in what
/// is made of a grammar.
func guardMeaning(_ changes: [ConstantChange]) -> [Finding] {
    var findings: [Finding] = []
    let renumbered = Dictionary(grouping: changes.filter { $0.displaced != nil }, by: \.place).filter {
        $0.value.count > 5
    }
    for (place, changes) in renumbered.sorted(by: { $0.key < $1.key }) {
        let first = changes[0]
        findings.append(
            Finding(
                subject: place,
                why:
                    "\(first.name) changes from \(first.old) to \(first.new), the value that \(first.displaced ?? "") had, and "
                    + "\(changes.count - 1) more constants are numbered anew: what the process has stored would be taken for "
                    + "something else"))
    }
    return findings + changes.filter { $0.displaced == nil || renumbered[$0.place] == nil }.compactMap(\.finding)
}

/// Every changed constant of a patch: macros and, from debug information, `enum { N = 64 }` and `static const int N`.
///
/// - Parameter constants: of each unit that changes, the values before and after.
package func constantChanges(
    _ sources: CompiledInput, constants: [(unit: String, before: [String: Int64], after: [String: Int64])]
) -> [ConstantChange] {
    var changes = sources.change.map(changedMacros) ?? []
    for (unit, before, after) in constants {
        for (name, old) in before.sorted(by: { $0.key < $1.key }) {
            guard let new = after[name], new != old, !changes.contains(where: { $0.name == name }) else { continue }
            changes.append(ConstantChange(place: unit, name: name, old: "\(old)", new: "\(new)"))
        }
    }
    guard !changes.isEmpty else { return [] }
    let texts = sources.newTexts()
    return changes.map { change in
        var change = change
        let names = ConstantReach.macros(expandingTo: [change.name], in: texts)
        for reach in texts.map({ ConstantReach(of: names, in: $0) }) {
            change.functions += reach.functions.filter { !change.functions.contains($0) }
            change.allocating += reach.allocating.sorted().filter { !change.allocating.contains($0) }
            change.relying += reach.relying.sorted().filter { !change.relying.contains($0) }
        }
        change.displaced =
            changes.first { other in
                other.place == change.place && other.name != change.name && other.old == change.new
                    && Int(change.new) != nil
            }?.name
        return change
    }
}

/// Macros of the touched files that have another value.
func changedMacros(_ change: SourceChange) -> [ConstantChange] {
    change.files.flatMap { file -> [ConstantChange] in
        guard let original = file.original, let new = file.new else { return [] }
        let (before, after) = (macros(original), macros(new))
        return before.sorted { $0.key < $1.key }.compactMap { name, value in
            guard let other = after[name], other != value else { return nil }
            return ConstantChange(place: file.path, name: name, old: value, new: other)
        }
    }
}

/// Macros without parameters that are defined once, by name.
private func macros(_ text: [UInt8]) -> [String: String] {
    var values: [String: String] = [:]
    var twice: Set<String> = []
    for line in text.split(separator: 10) {
        let line = String(decoding: line, as: UTF8.self)
        let trimmed = line.drop(while: \.isWhitespace)
        guard trimmed.first == "#" else { continue }
        let words = trimmed.dropFirst().split(maxSplits: 2, whereSeparator: { $0 == " " || $0 == "\t" }).map(
            String.init)
        guard words.count == 3, words[0] == "define", !words[1].contains("(") else { continue }
        var value = words[2].firstRange(of: "/*").map { String(words[2][..<$0.lowerBound]) } ?? words[2]
        value = value.firstRange(of: "//").map { String(value[..<$0.lowerBound]) } ?? value
        value = value.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        if values.updateValue(value, forKey: words[1]) != nil { twice.insert(words[1]) }
    }
    return values.filter { !twice.contains($0.key) }
}

extension CompiledInput {
    /// The new texts of the units' own files and of the touched ones.
    func newTexts() -> [[UInt8]] {
        let touched = Dictionary(
            (change?.files ?? []).map { ((change?.root ?? "") + "/" + $0.path, $0.new ?? []) },
            uniquingKeysWith: { first, _ in first })
        let others = Set(units.map(\.source)).subtracting(touched.keys).sorted()
        let read = others.compactMap { FileManager.default.contents(atPath: $0).map { [UInt8]($0) } }
        return touched.sorted { $0.key < $1.key }.map(\.value) + read
    }
}
