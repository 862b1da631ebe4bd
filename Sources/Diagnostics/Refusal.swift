/// A patch, or an operation on a process, that is declined because it could be wrong.
///
/// Printed as text for people and, with `--json`, as an element of `{"refused": [...]}`.
public struct Refusal: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The rule's name in the catalogue, for example `type-layout`.
    public var rule: String
    /// What the rule was broken by: a function, a variable, a file, a process.
    public var subject: String
    /// Why going on could be wrong, in one or two sentences.
    public var why: String
    /// What the reader can do about it.
    public var remedy: String

    /// - Parameter isFinal: no decision helps, though the rule can be decided elsewhere.
    public init(_ rule: Rule, subject: String, why: String, remedy: String? = nil, isFinal: Bool = false) {
        self.rule = rule.rawValue
        self.subject = subject
        self.why = why
        let remedy = remedy ?? rule.remedy
        self.remedy =
            rule.isDecidable && !isFinal ? remedy + ", or record a decision: \(Self.option(rule, subject))" : remedy
    }

    /// As a shell takes it, ready to be pasted.
    private static func option(_ rule: Rule, _ subject: String) -> String {
        let quoted = subject.map { $0 == "'" ? "'\\''" : String($0) }.joined()
        return "--allow '\(rule.rawValue)=\(quoted)'"
    }

    public var description: String {
        "refused [\(rule)] \(onOneLine(subject))\n  why:    \(indented(why))\n  remedy: \(indented(remedy))"
    }
}

/// One or more refusals found together: a pass collects all it finds before it stops.
public struct Refusals: Error, Sendable, CustomStringConvertible {
    public var refusals: [Refusal]

    public init(_ refusals: [Refusal]) { self.refusals = refusals }
    public init(_ rule: Rule, subject: String, why: String, remedy: String? = nil) {
        refusals = [Refusal(rule, subject: subject, why: why, remedy: remedy)]
    }

    public var description: String { refusals.map(\.description).joined(separator: "\n") }
}

/// The process is in a state in which the operation can't be done now; nothing changed, trying again may succeed.
public struct Busy: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// The machine or the process failed midway; `livepatch status` says what is left.
public struct Failure: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// The arguments don't make sense together.
public struct UsageError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Exit status of both tools: a contract with scripts.
public enum ExitStatus: Int32, Sendable {
    case done = 0
    /// Refused, nothing changed.
    case refused = 1
    /// Bad usage.
    case usage = 2
    /// Busy, nothing changed, try again.
    case busy = 3
    /// The process or the machine failed midway.
    case failed = 4

    /// The status that an error thrown by a command stands for.
    public init(for error: any Error) {
        switch error {
        case is Refusal, is Refusals: self = .refused
        case is UsageError: self = .usage
        case is Busy: self = .busy
        default: self = .failed
        }
    }
}
