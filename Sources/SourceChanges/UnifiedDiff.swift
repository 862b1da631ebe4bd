import Diagnostics

/// One file's part of a unified diff.
struct FileDiff: Sendable {
    /// Names as they stand in the diff, not stripped; nil is `/dev/null`.
    var oldName: String?
    var newName: String?
    var hunks: [Hunk] = []
    /// From git's extended headers.
    var isRenamed = false
    var isCopied = false
    var isBinary = false
    /// What it holds before and after is where a symbolic link leads (git's mode 120000).
    var wasLink = false
    var isLink = false
    /// Its `---` and `+++` lines have been read.
    var isNamed = false
    var lacksHunks: Bool { isNamed && hunks.isEmpty }
    /// The new file's time stamp is the epoch: with an empty result, `diff -N` means that the file is removed.
    var isRemovedIfEmpty = false
    /// 1-based line of the diff where it begins.
    var line: Int
}

struct Hunk: Sendable {
    enum Kind { case context, removed, added }
    struct Line: Sendable {
        var kind: Kind
        /// With its line end, if it has one.
        var text: ArraySlice<UInt8>
    }
    var oldStart: Int
    var newStart: Int
    var lines: [Line]
    /// 1-based line of the diff where its `@@` stands.
    var line: Int

    var old: [ArraySlice<UInt8>] { lines.filter { $0.kind != .added }.map(\.text) }
    var new: [ArraySlice<UInt8>] { lines.filter { $0.kind != .removed }.map(\.text) }
}

