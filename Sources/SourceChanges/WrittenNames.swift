/// Whether a text may give a variable of its own a value, or let its address out, besides where it is declared.
///
/// - Parameters:
///   - declarations: lines (1-based) on which it is declared.
///   - hasReferences: whether the language has references, to which an argument may be bound.
/// - Returns: true also where the name is in a directive, a literal or a comment: nothing is known of macros.
public func mayBeWritten(_ name: String, in text: [UInt8], declaredOn declarations: Set<Int>, hasReferences: Bool)
    -> Bool
{
    let tokens = SourceLexer.lex(text).tokens
    let bytes = Array(name.utf8)
    let places = tokens.indices.filter { tokens[$0].isIdentifier && tokens[$0].bytes.elementsEqual(bytes) }
    guard places.count == occurrences(of: bytes, in: text) else { return true }
    func spelled(_ index: Int) -> UInt8? {
        tokens.indices.contains(index) && tokens[index].bytes.count == 1 ? tokens[index].bytes.first : nil
    }
    return places.contains { place in
        // A member of that name is another's.
        if spelled(place - 1) == UInt8(ascii: ".") { return false }
        if spelled(place - 1) == UInt8(ascii: ">"), spelled(place - 2) == UInt8(ascii: "-") { return false }
        if declarations.contains(tokens[place].line + 1) { return false }
        return !isPlainRead((-2...2).map { spelled(place + $0) }, hasReferences: hasReferences)
    }
}

/// Neither its address is taken nor a part of it chosen, and no operator beside it assigns.
///
/// - Parameter around: the two characters before the name, what stands in its place, and the two behind it; nil for a word.
private func isPlainRead(_ around: [UInt8?], hasReferences: Bool) -> Bool {
    let (farther, before, next, after) = (around[0], around[1], around[3], around[4])
    func isOne(of characters: String, _ byte: UInt8?) -> Bool { byte.map(characters.utf8.contains) ?? false }
    if isOne(of: "&", before) || (isOne(of: "+-", before) && farther == before) { return false }
    // What is given by reference may be written there.
    if hasReferences, isOne(of: "(,{", before), isOne(of: "),}", next) { return false }
    if isOne(of: "[.", next) || (isOne(of: "-", next) && isOne(of: ">", after)) { return false }
    if isOne(of: "=", next) { return isOne(of: "=", after) }
    if isOne(of: "+-", next) { return after != next && !isOne(of: "=", after) }
    // `<<=` and `>>=` are not told from shifts.
    if isOne(of: "<>", next) { return after != next }
    return !(isOne(of: "*/%&|^", next) && isOne(of: "=", after))
}

private func occurrences(of word: [UInt8], in text: [UInt8]) -> Int {
    func isPart(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
            || byte >= 128
    }
    guard !word.isEmpty, text.count >= word.count else { return 0 }
    return (0...(text.count - word.count)).count { start in
        text[start] == word[0] && text[start..<start + word.count].elementsEqual(word)
            && (start == 0 || !isPart(text[start - 1]))
            && (start + word.count == text.count || !isPart(text[start + word.count]))
    }
}
