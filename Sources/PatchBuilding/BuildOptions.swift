import Diagnostics
import PatchFormat

/// What `patchbuild build` is asked for.
public struct BuildOptions: Sendable {
    public enum Input: Sendable {
        /// A source tree and what changes in it: diffs, or a second tree.
        case diffs(source: String, compileCommands: String?, diffs: [String])
        case newSource(source: String, compileCommands: String?, newSource: String)
        /// Objects that were compiled already, pair by pair.
        case objects([ObjectPair])

        var isSource: Bool { if case .objects = self { false } else { true } }
    }

    public struct ObjectPair: Sendable {
        public var original: String
        public var new: String
        public init(original: String, new: String) {
            self.original = original
            self.new = new
        }
    }

    public struct Target: Sendable {
        public var path: String
        public var symbols: String?
        public init(path: String, symbols: String?) {
            self.path = path
            self.symbols = symbols
        }
    }

    public var input: Input
    public var targets: [Target]
    public var output: String
    public var id: String?
    public var cves: [String] = []
    /// Paths of bundles.
    public var requires: [String] = []
    public var supersedes: [String] = []
    /// `RULE=SUBJECT` decisions.
    public var allowed: [AllowedRule] = []
    /// A command that each compile command is given to.
    public var launcher: [String] = []
    /// RFC 3339; from `SOURCE_DATE_EPOCH`.
    public var created: String?
    /// RFC 3339: livepatch does not apply the bundle any more after it.
    public var expires: String?
    /// A bundle with a lower one than was applied on a host is refused there.
    public var sequence = 0

    public init(input: Input, targets: [Target], output: String) {
        self.input = input
        self.targets = targets
        self.output = output
    }
}

extension BuildOptions {
    /// The id given, else the output file's name without its ending.
    var bundleID: String {
        if let id { return id }
        let name = output.split(separator: "/").last.map(String.init) ?? output
        return name.hasSuffix(".lpatch") ? String(name.dropLast(7)) : name
    }
}

/// `--allow RULE=SUBJECT`: an engineer's decision that a rule does not apply to a subject.
public struct AllowedRule: Sendable, Hashable {
    public var rule: Rule
    public var subject: String

    /// Rules whose judgement an engineer may know better; the others can't be overridden.
    public static let overridable: [Rule] = [
        .typeLayout, .dataInitialValue, .meaning, .lostState, .changedConstant, .vanishedFunction, .inlinedCopy,
        .constructors,
    ]

    /// - Throws: `UsageError` for an unknown rule, or one that can't be overridden.
    public init(_ argument: String) throws {
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
