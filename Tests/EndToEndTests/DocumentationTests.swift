import Diagnostics
import TestSupport
import Testing

/// The pages a reader relies on say what the code does.
@Suite struct DocumentationTests {
    /// Documentation/rules.md has a table for each group of the catalogue, in the catalogue's words. Where it has not, the tables
    /// as they should be are left in a file.
    @Test func thePageOfRulesIsTheCatalogue() throws {
        let tables = RuleGroup.all.map { "## \($0.title)\n\n" + table($0).joined(separator: "\n") }
        let page = readText(packageRoot + "/Documentation/rules.md")
        let missing = tables.filter { !page.contains($0 + "\n") }
        if !missing.isEmpty {
            let expected = temporaryDirectory + "/rules-expected.md"
            try writeText(tables.joined(separator: "\n\n") + "\n", to: expected)
            Issue.record("\(missing.count) tables of rules.md are not the catalogue's; see \(expected)")
        }
        let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `") }
        #expect(rows.count == Rule.allCases.count)
    }

    private func table(_ group: RuleGroup) -> [String] {
        let decides = group.rules.contains { $0.isDecidable }
        let heads = ["rule", "what is refused, and why", "remedy"] + (decides ? ["what a decision asserts"] : [])
        let rows = group.rules.map { rule in
            let decision = decides ? [rule.explanation.decision ?? "can't be decided"] : []
            return ["`\(rule.rawValue)`", rule.explanation.meaning, rule.remedy] + decision
        }
        return ([heads, heads.map { _ in "---" }] + rows).map { cells in
            "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
        }
    }

    /// README names the rules that a reader should know of; each exists.
    @Test func readmeNamesNoOtherRule() {
        let section = readText(packageRoot + "/README.md").components(behind: "## What is refused")
        let names = section.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        let known = Set(Rule.allCases.map(\.rawValue))
        let rules = names.filter { $0.allSatisfy { $0.isLowercase || $0 == "-" } && $0 != "livepatch" }
        #expect(rules.count > 3 && rules.allSatisfy(known.contains), "\(rules)")
    }

    @Test func readmeIsReadInFiveMinutes() {
        let lines = readText(packageRoot + "/README.md").split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count <= 130)
    }

    /// Links between the pages lead to files and headings that exist.
    @Test func linksLeadSomewhere() throws {
        let pages = try run("find", [packageRoot + "/Documentation", "-name", "*.md"]).stdout.split(separator: "\n")
        #expect(pages.count >= 8)
        var broken: [String] = []
        for page in pages.map(String.init) + [packageRoot + "/README.md"] {
            let directory = page.split(separator: "/").dropLast().joined(separator: "/")
            for link in links(of: readText(page)) where !link.contains("://") {
                let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                let file = parts[0].isEmpty ? page : "/" + directory + "/" + parts[0]
                let isThere = fileExists(file)
                let anchor = parts.count == 2 ? parts[1] : nil
                if !isThere || anchor.map({ !anchors(of: readText(file)).contains($0) }) == true {
                    broken.append("\(page.split(separator: "/").last ?? ""): \(link)")
                }
            }
        }
        #expect(broken == [])
    }

    /// What follows `](` up to `)`.
    private func links(of text: String) -> [String] {
        text.split(separator: "](").dropFirst().map { String($0.prefix { $0 != ")" }) }
    }

    /// Headings as links name them.
    private func anchors(of text: String) -> [String] {
        text.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
            let title = line.drop { $0 == "#" }.dropFirst().lowercased()
            return title.filter { $0.isLetter || $0.isNumber || $0 == "-" || $0 == " " }.map {
                $0 == " " ? "-" : "\($0)"
            }
            .joined()
        }
    }

    /// Paths and names of files that the pages give exist; `Guard….swift` stands for several.
    @Test func filesThatThePagesNameExist() throws {
        let folders = ["Sources/", "Tests/", "Examples/", "Templates/", "Documentation/"]
        let names = Set(
            try run("find", ["Sources", "Tests", "-name", "*.swift"], in: packageRoot).stdout.split(separator: "\n")
                .compactMap { $0.split(separator: "/").last.map(String.init) })
        var missing: [String] = []
        for page in ["README.md", "architecture.md", "how-to-add.md", "style.md", "builds.md", "installing.md"] {
            let path = page == "README.md" ? page : "Documentation/" + page
            for span in codeSpans(of: readText(packageRoot + "/" + path)) {
                let file = String(span.prefix { $0 != " " && $0 != "…" })
                if folders.contains(where: file.hasPrefix) {
                    let whole = span.contains("…") ? file.split(separator: "/").dropLast().joined(separator: "/") : file
                    if !fileExists(packageRoot + "/" + whole) { missing.append("\(page): \(span)") }
                } else if file.hasSuffix(".swift"), !names.contains(file), !fileExists(packageRoot + "/" + file) {
                    missing.append("\(page): \(span)")
                }
            }
        }
        #expect(missing == [])
    }

    private func codeSpans(of text: String) -> [String] {
        text.split(separator: "\n").filter { !$0.hasPrefix("    ") }.flatMap { line in
            line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
    }
}

/// Documentation/architecture.md and Package.swift tell of the same rooms.
@Suite struct RoomTests {
    private let page = readText(packageRoot + "/Documentation/architecture.md")

    /// A target of tests may be named by its room.
    @Test func everyTargetIsNamed() {
        let targets = Set(packageTargets().keys)
        #expect(targets.count > 20 && targets.isSuperset(of: ["PatchBuilding", "livepatch", "TestSupport"]))
        let words = Set(page.split { !($0.isLetter || $0.isNumber) }.map(String.init))
        let missing = targets.filter { target in
            let isTestOfRoom = target.hasSuffix("Tests") && targets.contains(String(target.dropLast(5)))
            return !words.contains(target) && !isTestOfRoom
        }
        #expect(missing.sorted() == [])
    }

    /// The table of rooms goes from bottom to top: none depends on one that stands below it there.
    @Test func theTableGoesFromBottomToTop() throws {
        let start = try #require(page.firstRange(of: "| room | its one job |")).upperBound
        let rows = page[start...].split(separator: "\n").drop { !$0.hasPrefix("| `") }.prefix { $0.hasPrefix("| `") }
        let rooms = rows.flatMap { row in
            (row.split(separator: "|").first ?? "").split(separator: "`").enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
        let targets = packageTargets()
        let listed = Set(rooms)
        #expect(targets.keys.filter { !$0.hasPrefix("Test") && !$0.hasSuffix("Tests") && !listed.contains($0) } == [])
        for (index, room) in rooms.enumerated() {
            let below = Set(rooms[..<index])
            let above = targets[room, default: []].filter { listed.contains($0) && !below.contains($0) }
            #expect(above == [], "\(room)")
        }
    }

    /// No file looks into a room that its own does not depend on. The manager of packages lets such an import pass where the
    /// room happens to be built already; with it, a circle of files could cross rooms.
    @Test func everyImportIsDeclared() throws {
        let targets = packageTargets()
        var undeclared: [String] = []
        for file in try run("find", [packageRoot + "/Sources", "-name", "*.swift"]).stdout.split(separator: "\n") {
            let path = file.dropFirst(packageRoot.count + "/Sources/".count)
            guard let room = path.split(separator: "/").first.map(String.init), let declared = targets[room] else {
                continue
            }
            let imports = readText(String(file)).split(separator: "\n").filter { $0.contains("import ") }
                .compactMap { line -> String? in
                    let words = line.split(separator: " ")
                    guard let place = words.firstIndex(of: "import"), place < words.count - 1,
                        words[..<place].allSatisfy({ $0.hasPrefix("@") || $0 == "public" || $0 == "package" })
                    else { return nil }
                    return String(words[place + 1])
                }
            for name in imports where targets[name] != nil && !declared.contains(name) {
                undeclared.append("\(path) imports \(name)")
            }
        }
        #expect(undeclared.sorted() == [])
    }

    /// Each target's name, and what else its call in Package.swift names.
    private func packageTargets() -> [String: [String]] {
        var manifest = readText(packageRoot + "/Package.swift").split(separator: "\n").map { $0.drop { $0 == " " } }
            .filter { !$0.hasPrefix("//") }.joined(separator: " ")
        for call in ["room(", "tests(", ".target(", ".executableTarget(", ".testTarget("] {
            manifest = manifest.replacing(call, with: "\u{1}")
        }
        var targets: [String: [String]] = [:]
        for call in manifest.split(separator: "\u{1}").dropFirst() {
            let first = call.drop { $0 == " " }
            guard first.hasPrefix("\"") || first.hasPrefix("name: \"") else { continue }
            let names = call.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
            if let name = names.first { targets[name] = Array(names.dropFirst()) }
        }
        return targets
    }
}

extension String {
    /// What stands behind a heading, up to the next of its kind.
    fileprivate func components(behind heading: String) -> Substring {
        guard let start = firstRange(of: heading)?.upperBound else { return "" }
        let rest = self[start...]
        return rest.firstRange(of: "\n## ").map { rest[..<$0.lowerBound] } ?? rest
    }
}
