/// A file in OpenSSH's allowed_signers format: who may sign, with which keys or authorities, for what, and when.
///
/// What `ssh-keygen` would pass over (keys of other types, unknown options) is refused here: a file that grants trust is
/// understood whole or not at all.
public struct AllowedSigners: Sendable {
    struct Entry: Sendable {
        var line: Int
        var principals: PatternList
        var key: PublicKey
        var isAuthority = false
        var namespaces: PatternList?
        /// Seconds since 1970; both ends belong to the time in which the key is valid.
        var validAfter: Int64?
        var validBefore: Int64?
    }

    let entries: [Entry]
    /// What it was read from.
    public let name: String

    /// - Throws: `Refusal` of rule untrusted-configuration that names the line.
    public init(_ bytes: [UInt8], name: String) throws {
        let file = try ConfigurationLines(bytes, name: name)
        var entries: [Entry] = []
        try file.eachLine { line throws(Malformed) in entries.append(try Self.entry(line)) }
        self.entries = entries
        self.name = name
    }

    /// `principals [options] keytype base64 [comment]`
    private static func entry(_ line: ConfigurationLines.Line) throws(Malformed) -> Entry {
        var words = Words(line.text)
        guard let principals = try words.next(), let second = try words.next() else {
            throw Malformed("a line has principals, options, a key type and a key")
        }
        let isKeyType = isKeyType(second)
        guard let type = isKeyType ? second : try words.next(), let text = try words.next() else {
            throw Malformed("the key is missing")
        }
        var entry = Entry(
            line: line.number, principals: try PatternList(try unquoted(principals)), key: try key(type, text))
        if !isKeyType { try apply(options: second, to: &entry) }
        if let after = entry.validAfter, let before = entry.validBefore, after > before {
            throw Malformed("the key is never valid: valid-before is earlier than valid-after")
        }
        return entry
    }

    private static func isKeyType(_ word: String) -> Bool {
        ["ssh-", "ecdsa-", "sk-", "webauthn-"].contains { word.hasPrefix($0) } && !word.contains("=")
    }

    /// A key as two words: its type, and its blob in base64.
    static func key(_ type: String, _ text: String) throws(Malformed) -> PublicKey {
        if Certificate.kind(ofType: type) != nil {
            throw Malformed("it has a certificate: list its authority's key with cert-authority")
        }
        guard PublicKey.Kind(rawValue: type) != nil else { throw Malformed("keys of type \(type) are not supported") }
        guard let blob = Base64.decode(text.utf8) else { throw Malformed("the key is not valid base64") }
        let key = try PublicKey(blob: blob)
        guard key.kind.rawValue == type else { throw Malformed("the key is not of the type that stands before it") }
        return key
    }

    /// `"alice, bob"` without its quotation marks.
    private static func unquoted(_ word: String) throws(Malformed) -> String {
        guard word.contains("\"") else { return word }
        guard word.count >= 2, word.hasPrefix("\""), word.hasSuffix("\""), !word.dropFirst().dropLast().contains("\"")
        else { throw Malformed("quotation marks stand around the whole of a word") }
        return String(word.dropFirst().dropLast())
    }

    // MARK: Options

    private static func apply(options text: String, to entry: inout Entry) throws(Malformed) {
        for option in try separated(text) {
            let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            switch (parts[0].lowercased(), parts.count) {
            case ("cert-authority", 1):
                guard !entry.isAuthority else { throw Malformed("cert-authority stands twice") }
                entry.isAuthority = true
            case ("namespaces", 2):
                guard entry.namespaces == nil else { throw Malformed("namespaces stands twice") }
                entry.namespaces = try PatternList(try value(parts[1], of: "namespaces"))
            case ("valid-after", 2): try set(&entry.validAfter, parts[1], "valid-after")
            case ("valid-before", 2): try set(&entry.validBefore, parts[1], "valid-before")
            default: throw Malformed("\(option) is no key type, and no option that is known here")
            }
        }
    }

    private static func set(_ time: inout Int64?, _ text: String, _ name: String) throws(Malformed) {
        guard time == nil else { throw Malformed("\(name) stands twice") }
        guard let seconds = Times.seconds(compact: try value(text, of: name)) else {
            throw Malformed(
                "the time of \(name) is not of the form YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z or not")
        }
        time = seconds
    }

    private static func value(_ text: String, of name: String) throws(Malformed) -> String {
        guard text.hasPrefix("\"") else { throw Malformed("the value of \(name) stands in quotation marks") }
        return try unquoted(text)
    }

    /// Options are separated by commas outside of quotation marks.
    private static func separated(_ text: String) throws(Malformed) -> [String] {
        var options = [""]
        var isQuoted = false
        for character in text {
            if character == "\"" { isQuoted.toggle() }
            if character == ",", !isQuoted { options.append("") } else { options[options.count - 1].append(character) }
        }
        guard !options.contains("") else { throw Malformed("an option is empty") }
        return options
    }
}
