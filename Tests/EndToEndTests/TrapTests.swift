import TestSupport
import Testing

/// Documentation/traps.md is true: each trap that the sources mention has a row, and each row names tests that exist.
@Suite struct TrapTests {
    private struct Row {
        var trap: String
        var tests: String
        /// What stands in code style: a file of tests, or one test of a file.
        var names: [String] {
            tests.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 && !$0.element.hasPrefix("-") }.map { String($0.element) }
        }
        var isOpen: Bool { tests.hasPrefix("open") }
    }

    private let rows: [Row] = readText(packageRoot + "/Documentation/traps.md").split(separator: "\n").compactMap {
        let cells = $0.split(separator: "|").map { cell in
            String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        guard $0.hasPrefix("| "), cells.count == 4, cells[0] != "trap" else { return nil }
        return Row(trap: cells[0], tests: cells[3])
    }

    @Test func everyTrapThatIsMentionedHasARow() throws {
        let known = Set(rows.map(\.trap))
        #expect(known.count > 60 && known.count == rows.count, "a row is missing or stands twice")
        let mentioned = try mentionedTraps()
        #expect(mentioned.count > 30)
        #expect(mentioned.subtracting(known).sorted() == [])
    }

    @Test func everyRowNamesTestsThatExist() throws {
        let tests = try NamedTests.all()
        var missing: [String] = []
        for row in rows {
            if row.names.isEmpty, !row.isOpen { missing.append(row.trap) }
            for name in row.names where !tests.contains(name, trap: row.trap) {
                missing.append("\(row.trap): \(name)")
            }
        }
        #expect(missing == [])
    }

    /// `trap NAME` and `traps NAME, NAME` in comments, messages and names of tests. A name of one word counts only where
    /// the mention ends with it: `trap flag` is the processor's.
    private func mentionedTraps() throws -> Set<String> {
        let pattern = "[Tt]raps? [a-z][a-z-]*((,| and) [a-z][a-z-]*)*.?"
        let found = try run(
            "grep", ["-rhoE", "--include=*.swift", pattern, packageRoot + "/Sources", packageRoot + "/Tests"])
        var names: Set<String> = []
        for mention in found.stdout.split(separator: "\n") {
            let words = mention.split { " ,".contains($0) }.dropFirst()
            for word in words {
                let name = word.prefix { $0.isLowercase || $0 == "-" }
                let ends = name.endIndex < word.endIndex && ".:;)".contains(word[name.endIndex])
                if name.contains("-") || ends { names.insert(String(name)) }
            }
        }
        return names
    }
}

/// Names of test functions and titles of tests, by file.
private struct NamedTests {
    private var functions: [String: Set<String>] = [:]
    private var titles: [String: Set<String>] = [:]

    static func all() throws -> NamedTests {
        var tests = NamedTests()
        let found = try run(
            "grep", ["-rE", "--include=*.swift", "-A1", "func |@Test|@Suite", packageRoot + "/Tests"])
        for line in found.stdout.split(separator: "\n") { tests.add(line) }
        return tests
    }

    /// A line of grep: the path, `:` or `-`, the text.
    private mutating func add(_ line: Substring) {
        guard let end = line.firstRange(of: ".swift")?.upperBound else { return }
        let file = String(line[..<end].split(separator: "/").last?.dropLast(6) ?? "")
        let text = line[end...].dropFirst()
        if let start = text.firstRange(of: "func ")?.upperBound {
            let rest = text[start...]
            if rest.hasPrefix("`") {
                titles[file, default: []].insert(String(rest.dropFirst().prefix { $0 != "`" }))
            } else {
                functions[file, default: []].insert(String(rest.prefix { $0 != "(" && $0 != "<" }))
            }
        }
        let quoted = text.split(separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
        let before = quoted[0].filter { $0 != " " }
        if quoted.count == 3, before.isEmpty || before.hasSuffix("@Test(") || before.hasSuffix("@Suite(") {
            titles[file, default: []].insert(String(quoted[1]))
        }
    }

    /// `File` has tests that bear the trap's name; `File.test` is a function, or the beginning of a title.
    func contains(_ name: String, trap: String) -> Bool {
        let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
        guard let file = parts.first else { return false }
        let titles = titles[file] ?? []
        guard parts.count == 2 else { return titles.contains { Self.bears(trap, $0) } }
        return functions[file]?.contains(parts[1]) == true || titles.contains { $0.hasPrefix(parts[1]) }
    }

    /// `trap NAME: …`, `NAME: …` or `NAME, OTHER: …`.
    private static func bears(_ trap: String, _ title: String) -> Bool {
        guard let colon = title.firstIndex(of: ":") else { return false }
        let head = title[..<colon]
        return (head.hasPrefix("trap ") ? head.dropFirst(5) : head).split(separator: ",")
            .contains { $0.drop { $0 == " " } == trap }
    }
}
