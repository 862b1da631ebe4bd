import Toolchain

/// What one version of a package changed, by its changelog.
struct ChangelogEntry: Sendable, Hashable {
    var version: String
    /// Its items, each with the lines that belong to it.
    var items: [String]

    var text: String { items.joined(separator: "\n") }
}

/// The entries of `debian/changelog`, the newest first.
func changelogEntries(_ text: String) -> [ChangelogEntry] {
    var entries: [ChangelogEntry] = []
    for line in text.split(whereSeparator: \.isNewline) {
        if let version = headingVersion(line) {
            entries.append(ChangelogEntry(version: version, items: []))
        } else if let last = entries.indices.last, !line.hasPrefix(" -- ") {
            if line.hasPrefix("  * ") || line.hasPrefix("  [") || entries[last].items.isEmpty {
                entries[last].items.append(String(line))
            } else {
                entries[last].items[entries[last].items.count - 1] += "\n" + line
            }
        }
    }
    return entries
}

/// `redis (5:7.0.15-1) bookworm; urgency=high`
private func headingVersion(_ line: Substring) -> String? {
    guard let first = line.first, first != " ", line.contains(";"), let open = line.firstIndex(of: "("),
        let close = line[open...].firstIndex(of: ")")
    else { return nil }
    return String(line[line.index(after: open)..<close])
}

/// The entries that are newer than a version; none where it is not among them.
func entries(_ all: [ChangelogEntry], after version: String) -> [ChangelogEntry] {
    guard let place = all.firstIndex(where: { $0.version == version }) else { return [] }
    return Array(all[..<place])
}

/// The CVEs that a text names, each once, in capitals and sorted.
func vulnerabilities(in text: String) -> [String] {
    let words = text.uppercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) && $0 != "-" }
    var found: Set<String> = []
    for word in words {
        let parts = word.split(separator: "-")
        for (index, part) in parts.enumerated() where part.hasSuffix("CVE") && index + 2 < parts.count {
            let (year, number) = (parts[index + 1], parts[index + 2].prefix { $0.isNumber })
            if year.count == 4, year.allSatisfy(\.isNumber), number.count >= 4 { found.insert("CVE-\(year)-\(number)") }
        }
    }
    return found.sorted()
}

/// The CVEs that a fix is for: what its file's name and the text above it (DEP-3) say; where they say nothing, what items of
/// the changelog say that name its file. (An item may name several fixes.)
func vulnerabilities(ofFix name: String, text: String, changelog: [ChangelogEntry]) -> [String] {
    let own = vulnerabilities(in: name + "\n" + diffParts(text).header)
    guard own.isEmpty else { return own }
    let file = baseName(name)
    let items = changelog.flatMap(\.items).filter { names($0, file: file) }
    return vulnerabilities(in: items.joined(separator: "\n"))
}

/// The item names the file, as a whole word.
private func names(_ item: String, file: String) -> Bool {
    let words = item.split { " \t\n,;:()'\"`".contains($0) }
    return words.contains { word in
        let last = word.split(separator: "/").last ?? word
        return last == file || last == file + "." || (file.hasSuffix(".patch") && last == file.dropLast(6))
    }
}

/// What stands above the first file of a diff, and the rest of its lines.
func diffParts(_ text: String) -> (header: String, body: ArraySlice<Substring>) {
    let lines = text.split(whereSeparator: \.isNewline)
    let start =
        lines.firstIndex { line in ["--- ", "diff ", "Index: "].contains(where: line.hasPrefix) } ?? lines.endIndex
    return (lines[..<start].joined(separator: "\n"), lines[start...])
}
