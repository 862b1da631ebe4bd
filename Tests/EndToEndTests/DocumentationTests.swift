import Diagnostics
import TestSupport
import Testing

/// The pages a reader relies on say what the code does.
@Suite struct DocumentationTests {
    @Test func readmeListsEveryRule() {
        let readme = readText(packageRoot + "/README.md")
        let missing = Rule.allCases.map(\.rawValue).filter { !readme.contains("`\($0)`") }
        #expect(missing == [])
    }

    @Test func readmeListsNoOtherRule() {
        let known = Set(Rule.allCases.map(\.rawValue))
        for line in readText(packageRoot + "/README.md").split(separator: "\n") where line.hasPrefix("| `") {
            let names = line.split(separator: "|")[0].split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }
            for (_, name) in names { #expect(known.contains(String(name)), "no such rule") }
        }
    }
}
