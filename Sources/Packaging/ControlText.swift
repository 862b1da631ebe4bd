/// A stanza of a control file, as dpkg and apt write them (deb822): fields, each of a name and lines.
struct Stanza: Sendable, Hashable {
    struct Field: Sendable, Hashable {
        var name: String
        /// Without the blanks behind the colon; further lines as they stand, each behind a line feed.
        var value: String
    }

    var fields: [Field] = []

    /// The value of the field of that name, in whatever case; nil where there is none.
    subscript(name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    var text: String { fields.map { "\($0.name): \($0.value)\n" }.joined() }

    mutating func set(_ name: String, _ value: String) {
        guard let index = fields.firstIndex(where: { $0.name.lowercased() == name.lowercased() }) else { return }
        fields[index].value = value
    }
}

/// The stanzas of a control file. Comments are left out, and lines that belong to no field.
func stanzas(of text: String) -> [Stanza] {
    var result: [Stanza] = []
    var stanza = Stanza()
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
        if line.hasPrefix("#") { continue }
        if line.allSatisfy({ $0 == " " || $0 == "\t" || $0 == "\r" }) {
            if !stanza.fields.isEmpty { result.append(stanza) }
            stanza = Stanza()
        } else if line.first == " " || line.first == "\t" {
            if let last = stanza.fields.indices.last { stanza.fields[last].value += "\n" + line }
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...]
            stanza.fields.append(Stanza.Field(name: String(line[..<colon]), value: trimmed(value)))
        }
    }
    return stanza.fields.isEmpty ? result : result + [stanza]
}

/// Without blanks at both ends.
func trimmed(_ text: some StringProtocol) -> String {
    let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\n" }
    guard let first = text.firstIndex(where: { !isBlank($0) }), let last = text.lastIndex(where: { !isBlank($0) })
    else { return "" }
    return String(text[first...last])
}
