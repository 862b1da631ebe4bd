/// C or C++ source cut into preprocessing tokens, exactly enough to say where a `#line` may stand: comments, strings,
/// raw strings, character literals, continued lines, directives and parentheses are known for what they are.
struct LexedSource {
    enum Conditional { case opens, continues, closes }
    struct Token: Equatable {
        var bytes: ArraySlice<UInt8>
        /// 0-based line on which it begins.
        var line: Int
        var isIdentifier: Bool
    }
    struct Line {
        /// Offset of its first byte.
        var start: Int
        /// A directive may be inserted before it: not within a comment, a literal, a directive or parentheses.
        var isBoundary = false
        /// The directive that begins on it.
        var conditional: Conditional?
    }

    /// Without those of directives.
    var tokens: [Token] = []
    var lines: [Line] = []
    /// The text numbers lines itself (`#line`, or the markers of generated files).
    var hasLineDirective = false
    /// Something that is lexed in two ways, by the language's version: a trigraph that continues a line.
    var isAmbiguous = false
}

/// The lexer. Its position only moves forward; every step consumes at least a byte.
struct SourceLexer {
    private let text: [UInt8]
    private var at = 0
    private var line = 0
    private var nesting = Nesting()
    /// Nesting at each open `#if`, and at the end of its first branch.
    private var conditionals: [(before: Nesting, after: Nesting?)] = []
    private var inDirective = false
    /// Nothing but blanks and comments since the line began: a `#` here begins a directive.
    private var atLineStart = true
    /// Boundaries behind a last identifier: none of them is one if a parenthesis follows, since the identifier may be
    /// a macro whose arguments begin there.
    private var doubtful: [Int] = []
    private var source = LexedSource()

    private init(_ text: [UInt8]) { self.text = text }

    static func lex(_ text: [UInt8]) -> LexedSource {
        var lexer = SourceLexer(text)
        lexer.source.lines = [.init(start: 0, isBoundary: !text.starts(with: [0xEF, 0xBB, 0xBF]))]
        while lexer.at < text.count { lexer.step() }
        return lexer.source
    }

    private func byte(_ offset: Int = 0) -> UInt8 { at + offset < text.count ? text[at + offset] : 0 }

    private mutating func step() {
        let splice = spliceLength(at)
        if splice > 0 {
            skip(splice)
            return
        }
        switch byte() {
        case UInt8(ascii: "\n"): endLine()
        case UInt8(ascii: " "), 9, 11, 12, 13: at += 1
        case UInt8(ascii: "/") where byte(1) == UInt8(ascii: "/"): lineComment()
        case UInt8(ascii: "/") where byte(1) == UInt8(ascii: "*"): blockComment()
        case UInt8(ascii: "#") where atLineStart && !inDirective: directive(markLength: 1)
        case UInt8(ascii: "%") where atLineStart && !inDirective && byte(1) == UInt8(ascii: ":"):
            directive(markLength: 2)
        default: token()
        }
    }

    /// Length of a backslash, blanks and the line feed at `place`; 0 when no line is continued there.
    private func spliceLength(_ place: Int) -> Int {
        guard place < text.count, text[place] == UInt8(ascii: "\\") else { return 0 }
        var end = place + 1
        while end < text.count, [UInt8(ascii: " "), 9, 11, 12, 13].contains(text[end]) { end += 1 }
        return end < text.count && text[end] == UInt8(ascii: "\n") ? end + 1 - place : 0
    }

    /// Moves on over bytes whose line feeds end no logical line.
    private mutating func skip(_ count: Int) {
        let end = min(at + count, text.count)
        while at < end {
            at += 1
            if text[at - 1] == UInt8(ascii: "\n") { beginLine(isBoundary: false) }
        }
    }

    private mutating func beginLine(isBoundary: Bool) {
        line += 1
        source.lines.append(.init(start: at, isBoundary: isBoundary))
    }

    private mutating func endLine() {
        // A trigraph for the backslash continues the line in some language versions only.
        if text[..<at].suffix(3).elementsEqual("??/".utf8) { source.isAmbiguous = true }
        at += 1
        inDirective = false
        atLineStart = true
        beginLine(isBoundary: nesting.depth <= 0)
        if nesting.depth <= 0, source.tokens.last?.isIdentifier == true { doubtful.append(line) }
    }

    private mutating func lineComment() {
        while at < text.count, byte() != UInt8(ascii: "\n") {
            let splice = spliceLength(at)
            skip(splice > 0 ? splice : 1)
        }
    }

    private mutating func blockComment() {
        skip(2)
        while at < text.count, !(byte() == UInt8(ascii: "*") && byte(1) == UInt8(ascii: "/")) { skip(1) }
        skip(2)
    }

    private mutating func directive(markLength: Int) {
        at += markLength
        inDirective = true
        let first = line
        while at < text.count, byte() == UInt8(ascii: " ") || byte() == 9 || spliceLength(at) > 0 {
            skip(max(1, spliceLength(at)))
        }
        var end = at
        while end < text.count, isWord(text[end]) { end += 1 }
        let name = String(decoding: text[at..<end], as: UTF8.self)
        at = end
        switch name {
        case "if", "ifdef", "ifndef":
            source.lines[first].conditional = .opens
            conditionals.append((nesting, nil))
        case "else", "elif", "elifdef", "elifndef":
            source.lines[first].conditional = .continues
            continueConditional()
        case "endif":
            source.lines[first].conditional = .closes
            if let closed = conditionals.popLast() { nesting = closed.after ?? nesting }
        case "include", "import", "include_next", "embed": headerName()
        case "line": source.hasLineDirective = true
        default: if let digit = name.utf8.first, isDigit(digit) { source.hasLineDirective = true }
        }
    }

