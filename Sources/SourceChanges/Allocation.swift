/// A call of an allocator, in the text of a function.
struct Allocation {
    /// Indices of the tokens of the statement that it stands in.
    var statement: Range<Int>
    /// The index of the allocator's name.
    var call: Int

    /// The calls whose arguments mention one of `names`.
    static func find(in tokens: ArraySlice<LexedSource.Token>, by names: Set<[UInt8]>) -> [Allocation] {
        tokens.indices.dropLast().filter { isAllocator(tokens[$0]) }.compactMap { index in
            // `new T[N]` ends with its statement, a call with its parenthesis.
            let isCall = tokens[index + 1].text == "("
            var depth = 0
            var isMentioned = false
            var end = index + 1
            for token in tokens[(index + 1)...] {
                end += 1
                if token.text == "(" { depth += 1 }
                if token.text == ")" { depth -= 1 }
                if (isCall && depth == 0) || token.text == ";" { break }
                if names.contains(Array(token.bytes)) { isMentioned = true }
            }
            guard isMentioned else { return nil }
            let start = tokens[..<index].lastIndex { [";", "{", "}"].contains($0.text) }.map { $0 + 1 }
            return Allocation(statement: (start ?? tokens.startIndex)..<end, call: index)
        }
    }

    private static func isAllocator(_ token: LexedSource.Token) -> Bool {
        guard token.isIdentifier else { return false }
        let name = token.text.lowercased()
        return name.contains("alloc") || ["new", "g_new", "g_new0", "mmap", "sbrk", "obstack_blank"].contains(name)
    }

    /// Whether the memory may be there after the function has returned, as far as its text tells: it is given to anything but
    /// a variable of the function's own, or that is given away by `return` or an assignment.
    func mayOutlive(_ function: ArraySlice<LexedSource.Token>) -> Bool {
        let before = function[statement.lowerBound..<call]
        guard let equals = before.lastIndex(where: { $0.text == "=" }), let first = before.first, first.text != "*"
        else { return true }
        let place = before[..<equals]
        guard let name = place.last, name.isIdentifier, !place.contains(where: { [".", ">"].contains($0.text) }) else {
            return true
        }
        let statements = function.split(whereSeparator: { [";", "{", "}"].contains($0.text) })
        guard statements.contains(where: { Self.declares(name, $0) }) else { return true }
        return statements.contains { words in
            if words.first?.text == "return" { return words.contains { $0.bytes == name.bytes } }
            return words.last?.bytes == name.bytes && ["=", ")"].contains(words.dropLast().last?.text)
        }
    }

    /// `char *name`, as an automatic variable or a parameter.
    private static func declares(_ name: LexedSource.Token, _ statement: ArraySlice<LexedSource.Token>) -> Bool {
        guard let first = statement.first, first.isIdentifier, first.text != "return", first.text != "else",
            !statement.contains(where: { ["static", "extern"].contains($0.text) })
        else { return false }
        return statement.indices.dropFirst().contains { index in
            statement[index].bytes == name.bytes
                && (statement[index - 1].isIdentifier || ["*", ","].contains(statement[index - 1].text))
        }
    }
}

extension LexedSource.Token {
    fileprivate var text: String { String(decoding: bytes, as: UTF8.self) }
}
