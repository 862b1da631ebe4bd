/// A rule's entry in the catalogue: all that refusals, `patchbuild help`, `--allow` and the page of rules say of it.
public struct RuleExplanation: Sendable {
    /// What is refused, and what would go wrong.
    public var meaning: String
    /// A few lines that are refused: a change, a command, or a state of a process.
    public var example: String
    /// What to do instead, in the one line that a refusal prints.
    public var remedy: String
    /// The same at length.
    public var wayOut: String
    /// What `--allow RULE=SUBJECT` asserts; nil where the rule can't be decided.
    public var decision: String?

    init(_ meaning: String, example: String, remedy: String, wayOut: String, decision: String? = nil) {
        self.meaning = meaning
        self.example = example
        self.remedy = remedy
        self.wayOut = wayOut
        self.decision = decision
    }
}

/// The rules in groups, as Documentation/rules.md and `patchbuild help rules` show them.
public struct RuleGroup: Sendable {
    public var title: String
    let explanations: [(rule: Rule, text: RuleExplanation)]
    public var rules: [Rule] { explanations.map(\.rule) }

    public static let all: [RuleGroup] = [
        RuleGroup(title: "Sources and compile commands", explanations: explanationsOfSources),
        RuleGroup(title: "The target and its objects", explanations: explanationsOfTargets),
        RuleGroup(title: "What the patch changes", explanations: explanationsOfChanges),
        RuleGroup(title: "Bundles", explanations: explanationsOfBundles),
        RuleGroup(title: "Trust", explanations: explanationsOfTrust),
        RuleGroup(title: "Processes", explanations: explanationsOfProcesses),
    ]

    /// All rules, a line each: the page to start from.
    public static var page: String {
        let groups = all.map { group in
            let lines = group.explanations.map { rule, text in
                let mark = text.decision == nil ? "" : " (can be decided)"
                return "  \(rule.rawValue)\(mark)\n      \(firstSentence(of: text.meaning))"
            }
            return group.title + "\n" + lines.joined(separator: "\n")
        }
        return "A patch, or an operation on a process, that could be wrong is refused by one of these rules.\n"
            + "`patchbuild help RULE` shows an example and the way out. Where a rule can be decided,\n"
            + "`patchbuild build --allow RULE=SUBJECT` records an engineer's decision in the bundle.\n\n"
            + groups.joined(separator: "\n\n")
    }

    /// Character by character: a search for a text in a text brings all of Swift's regular expressions into `livepatch`.
    private static func firstSentence(of text: String) -> String {
        let pairs = zip(text.indices, text.indices.dropFirst())
        return pairs.first { text[$0] == "." && text[$1] == " " }.map { String(text[...$0.0]) } ?? text
    }
}

extension Rule {
    private static let catalogue = Dictionary(
        RuleGroup.all.flatMap(\.explanations).map { ($0.rule, $0.text) }, uniquingKeysWith: { first, _ in first })

    /// The rule's entry in the catalogue. A test refuses a rule without one.
    public var explanation: RuleExplanation {
        Self.catalogue[self] ?? RuleExplanation("", example: "", remedy: "", wayOut: "")
    }

    /// The whole page of the rule.
    public var page: String {
        let example = explanation.example.split(separator: "\n", omittingEmptySubsequences: false).map { "      " + $0 }
        var parts = [rawValue, wrapped(explanation.meaning), "  For example:\n\n" + example.joined(separator: "\n")]
        parts.append("  The way out:\n\n" + wrapped(explanation.wayOut, indent: 6))
        if let decision = explanation.decision {
            let option = "patchbuild build … --allow \(rawValue)=SUBJECT"
            parts.append("  A decision:\n\n      \(option)\n\n" + wrapped("This asserts that " + decision, indent: 6))
        } else {
            parts.append("  It can't be overridden.")
        }
        return parts.joined(separator: "\n\n")
    }

    /// What a command prints for `help rules`, `help RULE` and `--explain RULE`.
    /// - Throws: `UsageError` for a name that is no rule's, with those that are nearest.
    public static func explain(_ name: String?) throws -> String {
        guard let name, name != "rules" else { return RuleGroup.page }
        if let rule = Rule(rawValue: name) { return rule.page }
        let near = nearest(to: name).map(\.rawValue)
        throw UsageError(
            "\(name) is no rule and no command"
                + (near.isEmpty ? "" : "; the nearest rules are \(near.joined(separator: ", "))")
                + "; `help rules` lists all rules")
    }

    /// Rules whose names may have been meant: at most a third of the letters differ.
    static func nearest(to name: String) -> [Rule] {
        let ranked = allCases.map { (rule: $0, edits: edits(Array(name.utf8), Array($0.rawValue.utf8))) }
            .filter { $0.edits * 3 <= max(name.utf8.count, $0.rule.rawValue.utf8.count) }
            .sorted { ($0.edits, $0.rule.rawValue) < ($1.edits, $1.rule.rawValue) }
        return ranked.prefix(3).map(\.rule)
    }

    /// Insertions, deletions and replacements between two texts (Levenshtein).
    private static func edits(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (index, byte) in a.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in b.enumerated() {
                let replaced = diagonal + (byte == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, min(diagonal, row[column]) + 1)
            }
        }
        return row[b.count]
    }

    /// Where the arguments ask for a rule, the rule's name (`rules` for all): `help rules`, `help RULE`,
    /// `--explain RULE`, `--explain=RULE`.
    /// - Parameter commands: what else `help` may be asked of; anything that is neither is taken for a rule's name.
    public static func asked(by arguments: [String], commands: [String]) -> String? {
        if let first = arguments.first, first.hasPrefix("--explain=") { return String(first.dropFirst(10)) }
        guard let first = arguments.first else { return nil }
        if first == "--explain" { return arguments.count > 1 ? arguments[1] : "rules" }
        guard first == "help", arguments.count == 2, !arguments[1].hasPrefix("-") else { return nil }
        return commands.contains(arguments[1]) ? nil : arguments[1]
    }
}

extension Refusals {
    /// One line for all of them, said once behind a command's refusals.
    public static func hint(_ refusals: [Refusal], tool: String) -> String? {
        var names: [String] = []
        for refusal in refusals where !names.contains(refusal.rule) { names.append(refusal.rule) }
        guard !names.isEmpty else { return nil }
        let more = names.count > 1 ? " (also \(names.dropFirst().joined(separator: ", ")))" : ""
        return "an example and the way out: \(tool) help \(names[0])\(more)"
    }
}

private func wrapped(_ text: String, indent: Int = 2, width: Int = 90) -> String {
    let margin = String(repeating: " ", count: indent)
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
        if !line.isEmpty, indent + line.count + 1 + word.count > width {
            lines.append(margin + line)
            line = ""
        }
        line += (line.isEmpty ? "" : " ") + word
    }
    return (lines + [margin + line]).joined(separator: "\n")
}
