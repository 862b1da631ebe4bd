/// A list of patterns as OpenSSH has them: `*` and `?`, separated by commas, with `!` before one that must not match.
struct PatternList: Hashable, Sendable {
    let patterns: [String]

    /// - Throws: for a list with an empty pattern.
    init(_ text: String) throws(Malformed) {
        patterns = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard patterns.allSatisfy({ !$0.isEmpty && $0 != "!" }) else {
            throw Malformed("a list of names has an empty one")
        }
        guard patterns.contains(where: { !$0.hasPrefix("!") }) else {
            throw Malformed("a list of names has only such as must not match")
        }
    }

    /// A pattern that must not match outweighs all others.
    func matches(_ name: String) -> Bool {
        var found = false
        for pattern in patterns {
            if pattern.hasPrefix("!") {
                if Self.glob(Array(pattern.utf8.dropFirst()), Array(name.utf8)) { return false }
            } else {
                found = found || Self.glob(Array(pattern.utf8), Array(name.utf8))
            }
        }
        return found
    }

    /// The names that are written out, and not excluded.
    var names: [String] { patterns.filter { Self.isName($0) && matches($0) } }

    /// Whether it has no pattern that could be several names.
    static func isName(_ text: String) -> Bool { !text.contains { "*?!,".contains($0) } }

    /// In time proportional to the product of the lengths: only the last `*` is ever tried again.
    private static func glob(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var (place, at) = (0, 0)
        var star: (place: Int, at: Int)?
        while at < name.count {
            if place < pattern.count, pattern[place] == UInt8(ascii: "*") {
                star = (place, at)
                place += 1
            } else if place < pattern.count, pattern[place] == UInt8(ascii: "?") || pattern[place] == name[at] {
                (place, at) = (place + 1, at + 1)
            } else if let last = star {
                star = (last.place, last.at + 1)
                (place, at) = (last.place + 1, last.at + 1)
            } else {
                return false
            }
        }
        return pattern[place...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
