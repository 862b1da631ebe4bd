/// A changed file whose unchanged lines keep their original numbers.
public struct PinnedText: Sendable, Hashable {
    public var text: [UInt8]
    /// Number of `#line` directives in it.
    public var directives: Int
    /// Why nothing could be pinned; nil when it was, or when there was no need.
    public var refusal: String?
    public var kept = KeptText()
    /// One of both texts has `#line` directives of its own.
    public var numbersItself = false
}

/// Which lines (1-based) of one original text are in the new one. Nothing is where they have other numbers now.
public struct KeptText: Sendable, Hashable {
    /// Lines that follow each other in the new text too, comments and blank lines aside.
    public var runs: [ClosedRange<Int>]
    /// Kept lines whose tokens stand only once in either text, so that no other line passes for them.
    public var unmistakable: Set<Int>

    public init(runs: [ClosedRange<Int>] = [], unmistakable: Set<Int> = []) {
        self.runs = runs
        self.unmistakable = unmistakable
    }
}

/// Which lines of the original source a change leaves as they are.
public struct KeptLines: Sendable {
    /// Of each changed file, by its name without directories; several may bear one.
    private let texts: [Substring: [KeptText]]

    /// - Parameter files: of each changed file, by its path, what is kept; nothing for a file that is added or removed.
    public init(files: [String: KeptText]) {
        texts = Dictionary(grouping: files) { Self.name($0.key) }.mapValues { $0.map(\.value) }
    }

    private static func name(_ path: String) -> Substring {
        path.lastIndex(of: "/").map { path[path.index(after: $0)...] } ?? path[...]
    }

    /// The lines (1-based) are in the new file one after the other, and nothing stands between them that did not before.
    ///
    /// - Parameter file: as the compiler names it. Flags and makefiles have many ways to spell a path, so that every changed
    ///   file of the name must keep the lines.
    public func keeps(_ lines: ClosedRange<Int>, of file: String) -> Bool {
        texts[Self.name(file), default: []].allSatisfy { text in
            text.runs.contains { $0.contains(lines.lowerBound) && $0.contains(lines.upperBound) }
        }
    }

    /// The line is in the new file, and can't be another one that reads alike.
    public func identifies(_ line: Int, of file: String) -> Bool {
        texts[Self.name(file), default: []].allSatisfy { $0.unmistakable.contains(line) }
    }
}

/// Added lines that find no free number between their neighbours get unique ones from here on.
let firstAddedNumber = 1_000_000

/// Inserts `#line N` directives into `new` so that every unchanged line has the number it has in `original`, and no two
/// lines that hold tokens share one (trap line-pinning). Then `__LINE__` in code that did not change does not change
/// either, which would make it look changed.
///
/// A directive stands only where a line begins that is inside no comment, literal, directive or pair of parentheses,
/// and again behind each `#else`, `#elif` and `#endif` of a group that holds one, since a skipped group's directives
/// count for nothing. The tokens of the result are those of `new`; where that can't be had, the text is returned as it
/// came, with the reason.
public func pinLines(original: [UInt8], new: [UInt8]) -> PinnedText {
    func unpinned(_ reason: String) -> PinnedText { PinnedText(text: new, directives: 0, refusal: reason) }
    let source = SourceLexer.lex(new)
    let before = SourceLexer.lex(original)
    if source.hasLineDirective || before.hasLineDirective {
        var result = unpinned("it numbers its lines itself, with #line")
        result.numbersItself = true
        return result
    }
    if source.isAmbiguous { return unpinned("a trigraph continues a line") }
    let lines = (significantLines(original, before), significantLines(new, source))
    let aligned = alignedLines(original: lines.0, new: lines.1)
    let chunks = numbered(chunks(of: source, aligned: aligned), originalCount: linesWithEnds(original).count)
    var pinned = insertDirectives(into: new, source: source, chunks: chunks)
    pinned.kept = KeptText(
        runs: keptRuns(aligned, original: before, new: source),
        unmistakable: unmistakable(aligned, original: lines.0, new: lines.1))
    let tokens = SourceLexer.lex(pinned.text).tokens.map(\.bytes)
    guard tokens == source.tokens.map(\.bytes) else { return unpinned("the tokens would not stay the same") }
    return pinned
}

/// Each line as its tokens, so that it stays the same line when a comment or blanks come to it; without tokens, as it is.
private func significantLines(_ text: [UInt8], _ source: LexedSource) -> [ArraySlice<UInt8>] {
    var lines = linesWithEnds(text)
    var tokens: [Int: [UInt8]] = [:]
    for token in source.tokens { tokens[token.line, default: []] += token.bytes + [0] }
    for (line, bytes) in tokens where line < lines.count { lines[line] = bytes[...] }
    return lines
}

