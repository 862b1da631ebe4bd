/// Where the text of a source uses some names: what a changed constant reaches. Told from the text, since the compiled
/// code holds only the value.
public struct ConstantReach: Sendable {
    /// Functions whose bodies use one of the names, in the text's order.
    public var functions: [String] = []
    /// Those of them that pass one, or what is computed from one in the same function, to an allocator.
    public var allocating: Set<String> = []

    /// - Parameter names: the constant's, and those of macros that expand to it (`macros(expandingTo:in:)`).
    public init(of names: Set<String>, in text: [UInt8]) {
        let wanted = Set(names.map { Array($0.utf8) })
        for function in SourceOutline(text).functions {
            guard function.tokens.contains(where: { wanted.contains(Array($0.bytes)) }) else { continue }
            functions.append(function.name)
            if Self.allocates(function.tokens, by: wanted) { allocating.insert(function.name) }
        }
    }

    /// `names` and the macros of the texts whose definition mentions one of them, however indirectly.
    public static func macros(expandingTo names: Set<String>, in texts: [[UInt8]]) -> Set<String> {
        var found = names
        let defined = texts.flatMap { SourceOutline.macros(in: $0) }
        while true {
            let more = defined.filter { macro in
                !found.contains(macro.name) && macro.words.contains { found.contains($0) }
            }
            if more.isEmpty { return found }
            found.formUnion(more.map(\.name))
        }
    }

    private static func allocates(_ tokens: ArraySlice<LexedSource.Token>, by names: Set<[UInt8]>) -> Bool {
        let tainted = assigned(tokens, from: names)
        var index = tokens.startIndex
        while index < tokens.endIndex {
            defer { index += 1 }
            guard isAllocator(tokens[index]), index + 1 < tokens.endIndex else { continue }
            // `new T[N]` ends with its statement, a call with its parenthesis.
            let isCall = tokens[index + 1].bytes.elementsEqual("(".utf8)
            var depth = 0
            for token in tokens[(index + 1)...] {
                if token.bytes.elementsEqual("(".utf8) { depth += 1 }
                if token.bytes.elementsEqual(")".utf8) { depth -= 1 }
                if (isCall && depth == 0) || token.bytes.elementsEqual(";".utf8) { break }
                if tainted.contains(Array(token.bytes)) { return true }
            }
        }
        return false
    }

    /// The names, and variables that are assigned from them: `size = N * 4`.
    private static func assigned(_ tokens: ArraySlice<LexedSource.Token>, from names: Set<[UInt8]>) -> Set<[UInt8]> {
        var tainted = names
        for statement in tokens.split(whereSeparator: { $0.bytes.elementsEqual(";".utf8) }) {
            guard let equals = statement.firstIndex(where: { $0.bytes.elementsEqual("=".utf8) }),
                equals > statement.startIndex, statement[equals - 1].isIdentifier,
                statement[equals...].contains(where: { tainted.contains(Array($0.bytes)) })
            else { continue }
            tainted.insert(Array(statement[equals - 1].bytes))
        }
        return tainted
    }

    private static func isAllocator(_ token: LexedSource.Token) -> Bool {
        guard token.isIdentifier else { return false }
        let name = String(decoding: token.bytes, as: UTF8.self).lowercased()
        return name.contains("alloc") || ["new", "g_new", "g_new0", "mmap", "sbrk", "obstack_blank"].contains(name)
    }
}

/// A source cut into the bodies of its functions and the rest.
struct SourceOutline {
    struct Function {
        var name: String
        /// Its head from the last `;` or `}` on, and its body.
        var tokens: ArraySlice<LexedSource.Token>
    }

    var functions: [Function] = []
    /// What is in no function.
    var rest: [LexedSource.Token] = []

    init(_ text: [UInt8]) {
        let tokens = SourceLexer.lex(text).tokens[...]
        var head = tokens.startIndex
        var index = tokens.startIndex
        while index < tokens.endIndex {
            let token = tokens[index]
            if token.bytes.elementsEqual("{".utf8), let name = Self.functionName(tokens[head..<index]) {
                let end = Self.closing(tokens, from: index)
                functions.append(Function(name: name, tokens: tokens[head..<end]))
                index = end
                head = end
                continue
            }
            let isContainer = token.bytes.elementsEqual("{".utf8) && Self.isContainer(tokens[head..<index])
            index += 1
            let isParameter = token.bytes.elementsEqual(";".utf8) && Self.declaresParameter(tokens[head..<index])
            if isParameter { continue }
            if [";", "}"].contains(where: { token.bytes.elementsEqual($0.utf8) }) || isContainer {
                rest += tokens[head..<index]
                head = index
            }
        }
        rest += tokens[head...]
    }

