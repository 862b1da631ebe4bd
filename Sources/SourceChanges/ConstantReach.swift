/// Where the text of a source uses some names: what a changed constant reaches. Told from the text, since the compiled
/// code holds only the value.
public struct ConstantReach: Sendable {
    /// Functions whose bodies use one of the names, in the text's order.
    public var functions: [String] = []
    /// Those of them that pass one, or what is computed from one in the same function, to an allocator.
    public var allocating: Set<String> = []
    /// Those of the latter that also use one outside of the allocation, while what they allocate may outlive the call: the
    /// next call meets memory that an earlier one has allocated.
    public var relying: Set<String> = []

    /// - Parameter names: the constant's, and those of macros that expand to it (`macros(expandingTo:in:)`).
    public init(of names: Set<String>, in text: [UInt8]) {
        let wanted = Set(names.map { Array($0.utf8) })
        for function in SourceOutline(text).functions {
            guard function.tokens.contains(where: { wanted.contains(Array($0.bytes)) }) else { continue }
            functions.append(function.name)
            let tainted = Self.assigned(function.tokens, from: wanted)
            let allocations = Allocation.find(in: function.tokens, by: tainted)
            if allocations.isEmpty { continue }
            allocating.insert(function.name)
            let others = allocations.map(\.statement) + Self.sizes(function.tokens, from: tainted)
            let isUsedElsewhere = function.tokens.indices.contains { index in
                tainted.contains(Array(function.tokens[index].bytes)) && !others.contains { $0.contains(index) }
            }
            if isUsedElsewhere, allocations.contains(where: { $0.mayOutlive(function.tokens) }) {
                relying.insert(function.name)
            }
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

    /// Statements that only give one to a variable: `size = N * 4`.
    private static func sizes(_ tokens: ArraySlice<LexedSource.Token>, from tainted: Set<[UInt8]>) -> [Range<Int>] {
        tokens.split(whereSeparator: { $0.bytes.elementsEqual(";".utf8) || $0.bytes.elementsEqual("{".utf8) }).filter {
            guard let equals = $0.firstIndex(where: { $0.bytes.elementsEqual("=".utf8) }), equals > $0.startIndex
            else { return false }
            return tainted.contains(Array($0[equals - 1].bytes)) && $0[..<equals].allSatisfy(\.isIdentifier)
        }.map(\.indices)
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
