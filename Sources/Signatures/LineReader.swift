import Diagnostics

/// A configuration file as lines; what is wrong is refused with the file's name and the line's number.
struct ConfigurationLines {
    struct Line {
        var number: Int
        var text: String
    }

    let name: String
    /// Without empty lines and comments.
    let lines: [Line]

    static let maximumLength = 1 << 16

    /// - Throws: `Refusal` for what is not printable UTF-8, or has lines of more than 64 KiB.
    init(_ bytes: [UInt8], name: String) throws {
        self.name = name
        var lines: [Line] = []
        let parts = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let line = part.last == 0x0d ? part.dropLast() : part
            guard line.count <= Self.maximumLength, let text = String(validating: line, as: UTF8.self),
                isPrintable(text.filter { $0 != "\t" })
            else {
                throw Self.refusal(name, index + 1, "the line is too long, not valid UTF-8, or has control characters")
            }
            let trimmed = text.drop { $0 == " " || $0 == "\t" }
            if !trimmed.isEmpty, !trimmed.hasPrefix("#") {
                lines.append(Line(number: index + 1, text: String(trimmed)))
            }
        }
        self.lines = lines
    }

    /// Runs `body` for each line, and refuses what it can't make sense of.
    func eachLine(_ body: (Line) throws(Malformed) -> Void) throws {
        for line in lines {
            do throws(Malformed) { try body(line) } catch { throw refusal(line.number, error.description) }
        }
    }

    func refusal(_ number: Int, _ why: String) -> Refusal { Self.refusal(name, number, why) }

    private static func refusal(_ name: String, _ number: Int, _ why: String) -> Refusal {
        Refusal(
            .untrustedConfiguration, subject: "\(name), line \(number)", why: why,
            remedy: "correct line \(number) of \(name), or put # before it")
    }
}

/// Words of a line, one after the other.
struct Words {
    private var rest: Substring

    init(_ text: String) { rest = text[...] }

    /// The next word, where a double quote begins a part that may have spaces; nil at the end.
    ///
    /// Quotes are kept: options need them.
    mutating func next() throws(Malformed) -> String? {
        rest = rest.drop { $0 == " " || $0 == "\t" }
        guard !rest.isEmpty else { return nil }
        var (isQuoted, isEscaped) = (false, false)
        let word = rest.prefix { character in
            defer { isEscaped = isQuoted && !isEscaped && character == "\\" }
            if character == "\"", !isEscaped { isQuoted.toggle() }
            return isQuoted || (character != " " && character != "\t")
        }
        guard !isQuoted else { throw Malformed("a quotation mark has no end") }
        rest = rest[word.endIndex...]
        return String(word)
    }

    /// Everything that is left.
    var remainder: String { String(rest) }
}
