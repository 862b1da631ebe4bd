/// The lines of one changed file, before and after, as a reader follows them.
public struct ChangedLines: Sendable {
    /// Without their ends.
    public var original: [String]
    public var new: [String]
    /// Indices of lines of the original that are gone, and of the new file that are added; a changed line is both.
    public var removed: Set<Int>
    public var added: Set<Int>
    /// By the number that a line has in debug information, where line numbers are pinned: its index in `new`.
    public var pinned: [Int: Int]

    /// - Parameter pinned: the new text with its line numbers pinned; nil where they are not.
    public init(_ file: ChangedFile, pinned: [UInt8]? = nil) {
        let (before, after) = (linesWithEnds(file.original ?? []), linesWithEnds(file.new ?? []))
        original = readableLines(file.original ?? [])
        new = readableLines(file.new ?? [])
        let aligned = alignedLines(original: before, new: after)
        added = Set(aligned.indices.filter { aligned[$0] == nil })
        removed = Set(before.indices).subtracting(aligned.compactMap(\.self))
        self.pinned = pinned.map { Self.numbers($0, after) } ?? [:]
    }

    /// What stands in the pinned text beside the file's own lines are directives.
    private static func numbers(_ pinned: [UInt8], _ lines: [ArraySlice<UInt8>]) -> [Int: Int] {
        var numbers: [Int: Int] = [:]
        var (next, number) = (0, 1)
        for line in linesWithEnds(pinned) where next < lines.count {
            if line != lines[next], let given = directive(line) {
                number = given
                continue
            }
            // No two lines with tokens share a number; of others nothing is compiled.
            if numbers[number] == nil || !isBlank(lines[next]) { numbers[number] = next }
            (next, number) = (next + 1, number + 1)
        }
        return numbers
    }

    private static func directive(_ line: ArraySlice<UInt8>) -> Int? {
        let words = readableLine(line).split(separator: " ")
        return words.count == 2 && words[0] == "#line" ? Int(words[1]) : nil
    }

    private static func isBlank(_ line: ArraySlice<UInt8>) -> Bool {
        line.allSatisfy { [0x20, 0x09, 0x0a, 0x0d].contains($0) }
    }
}

/// The lines of a file as text, without their ends.
private func readableLines(_ bytes: [UInt8]) -> [String] { linesWithEnds(bytes).map(readableLine) }

private func readableLine(_ line: ArraySlice<UInt8>) -> String {
    var line = line
    if line.last == UInt8(ascii: "\n") { line = line.dropLast() }
    if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
    return String(decoding: line, as: UTF8.self)
}

/// A unified diff of one file with three lines around each change, for a reader; empty where nothing differs.
public func unifiedDiff(of file: ChangedFile) -> String {
    let (before, after) = (linesWithEnds(file.original ?? []), linesWithEnds(file.new ?? []))
    let steps = editSteps(before, after)
    var hunks = ""
    for range in hunkRanges(steps) { hunks += hunk(steps[range]) }
    guard !hunks.isEmpty else { return "" }
    let names = (
        file.original == nil ? "/dev/null" : "a/" + file.path, file.new == nil ? "/dev/null" : "b/" + file.path
    )
    return "--- \(names.0)\n+++ \(names.1)\n" + hunks
}

/// A line of either file, or of both, by index.
private struct EditStep {
    var old: Int?
    var new: Int?
    /// How many lines of each file stand before it.
    var before: (old: Int, new: Int)
    var bytes: ArraySlice<UInt8>
    var isKept: Bool { old != nil && new != nil }
}

/// Of each change, what it removes stands before what it adds.
private func editSteps(_ before: [ArraySlice<UInt8>], _ after: [ArraySlice<UInt8>]) -> [EditStep] {
    var steps: [EditStep] = []
    var (old, new) = (0, 0)
    func change(until oldEnd: Int, _ newEnd: Int) {
        for index in old..<max(old, oldEnd) {
            steps.append(EditStep(old: index, new: nil, before: (index, new), bytes: before[index]))
        }
        old = max(old, oldEnd)
        for index in new..<max(new, newEnd) {
            steps.append(EditStep(old: nil, new: index, before: (old, index), bytes: after[index]))
        }
        new = max(new, newEnd)
    }
    for (index, match) in alignedLines(original: before, new: after).enumerated() {
        guard let match else { continue }
        change(until: match, index)
        steps.append(EditStep(old: match, new: index, before: (match, index), bytes: before[match]))
        (old, new) = (match + 1, index + 1)
    }
    change(until: before.count, after.count)
    return steps
}

/// Changes and three kept lines around them, joined where they touch.
private func hunkRanges(_ steps: [EditStep]) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    for index in steps.indices where !steps[index].isKept {
        let (start, end) = (max(0, index - 3), min(steps.count, index + 4))
        if let last = ranges.last, start <= last.upperBound {
            ranges[ranges.count - 1] = last.lowerBound..<end
        } else {
            ranges.append(start..<end)
        }
    }
    return ranges
}

private func hunk(_ steps: ArraySlice<EditStep>) -> String {
    guard let first = steps.first else { return "" }
    let (old, new) = (steps.filter { $0.old != nil }.count, steps.filter { $0.new != nil }.count)
    // Of an empty side, the line before it is named.
    let starts = (first.before.old + (old > 0 ? 1 : 0), first.before.new + (new > 0 ? 1 : 0))
    let head = "@@ -\(starts.0),\(old) +\(starts.1),\(new) @@\n"
    let lines = steps.map { step -> String in
        let text = String(decoding: step.bytes, as: UTF8.self)
        let end = text.hasSuffix("\n") ? "" : "\n\\ No newline at end of file\n"
        return (step.isKept ? " " : step.old != nil ? "-" : "+") + text + end
    }
    return head + lines.joined()
}