private func unmistakable(
    _ aligned: [Int?], original: [ArraySlice<UInt8>], new: [ArraySlice<UInt8>]
) -> Set<Int> {
    func counts(_ lines: [ArraySlice<UInt8>]) -> [ArraySlice<UInt8>: Int] {
        lines.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }
    let (before, after) = (counts(original), counts(new))
    let kept = aligned.compactMap { $0 }.filter { original.indices.contains($0) }
    return Set(kept.filter { before[original[$0]] == 1 && after[original[$0]] == 1 }.map { $0 + 1 })
}

private func keptRuns(_ aligned: [Int?], original: LexedSource, new: LexedSource) -> [ClosedRange<Int>] {
    var ordinals: [Int: Int] = [:]
    for token in original.tokens where ordinals[token.line] == nil { ordinals[token.line] = ordinals.count }
    var runs: [ClosedRange<Int>] = []
    var last: (line: Int, ordinal: Int)?
    var seen = -1
    for token in new.tokens where token.line != seen {
        seen = token.line
        guard seen < aligned.count, let line = aligned[seen], let ordinal = ordinals[line] else {
            last = nil
            continue
        }
        if let last, last.ordinal + 1 == ordinal, let run = runs.popLast() {
            runs.append(run.lowerBound...(line + 1))
        } else {
            runs.append((line + 1)...(line + 1))
        }
        last = (line, ordinal)
    }
    return runs
}

/// Lines that no directive may stand between.
private struct Chunk {
    var lines: Range<Int>
    var hasTokens: Bool
    /// Original numbers (1-based) of its lines.
    var originals: [Int?]
    /// The number its first line shall have; nil for one without tokens.
    var number: Int?

    /// Its lines are, one after the other, lines of the original.
    var isUnchanged: Bool {
        guard let first = originals.first, let first else { return false }
        return originals.enumerated().allSatisfy { $1 == first + $0 }
    }
}

private func chunks(of source: LexedSource, aligned: [Int?]) -> [Chunk] {
    let count = aligned.count
    var starts = source.lines.indices.filter { $0 < count && ($0 == 0 || source.lines[$0].isBoundary) }
    starts.append(count)
    var token = 0
    return zip(starts, starts.dropFirst()).map { start, end in
        let first = token
        while token < source.tokens.count, source.tokens[token].line < end { token += 1 }
        return Chunk(
            lines: start..<end, hasTokens: token > first, originals: aligned[start..<end].map { $0.map { $0 + 1 } })
    }
}

/// Unchanged chunks get their original numbers; the others those that lie free between their neighbours if there are
/// enough, else unique high ones.
private func numbered(_ chunks: [Chunk], originalCount: Int) -> [Chunk] {
    var chunks = chunks
    // From the end: the first original number that is taken behind each chunk.
    var limits = [Int](repeating: Int.max / 2, count: chunks.count)
    var limit = Int.max / 2
    for index in chunks.indices.reversed() {
        limits[index] = limit
        if chunks[index].isUnchanged, chunks[index].hasTokens { limit = chunks[index].originals[0] ?? limit }
    }
    var free = 1
    var high = max(firstAddedNumber, (originalCount + chunks.count) * 2)
    for index in chunks.indices where chunks[index].hasTokens {
        let chunk = chunks[index]
        var number = free
        if let own = chunk.originals[0], own >= free { number = own }
        if !chunk.isUnchanged, number + chunk.lines.count > limits[index] { number = free }
        if !chunk.isUnchanged, number + chunk.lines.count > limits[index] {
            number = high
            high += chunk.lines.count
        } else {
            free = number + chunk.lines.count
        }
        chunks[index].number = number
    }
    return chunks
}

private func insertDirectives(into new: [UInt8], source: LexedSource, chunks: [Chunk]) -> PinnedText {
    var result = PinnedText(text: [], directives: 0)
    // What the compiler will number the next line; nil where that depends on the branch it took.
    var counter: Int? = 1
    // Of each open conditional: whether a directive stands in it.
    var open: [Bool] = []
    for chunk in chunks {
        if let number = chunk.number, number != counter, source.lines[chunk.lines.lowerBound].isBoundary {
            result.text += Array("#line \(number)\n".utf8)
            result.directives += 1
            counter = number
            open = open.map { _ in true }
        }
        let end = chunk.lines.upperBound < source.lines.count ? source.lines[chunk.lines.upperBound].start : new.count
        result.text += new[source.lines[chunk.lines.lowerBound].start..<end]
        counter = counter.map { $0 + chunk.lines.count }
        for line in chunk.lines {
            switch source.lines[line].conditional {
            case .opens: open.append(false)
            case .continues: if open.last == true { counter = nil }
            case .closes: if open.popLast() == true { counter = nil }
            case nil: break
            }
        }
    }
    return result
}
