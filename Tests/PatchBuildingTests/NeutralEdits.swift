import TestSupport

/// Edits of C and C++ text that a compiler must not notice: comments, blank lines, blanks, continued lines.
///
/// They go where blanks are already, so that no token is split; and where a line's number is looked at, no line is
/// broken in two.
struct NeutralEdits {
    private var random: SplitMix
    private let text: [UInt8]
    private let sensitive: [String]

    /// - Parameter sensitive: words on lines whose number is looked at.
    init(_ text: String, sensitive: [String], seed: UInt64) {
        self.text = Array(text.utf8)
        self.sensitive = sensitive
        random = SplitMix(state: seed)
    }

    /// What a blank of the text may become.
    private enum Place { case lineEnd, blank, breakable }

    /// The text with every `rate`th place edited.
    mutating func edited(rate: Int) -> String {
        let places = places()
        var result: [UInt8] = []
        for (index, byte) in text.enumerated() {
            guard let place = places[index], Int.random(in: 0..<rate, using: &random) == 0 else {
                result.append(byte)
                continue
            }
            result += Array(replacement(for: place).utf8)
        }
        return String(decoding: result, as: UTF8.self)
    }

    private mutating func replacement(for place: Place) -> String {
        let notes = [
            "\n", "\n\n\n", "\n\t \n", "\n/* a note */\n", "\n// it's \"said\"\n", "\n/* two\n * lines # */\n",
            " // why\n", "\t/* so */\n", "\n//\\\n more\n", "\n/* #if 0 */\n",
        ]
        let blanks = ["  ", "\t", " /**/ ", " /* it's */ ", "\t/* \" */\t"]
        switch place {
        case .lineEnd: return notes.randomElement(using: &random)!
        case .blank: return blanks.randomElement(using: &random)!
        case .breakable: return (blanks + [" \\\n ", "\\\n\t"]).randomElement(using: &random)!
        }
    }

    // MARK: reading

    /// Where text is code, and how deep in parentheses.
    private struct Reader {
        var at = 0
        var depth = 0
        var inDirective = false
        var atLineStart = true
    }

    /// Blanks and line ends outside of comments and literals.
    private func places() -> [Int: Place] {
        var places: [Int: Place] = [:]
        var line: [Int] = []
        var reader = Reader()
        var depthAtStart = 0
        var start = 0
        while reader.at < text.count {
            let at = reader.at
            if text[at] == UInt8(ascii: "\n") {
                let words = String(decoding: text[start..<at], as: UTF8.self)
                let isContinued = at > 0 && text[at - 1] == UInt8(ascii: "\\")
                let isNumbered = sensitive.contains { words.contains($0) }
                let isWhole = depthAtStart == 0 && reader.depth == 0 && !isContinued && !isNumbered
                // A header's name is no place for a comment.
                let isInclude = words.contains("include")
                for blank in line where !isInclude { places[blank] = isWhole ? .breakable : .blank }
                if reader.depth == 0, !isContinued { places[at] = .lineEnd }
                if !isContinued { reader.inDirective = false }
                reader.atLineStart = true
                depthAtStart = reader.depth
                (line, start) = ([], at + 1)
                reader.at += 1
            } else if text[at] == UInt8(ascii: " "), !reader.atLineStart, at + 1 < text.count,
                text[at + 1] != UInt8(ascii: "\\")
            {
                line.append(at)
                reader.at += 1
            } else {
                skip(&reader)
            }
        }
        return places
    }

    /// Past one token, comment or literal.
    private func skip(_ reader: inout Reader) {
        let rest = text[reader.at...]
        if rest.starts(with: "/*".utf8) { return skip(&reader, to: "*/", from: 2) }
        if rest.starts(with: "//".utf8) { return skip(&reader, before: UInt8(ascii: "\n")) }
        if rest.starts(with: "R\"(".utf8) { return skip(&reader, to: ")\"", from: 3) }
        switch text[reader.at] {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return skipLiteral(&reader, text[reader.at])
        case UInt8(ascii: "("): reader.depth += 1
        case UInt8(ascii: ")"): reader.depth -= 1
        case UInt8(ascii: "#") where reader.atLineStart: reader.inDirective = true
        default: break
        }
        if text[reader.at] != UInt8(ascii: " ") { reader.atLineStart = false }
        reader.at += 1
    }

    private func skip(_ reader: inout Reader, to end: String, from length: Int) {
        reader.at += length
        while reader.at < text.count, !text[reader.at...].starts(with: end.utf8) { reader.at += 1 }
        reader.at = min(text.count, reader.at + end.utf8.count)
    }

    private func skip(_ reader: inout Reader, before end: UInt8) {
        while reader.at < text.count, text[reader.at] != end { reader.at += 1 }
    }

    private func skipLiteral(_ reader: inout Reader, _ quote: UInt8) {
        reader.at += 1
        while reader.at < text.count, text[reader.at] != quote {
            reader.at += text[reader.at] == UInt8(ascii: "\\") ? 2 : 1
        }
        reader.at += 1
        reader.atLineStart = false
    }
}