    /// Each branch of an `#if` begins at the nesting where the `#if` stands; behind its `#endif` it is that of the first
    /// branch's end.
    private mutating func continueConditional() {
        guard let last = conditionals.indices.last else { return }
        if conditionals[last].after == nil { conditionals[last].after = nesting }
        nesting = conditionals[last].before
    }

    /// `<sys/*.h>` holds no comment.
    private mutating func headerName() {
        while byte() == UInt8(ascii: " ") || byte() == 9 { at += 1 }
        guard byte() == UInt8(ascii: "<") else { return }
        while at < text.count, byte() != UInt8(ascii: ">"), byte() != UInt8(ascii: "\n") { at += 1 }
    }

    private mutating func token() {
        let (start, first) = (at, line)
        let isIdentifier = isWord(byte()) && !isDigit(byte())
        if isIdentifier {
            word()
            if byte() == UInt8(ascii: "\""), ["R", "LR", "uR", "UR", "u8R"].contains(spelling(from: start)) {
                rawString()
            }
        } else if isDigit(byte()) || (byte() == UInt8(ascii: ".") && isDigit(byte(1))) {
            number()
        } else if byte() == UInt8(ascii: "\"") || byte() == UInt8(ascii: "'") {
            literal(end: byte())
        } else {
            punctuation()
        }
        atLineStart = false
        guard !inDirective else { return }
        if text[start] == UInt8(ascii: "(") { for line in doubtful { source.lines[line].isBoundary = false } }
        doubtful = []
        source.tokens.append(.init(bytes: text[start..<at], line: first, isIdentifier: isIdentifier))
    }

    private func spelling(from start: Int) -> String { String(decoding: text[start..<at], as: UTF8.self) }

    private mutating func punctuation() {
        if !inDirective {
            nesting.take(byte(), isEnumeration: byte() == UInt8(ascii: "{") && source.endsWithEnumeration)
        }
        at += 1
    }

    private mutating func word() {
        while at < text.count {
            let splice = spliceLength(at)
            if splice > 0, at + splice < text.count, isWord(text[at + splice]) {
                skip(splice)
            } else if isWord(byte()) {
                at += 1
            } else {
                return
            }
        }
    }

    private mutating func number() {
        while at < text.count {
            if "eEpP".utf8.contains(byte()), byte(1) == UInt8(ascii: "+") || byte(1) == UInt8(ascii: "-") {
                at += 2
            } else if byte() == UInt8(ascii: "'"), isWord(byte(1)) {
                at += 2
            } else if isWord(byte()) || byte() == UInt8(ascii: ".") {
                at += 1
            } else {
                return
            }
        }
    }

    /// A string or a character; one that is not closed ends with its line, as in the text of an `#error` or of a group
    /// that is skipped.
    private mutating func literal(end quote: UInt8) {
        at += 1
        while at < text.count, byte() != UInt8(ascii: "\n") {
            let splice = spliceLength(at)
            if splice > 0 {
                skip(splice)
            } else if byte() == UInt8(ascii: "\\"), at + 1 < text.count {
                at += 1
                let spliced = spliceLength(at)
                skip(spliced > 0 ? spliced : 1)
            } else {
                at += 1
                if text[at - 1] == quote { return }
            }
        }
    }

    /// `R"delimiter(…)delimiter"`, within which nothing has a meaning.
    private mutating func rawString() {
        var open = at + 1
        while open < text.count, open - at <= 17, !" ()\\\t\n\"".utf8.contains(text[open]) { open += 1 }
        guard open < text.count, text[open] == UInt8(ascii: "(") else { return literal(end: UInt8(ascii: "\"")) }
        let end = [UInt8(ascii: ")")] + text[at + 1..<open] + [UInt8(ascii: "\"")]
        skip(open + 1 - at)
        while at < text.count {
            if byte() == end[0], text[at...].starts(with: end) {
                skip(end.count)
                return
            }
            skip(1)
        }
    }
}

private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

/// Letters, digits, `_`, `$`, and the bytes of letters beyond ASCII.
private func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
        UInt8(ascii: "$"), 0x80...0xFF:
        true
    default: isDigit(byte)
    }
}

/// How deep in parentheses a place is.
private struct Nesting {
    private(set) var depth = 0
    /// The depth at each open brace.
    private var braces: [Int] = []

    /// - Parameter isEnumeration: the brace opens a list of enumerators. Where these are counted by `__LINE__`, another
    ///   number would be another value: the list is as whole as what stands in parentheses.
    mutating func take(_ byte: UInt8?, isEnumeration: Bool) {
        switch byte {
        case UInt8(ascii: "("): depth += 1
        case UInt8(ascii: ")"): depth = max(0, depth - 1)
        case UInt8(ascii: "{"):
            braces.append(depth)
            if isEnumeration { depth += 1 }
        // Code that is never compiled may lack a parenthesis: none is open where a block ends that began outside of it.
        case UInt8(ascii: "}"): depth = min(depth, braces.popLast() ?? 0)
        default: break
        }
    }
}