/// `text` cut behind each line feed; the last line may have none.
func linesWithEnds(_ text: [UInt8]) -> [ArraySlice<UInt8>] {
    var lines: [ArraySlice<UInt8>] = []
    var start = 0
    while start < text.count {
        let end = text[start...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? text.count
        lines.append(text[start..<end])
        start = end
    }
    return lines
}

private let linkMode = "120000"

/// Reads unified diffs as git, diff and quilt write them, with any text before, between and after.
struct DiffParser {
    private let name: String
    private let lines: [ArraySlice<UInt8>]
    private var position = 0
    private var files: [FileDiff] = []

    init(_ diff: NamedBytes) {
        name = diff.name
        lines = linesWithEnds(diff.bytes)
    }

    /// - Throws: `Refusal` diff-does-not-apply with the line of the diff that is malformed.
    static func parse(_ diff: NamedBytes) throws -> [FileDiff] {
        var parser = DiffParser(diff)
        return try parser.parse()
    }

    private mutating func parse() throws -> [FileDiff] {
        while position < lines.count {
            let line = text(position)
            if line.hasPrefix("diff --git ") {
                gitHeader(line)
            } else if line.hasPrefix("--- "), position + 1 < lines.count, text(position + 1).hasPrefix("+++ ") {
                names()
            } else if line.hasPrefix("@@ -") || (line.hasPrefix("@@") && files.last?.lacksHunks == true), !files.isEmpty
            {
                try hunk(line)
            } else if line.hasPrefix("*** "), position + 1 < lines.count, text(position + 1).hasPrefix("--- ") {
                throw malformed("this is a context diff; a unified diff (diff -u) is needed")
            } else {
                extendedHeader(line)
            }
        }
        if files.isEmpty { throw malformed("no unified diff is in it") }
        return files
    }

    private func text(_ index: Int) -> String {
        var line = lines[index]
        while let last = line.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { line = line.dropLast() }
        return String(decoding: line, as: UTF8.self)
    }

    private func malformed(_ why: String) -> Refusal {
        Refusal(.diffDoesNotApply, subject: "\(name):\(position + 1)", why: why)
    }

    private mutating func gitHeader(_ line: String) {
        var file = FileDiff(line: position + 1)
        // Both names are the same unless later headers say otherwise: "a/NAME b/NAME".
        let rest = line.dropFirst("diff --git ".count)
        if rest.utf8.count % 2 == 1 {
            let middle = rest.utf8.index(rest.startIndex, offsetBy: rest.utf8.count / 2)
            file.oldName = unquoted(String(rest[..<middle]))
            file.newName = unquoted(String(rest[rest.utf8.index(after: middle)...]))
        }
        files.append(file)
        position += 1
    }

    /// Headers of git that stand between `diff --git` and the first hunk.
    private mutating func extendedHeader(_ line: String) {
        position += 1
        guard let last = files.indices.last, files[last].hunks.isEmpty else { return }
        func value(_ header: String) -> String? {
            line.hasPrefix(header) ? unquoted(String(line.dropFirst(header.count))) : nil
        }
        if line.hasPrefix("new file mode ") { files[last].oldName = nil }
        if line.hasPrefix("deleted file mode ") { files[last].newName = nil }
        if let from = value("rename from ") { (files[last].oldName, files[last].isRenamed) = ("a/" + from, true) }
        if let to = value("rename to ") { (files[last].newName, files[last].isRenamed) = ("b/" + to, true) }
        if let from = value("copy from ") { (files[last].oldName, files[last].isCopied) = ("a/" + from, true) }
        if let to = value("copy to ") { (files[last].newName, files[last].isCopied) = ("b/" + to, true) }
        if let mode = value("old mode ") ?? value("deleted file mode ") { files[last].wasLink = mode == linkMode }
        if let mode = value("new mode ") ?? value("new file mode ") { files[last].isLink = mode == linkMode }
        if line.hasPrefix("index "), line.hasSuffix(" " + linkMode) {
            (files[last].wasLink, files[last].isLink) = (true, true)
        }
        if line.hasPrefix("GIT binary patch") || line.hasPrefix("Binary files ") { files[last].isBinary = true }
    }

    private mutating func names() {
        let (old, new) = (text(position), text(position + 1))
        // Names of git's own header belong to these lines; without one, a file begins here.
        if files.last.map({ !$0.hunks.isEmpty || $0.isNamed }) ?? true { files.append(FileDiff(line: position + 1)) }
        let last = files.count - 1
        files[last].oldName = fileName(old)
        files[last].newName = fileName(new)
        files[last].isNamed = true
        files[last].isRemovedIfEmpty = new.contains("1970-01-01") || new.contains("1969-12-31")
        position += 2
    }

    /// The name on a `---` or `+++` line: up to a tab, behind which a time may stand.
    private func fileName(_ line: String) -> String? {
        let name = line.dropFirst(4).prefix { $0 != "\t" }
        return name == "/dev/null" ? nil : unquoted(String(name))
    }

    private mutating func hunk(_ header: String) throws {
        let ranges = header.dropFirst(3).split(separator: " ").prefix(2)
        guard ranges.count == 2, let old = range(ranges[0], "-"), let new = range(ranges[1], "+") else {
            throw malformed("a malformed hunk header")
        }
        var hunk = Hunk(oldStart: old.start, newStart: new.start, lines: [], line: position + 1)
        var (oldLeft, newLeft) = (old.count, new.count)
        position += 1
        while oldLeft > 0 || newLeft > 0 || nextIsNoNewline {
            guard position < lines.count else { throw malformed("the diff ends within a hunk") }
            let line = lines[position]
            switch line.first {
            case UInt8(ascii: " "):
                hunk.lines.append(.init(kind: .context, text: line.dropFirst()))
                (oldLeft, newLeft) = (oldLeft - 1, newLeft - 1)
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                // An empty line of context whose blank a mail program took.
                hunk.lines.append(.init(kind: .context, text: line))
                (oldLeft, newLeft) = (oldLeft - 1, newLeft - 1)
            case UInt8(ascii: "-"):
                hunk.lines.append(.init(kind: .removed, text: line.dropFirst()))
                oldLeft -= 1
            case UInt8(ascii: "+"):
                hunk.lines.append(.init(kind: .added, text: line.dropFirst()))
                newLeft -= 1
            case UInt8(ascii: "\\"):
                if let last = hunk.lines.indices.last { hunk.lines[last].text = withoutEnd(hunk.lines[last].text) }
            default: throw malformed("a hunk's line begins with neither blank, + nor -")
            }
            position += 1
        }
        guard oldLeft == 0, newLeft == 0 else { throw malformed("a hunk's lines are not as many as its header says") }
        files[files.count - 1].hunks.append(hunk)
    }

    private var nextIsNoNewline: Bool { position < lines.count && lines[position].first == UInt8(ascii: "\\") }

    private func withoutEnd(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == UInt8(ascii: "\n") ? line.dropLast() : line
    }

    private func range(_ text: Substring, _ sign: Character) -> (start: Int, count: Int)? {
        guard text.first == sign else { return nil }
        let numbers = text.dropFirst().split(separator: ",").map { Int($0) }
        guard (1...2).contains(numbers.count), let start = numbers[0], (0..<1 << 31).contains(start) else { return nil }
        guard numbers.count == 2 else { return (start, 1) }
        guard let count = numbers[1], (0..<1 << 31).contains(count) else { return nil }
        return (start, count)
    }
}

/// Git quotes names with unusual bytes as C strings do.
private func unquoted(_ name: String) -> String {
    guard name.hasPrefix("\""), name.hasSuffix("\""), name.utf8.count >= 2 else { return name }
    var bytes: [UInt8] = []
    var rest = Array(name.utf8.dropFirst().dropLast())[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
            bytes.append(byte)
            continue
        }
        switch escape {
        case UInt8(ascii: "n"): bytes.append(UInt8(ascii: "\n"))
        case UInt8(ascii: "t"): bytes.append(UInt8(ascii: "\t"))
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            var value = Int(escape - UInt8(ascii: "0"))
            for digit in rest.prefix(2) where (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) {
                value = value * 8 + Int(digit - UInt8(ascii: "0"))
                rest = rest.dropFirst()
            }
            bytes.append(UInt8(truncatingIfNeeded: value))
        default: bytes.append(escape)
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
