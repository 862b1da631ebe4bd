import PatchFormat
import Reviewing

/// Data that travels, constants that change, and values that are written.
struct DataView {
    let facts: ReportFacts

    var view: HTML {
        let parts = facts.manifest.targets.enumerated().map { index, target -> HTML in
            let data = facts.review?.targets[index].data
            let body = (data.map(described) ?? listed(target.data)) + values(target.values)
            guard !body.text.isEmpty else { return "" }
            let name: HTML = facts.manifest.targets.count > 1 ? "<h3><code>\(target.file)</code></h3>" : ""
            return name + body
        }.joined()
        let body: HTML = parts.text.isEmpty ? "<p class=quiet>No data changes, and none travels.</p>" : parts
        return "<section id=data><h2>Data and constants</h2>\(body)</section>\n"
    }

    private func described(_ data: [ReviewDatum]) -> HTML {
        let named = data.filter { $0.change != .unnamed }
        let unnamed = data.filter { $0.change == .unnamed }
        var body: HTML = named.map(datum).joined()
        if !unnamed.isEmpty {
            let bytes = unnamed.reduce(0) { $0 &+ $1.size }
            body += """
                <p class=quiet>\(counted(unnamed.count, "section")) of literals and tables that the code reads, \
                \(grouped(bytes)) bytes: copies, shown where they are used.</p>
                """
        }
        return body
    }

    private func datum(_ datum: ReviewDatum) -> HTML {
        let tag: HTML =
            datum.change == .new
            ? "<span class=\"tag new\">new</span>" : "<span class=\"tag changed\">changed constant</span>"
        let kind = datum.writable ? "writable, starts with the value below" : "read-only"
        var body: HTML = """
            <article class=datum><h3>\(HTML.symbol(datum.name)) \(tag)</h3><p class=quiet>\(counted(datum.size, "byte")), \
            \(kind), <code>\(datum.object)</code></p>
            """
        if datum.change == .changed {
            body += """
                <div class=pair><pre>\(dump(datum.original, datum.originalSize ?? datum.size, other: datum.new))</pre>\
                <pre>\(dump(datum.new, datum.size, other: datum.original, added: true))</pre></div>
                """
        } else {
            body += "<div class=\"pair one\"><pre>\(dump(datum.new, datum.size, other: nil))</pre></div>"
        }
        if !datum.pointers.isEmpty {
            body +=
                "<p class=quiet>Holds the addresses of: \(datum.pointers.map { "<code>\(readable($0))</code>" as HTML }.joined(", ")).</p>"
        }
        return body + "</article>"
    }

    /// Sixteen bytes a line, those that differ from the other side's marked.
    private func dump(_ hex: String?, _ size: Int, other: String?, added: Bool = false) -> HTML {
        guard let hex else { return " zeros\n" }
        let rows = lines(hex)
        let others = other.map(lines)
        var markup: HTML = ""
        for (index, row) in rows.enumerated() {
            let place = String(index * 16, radix: 16)
            let text = String(repeating: " ", count: max(1, 5 - place.count)) + place + "  " + row
            let differs = others.map { $0.dropFirst(index).first != row } ?? false
            if !differs {
                markup += " \(text)\n"
            } else if added {
                markup += "<ins>+\(text)</ins>"
            } else {
                markup += "<del>−\(text)</del>"
            }
        }
        if size * 2 > hex.utf8.count { markup += "  … \(grouped(size - hex.utf8.count / 2)) bytes more\n" }
        return markup
    }

    private func lines(_ hex: String) -> [String] {
        let digits = Array(hex)
        return stride(from: 0, to: digits.count, by: 32).map { start in
            let row = digits[start..<min(digits.count, start + 32)]
            let pairs = stride(from: row.startIndex, to: row.endIndex, by: 2).map {
                String(row[$0..<min(row.endIndex, $0 + 2)])
            }
            let letters = pairs.map { pair -> Character in
                guard let byte = UInt8(pair, radix: 16), byte >= 0x20, byte < 0x7f else { return "." }
                return Character(Unicode.Scalar(byte))
            }
            return pairs.joined(separator: " ") + String(repeating: "   ", count: 16 - pairs.count) + "  "
                + String(letters)
        }
    }

    /// A bundle without review data has names and sizes only.
    private func listed(_ data: [DataItem]) -> HTML {
        guard !data.isEmpty else { return "" }
        let rows = data.map {
            "<tr><td>\(HTML.symbol($0.name))</td><td class=n>\(grouped(Int(clamping: $0.size)))</td><td>\($0.writable ? "writable" : "read-only")</td><td><code>\($0.object)</code></td></tr>"
                as HTML
        }.joined()
        return """
            <div class=scroll><table><thead><tr><th>Name</th><th class=n>bytes</th><th>kind</th><th>object</th></tr></thead>\
            <tbody>\(rows)</tbody></table></div>
            """
    }

    private func values(_ values: [ValuePatch]) -> HTML {
        guard !values.isEmpty else { return "" }
        let rows = values.map {
            "<tr><td>\(HTML.symbol($0.name))</td><td><code>\(hexadecimal($0.address))</code></td><td><del>\($0.original)</del></td><td><ins>\($0.new)</ins></td></tr>"
                as HTML
        }.joined()
        return """
            <h3>Values that are written</h3><p class=quiet>At the switch, wherever memory still holds the original; taken back \
            wherever it holds the new one.</p><div class=scroll><table><thead><tr><th>Variable</th><th>address</th>\
            <th>original</th><th>new</th></tr></thead><tbody>\(rows)</tbody></table></div>
            """
    }
}
