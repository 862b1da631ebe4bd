import Diagnostics

/// `--allow RULE=SUBJECT`: an engineer's decision that a rule does not apply to a subject.
package struct AllowedRule: Sendable, Hashable {
    package var rule: Rule
    package var subject: String

    /// - Throws: `UsageError` for an unknown rule, or one that can't be overridden.
    package init(_ argument: String) throws {
        let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, let rule = Rule(rawValue: parts[0]) else {
            throw UsageError(
                "--allow takes RULE=SUBJECT, with a rule and a subject as a refusal prints them: \(argument)")
        }
        guard rule.isDecidable else {
            let names = Rule.allCases.filter(\.isDecidable).map(\.rawValue).joined(separator: ", ")
            throw UsageError("the rule \(rule.rawValue) can't be overridden; these can: \(names)")
        }
        self.rule = rule
        subject = parts[1]
    }

    /// Whether it decides what a rule found; the subject with or without the unit in parentheses.
    func covers(_ rule: String, _ found: String) -> Bool {
        rule == self.rule.rawValue && (found == subject || found.hasPrefix(subject + " ("))
    }
}
