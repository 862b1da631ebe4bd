/// The machine's package sources, with source packages enabled.
enum AptSources {
    /// The form of one line for each source: `deb [options] URI suite component…`.
    ///
    /// Comments and discs are left out. Options stand.
    static func withSourcePackages(lines text: String) -> String {
        var result: [String] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let entry = trimmed(line.prefix { $0 != "#" })
            guard let type = entry.split(whereSeparator: \.isWhitespace).first, !entry.contains("cdrom:"),
                type == "deb" || type == "deb-src"
            else { continue }
            let rest = entry.dropFirst(type.count)
            for kind in type == "deb" ? ["deb", "deb-src"] : ["deb-src"] where !result.contains(kind + rest) {
                result.append(kind + rest)
            }
        }
        return result.map { $0 + "\n" }.joined()
    }

    /// The form of a stanza for each source (deb822). What is disabled is left out, and every other field stands.
    static func withSourcePackages(stanzas text: String) -> String {
        let kept = stanzas(of: text).compactMap { stanza -> Stanza? in
            guard let types = stanza["Types"], stanza["URIs"] != nil, isEnabled(stanza),
                stanza["URIs"]?.contains("cdrom:") == false
            else { return nil }
            var stanza = stanza
            let words = types.split(whereSeparator: \.isWhitespace)
            stanza.set("Types", words.contains("deb") ? "deb deb-src" : "deb-src")
            return stanza
        }
        return kept.map(\.text).joined(separator: "\n")
    }

    /// Where a release is fetched from: the first address that the machine's package sources have for it.
    static func address(of release: String, in configuration: String) -> String? {
        let parts = names(in: configuration + "/sources.list.d").map { configuration + "/sources.list.d/" + $0 }
        let files =
            [configuration + "/sources.list"] + parts.filter { $0.hasSuffix(".list") || $0.hasSuffix(".sources") }
        return files.lazy.compactMap { file in
            text(ofFile: file).flatMap {
                file.hasSuffix(".sources") ? address(of: release, stanzas: $0) : address(of: release, lines: $0)
            }
        }.first
    }

    static func address(of release: String, stanzas text: String) -> String? {
        let ours = stanzas(of: withSourcePackages(stanzas: text)).first { stanza in
            (stanza["Suites"] ?? "").split(whereSeparator: \.isWhitespace).contains { $0 == release }
        }
        return ours?["URIs"]?.split(whereSeparator: \.isWhitespace).first.map(String.init)
    }

    static func address(of release: String, lines text: String) -> String? {
        for line in withSourcePackages(lines: text).split(separator: "\n") {
            let words = line.split(separator: " ").drop { !$0.contains("://") }
            if let address = words.first, words.dropFirst().first.map({ $0 == release }) == true {
                return String(address)
            }
        }
        return nil
    }

    /// The words by which apt says no.
    private static func isEnabled(_ stanza: Stanza) -> Bool {
        guard let value = stanza["Enabled"] else { return true }
        return !["no", "false", "without", "off", "disable", "0"].contains(value.lowercased())
    }
}
