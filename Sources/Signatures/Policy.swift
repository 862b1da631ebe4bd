import Diagnostics

/// Who must have signed, and what may be said on a command line: a few lines of a word and its value.
public struct Policy: Sendable, Hashable {
    /// So many distinct principals of a group; without a group, of all.
    public struct Requirement: Sendable, Hashable {
        public var count: Int
        public var group: String?
        var line: Int
    }

    public internal(set) var requirements: [Requirement] = []
    public internal(set) var groups: [String: Set<String>] = [:]
    public internal(set) var allowsUnsigned: Bool
    public internal(set) var allowsRollback: Bool
    /// In seconds.
    public internal(set) var longestAge: Int64?
    /// The file it was read from; nil without one.
    public internal(set) var name: String?

    /// One principal must have signed, unless `--allow-unsigned` is said.
    public static let none = Policy(allowsUnsigned: true, allowsRollback: true)

    /// The group of all principals.
    static let everybody = "any"
    static let maximumCount = 64

    private init(allowsUnsigned: Bool, allowsRollback: Bool) {
        (self.allowsUnsigned, self.allowsRollback) = (allowsUnsigned, allowsRollback)
        requirements = [Requirement(count: 1, group: nil, line: 0)]
    }

    /// What the file does not permit is forbidden.
    /// - Throws: `Refusal` of rule untrusted-configuration that names the line.
    public init(_ bytes: [UInt8], name: String) throws {
        self.init(allowsUnsigned: false, allowsRollback: false)
        self.name = name
        requirements = []
        let file = try ConfigurationLines(bytes, name: name)
        var seen: Set<String> = []
        try file.eachLine { line throws(Malformed) in try read(line, &seen) }
        if requirements.isEmpty { requirements = [Requirement(count: 1, group: nil, line: 0)] }
        // Groups may be written behind the lines that ask for them.
        for requirement in requirements {
            guard let group = requirement.group else { continue }
            guard let members = groups[group] else {
                throw file.refusal(requirement.line, "there is no line `group \(group) NAME,…`")
            }
            guard members.count >= requirement.count else {
                throw file.refusal(requirement.line, "the group \(group) has only \(members.count) members")
            }
        }
    }

    private mutating func read(_ line: ConfigurationLines.Line, _ seen: inout Set<String>) throws(Malformed) {
        var parts = line.text.split { $0 == " " || $0 == "\t" }.map(String.init)
        if let comment = parts.firstIndex(where: { $0.hasPrefix("#") }) { parts.removeSubrange(comment...) }
        guard let word = parts.first else { return }
        let count = ["require": 3, "group": 3, "allow-unsigned": 2, "allow-rollback": 2, "longest-age": 2][word]
        guard let count else { throw Malformed("\(word) is no word that is known here") }
        guard parts.count == count else { throw Malformed("\(word) has \(count - 1) values behind it") }
        let name = count == 3 ? "\(word) \(word == "group" ? parts[1] : parts[2])" : word
        guard seen.insert(name).inserted else { throw Malformed("\(name) stands twice") }
        switch word {
        case "require": try addRequirement(parts[1], parts[2], line.number)
        case "group": try addGroup(parts[1], parts[2])
        case "allow-unsigned": allowsUnsigned = try Self.yes(parts[1])
        case "allow-rollback": allowsRollback = try Self.yes(parts[1])
        default: longestAge = try Self.age(parts[1])
        }
    }

    private mutating func addRequirement(_ count: String, _ group: String, _ line: Int) throws(Malformed) {
        guard let count = Self.number(count), (1...Int64(Self.maximumCount)).contains(count) else {
            throw Malformed("require has a number from 1 to \(Self.maximumCount), and a group")
        }
        requirements.append(
            Requirement(count: Int(count), group: group == Self.everybody ? nil : group, line: line))
    }

    private mutating func addGroup(_ name: String, _ list: String) throws(Malformed) {
        guard name != Self.everybody else { throw Malformed("the group any is that of all principals") }
        let members = list.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard members.allSatisfy({ !$0.isEmpty && PatternList.isName($0) }) else {
            throw Malformed("a group has names, separated by commas, and no patterns")
        }
        guard Set(members).count == members.count else { throw Malformed("a name stands twice in the group") }
        groups[name] = Set(members)
    }

    private static func yes(_ text: String) throws(Malformed) -> Bool {
        guard text == "yes" || text == "no" else { throw Malformed("the value is yes or no") }
        return text == "yes"
    }

    /// `90d`, `12h` or `8w`.
    private static func age(_ text: String) throws(Malformed) -> Int64 {
        let unit: Int64? = text.last.flatMap { ["h": 3600, "d": 86_400, "w": 604_800][$0] }
        guard let unit, let number = number(String(text.dropLast())), (1...100_000).contains(number) else {
            throw Malformed("an age is a number and h, d or w: 90d")
        }
        return number * unit
    }

    /// Of up to nine digits.
    private static func number(_ text: String) -> Int64? {
        guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }
}
