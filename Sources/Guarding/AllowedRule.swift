import Diagnostics

/// `--allow RULE=SUBJECT`: an engineer's decision that a rule does not apply to a subject.
package struct AllowedRule: Sendable, Hashable {
    var rule: Rule
    var subject: String

    /// Rules whose judgement an engineer may know better; the others can't be overridden.
    static let overridable: [Rule] = [
        .typeLayout, .dataInitialValue, .meaning, .lostState, .changedConstant, .vanishedFunction, .inlinedCopy,
        .constructors,
    ]

    /// - Throws: `UsageError` for an unknown rule, or one that can't be overridden.
    package init(_ argument: String) throws {
        let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, let rule = Rule(rawValue: parts[0]) else {
            throw UsageError(
                "--allow takes RULE=SUBJECT, with a rule and a subject as a refusal prints them: \(argument)")
        }
        guard Self.overridable.contains(rule) else {
            let names = Self.overridable.map(\.rawValue).joined(separator: ", ")
            throw UsageError("the rule \(rule.rawValue) can't be overridden; these can: \(names)")
        }
        self.rule = rule
        subject = parts[1]
    }

    /// The subject with or without the unit in parentheses.
    func covers(_ refusal: Refusal) -> Bool {
        refusal.rule == rule.rawValue
            && (refusal.subject == subject || refusal.subject.hasPrefix(subject + " ("))
    }
}