    /// `f(a) int a`: a definition as C had them before 1989.
    private static func declaresParameter(_ head: ArraySlice<LexedSource.Token>) -> Bool {
        guard let close = head.lastIndex(where: { $0.bytes.elementsEqual(")".utf8) }),
            head[close...].filter(\.isIdentifier).count >= 2
        else { return false }
        return functionName(head) != nil && !head[close].bytes.elementsEqual("{".utf8)
    }

    /// Behind the brace that closes the one at `open`.
    private static func closing(_ tokens: ArraySlice<LexedSource.Token>, from open: Int) -> Int {
        var depth = 0
        for index in open..<tokens.endIndex {
            if tokens[index].bytes.elementsEqual("{".utf8) { depth += 1 }
            if tokens[index].bytes.elementsEqual("}".utf8) { depth -= 1 }
            if depth == 0 { return index + 1 }
        }
        return tokens.endIndex
    }

    /// `namespace x`, `extern "C"`, `class x`: what stands in it is at the top, too.
    private static func isContainer(_ head: ArraySlice<LexedSource.Token>) -> Bool {
        head.contains { token in
            ["namespace", "extern", "class", "struct"].contains { token.bytes.elementsEqual($0.utf8) }
        }
    }

    /// The name before the parameters, where these tokens are the head of a function's definition.
    private static func functionName(_ head: ArraySlice<LexedSource.Token>) -> String? {
        if head.contains(where: { $0.bytes.elementsEqual("=".utf8) }) { return nil }
        let other: Set<String> = [
            "__attribute__", "__declspec", "alignas", "_Alignas", "asm", "__asm__", "__attribute",
        ]
        var name: String?
        var depth = 0
        for index in head.indices {
            let token = head[index]
            if token.bytes.elementsEqual("(".utf8) {
                if depth == 0, index > head.startIndex, head[index - 1].isIdentifier {
                    let text = String(decoding: head[index - 1].bytes, as: UTF8.self)
                    if !other.contains(text) { name = text }
                }
                depth += 1
            } else if token.bytes.elementsEqual(")".utf8) {
                depth -= 1
            }
        }
        return name
    }

    /// `#define` directives, continued lines joined: names and the words of what they stand for.
    static func macros(in text: [UInt8]) -> [(name: String, words: Set<String>)] {
        logicalDirectives(text).compactMap { line in
            guard line.hasPrefix("define") else { return nil }
            let words = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
            guard words.count >= 2, words[0] == "define" else { return nil }
            return (words[1], Set(words.dropFirst(2)))
        }
    }

    /// Every directive from behind its `#`, in one line, without comments' sake.
    static func logicalDirectives(_ text: [UInt8]) -> [String] {
        var directives: [String] = []
        var open: String?
        for line in text.split(separator: 10, omittingEmptySubsequences: false) {
            var line = String(decoding: line, as: UTF8.self)
            while let last = line.last, last.isWhitespace { line.removeLast() }
            let continues = line.hasSuffix("\\")
            if continues { line.removeLast() }
            if let begun = open {
                open = begun + " " + line
            } else {
                let trimmed = line.drop(while: \.isWhitespace)
                if trimmed.first == "#" { open = String(trimmed.dropFirst().drop(while: \.isWhitespace)) }
            }
            if !continues, let done = open {
                directives.append(done)
                open = nil
            }
        }
        return directives
    }
}

/// The functions that have other definitions in the new text; nil where anything else differs (a declaration, a type, a
/// directive), which may reach every function that the text is included by.
public func changedDefinitions(original: [UInt8], new: [UInt8]) -> Set<String>? {
    let (before, after) = (SourceOutline(original), SourceOutline(new))
    guard before.rest.map(\.bytes) == after.rest.map(\.bytes),
        SourceOutline.logicalDirectives(original) == SourceOutline.logicalDirectives(new)
    else { return nil }
    func bodies(_ outline: SourceOutline) -> [String: [ArraySlice<UInt8>]] {
        Dictionary(outline.functions.map { ($0.name, $0.tokens.map(\.bytes)) }, uniquingKeysWith: +)
    }
    let (old, fresh) = (bodies(before), bodies(after))
    return Set(old.keys).union(fresh.keys).filter { old[$0] != fresh[$0] }
}
