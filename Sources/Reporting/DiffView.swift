import Reviewing

/// The source diffs, a file at a time.
struct DiffView {
    /// One file of a diff.
    struct File {
        var path: String
        /// The two lines with its names first.
        var lines: [Substring]
        var added: Int { lines.dropFirst(2).count { $0.hasPrefix("+") } }
        var removed: Int { lines.dropFirst(2).count { $0.hasPrefix("-") } }
    }

    /// What stands before the first file (a commit's message), and the files.
    static func split(_ text: String) -> (head: [Substring], files: [File]) {
        var head: [Substring] = []
        var files: [File] = []
        // Lines of either end: the two characters of the one are one `Character`.
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        var inHunk = (old: 0, new: 0)
        for (index, line) in lines.enumerated() {
            let isInside = inHunk.old > 0 || inHunk.new > 0
            let next = lines.dropFirst(index + 1).first ?? ""
            if !isInside, line.hasPrefix("--- "), next.hasPrefix("+++ ") {
                files.append(File(path: path(line, next), lines: []))
            }
            if !isInside, let counts = hunkCounts(line) {
                inHunk = counts
            } else if isInside {
                if line.first != "+", line.first != "\\" { inHunk.old -= 1 }
                if line.first != "-", line.first != "\\" { inHunk.new -= 1 }
            } else if !files.isEmpty, !line.hasPrefix("--- "), !line.hasPrefix("+++ ") {
                // Between two files: git's lines, or the end.
                continue
            }
            if files.isEmpty { head.append(line) } else { files[files.count - 1].lines.append(line) }
        }
        return (head, files)
    }

    /// Lines of both files that a hunk has, from its first line.
    private static func hunkCounts(_ line: Substring) -> (old: Int, new: Int)? {
        guard line.hasPrefix("@@ -") else { return nil }
        let words = line.split(separator: " ")
        guard words.count >= 4, let old = count(words[1]), let new = count(words[2]) else { return nil }
        return (old, new)
    }

    private static func count(_ range: Substring) -> Int? {
        let parts = range.dropFirst().split(separator: ",")
        guard let first = parts.first, Int(first) != nil else { return nil }
        let count = parts.count > 1 ? Int(parts[1]) : 1
        return count.flatMap { (0...10_000_000).contains($0) ? $0 : nil }
    }

    private static func path(_ old: Substring, _ new: Substring) -> String {
        let names = [new, old].map { line -> Substring in
            let name = line.dropFirst(4).prefix { $0 != "\t" }
            return name.hasPrefix("a/") || name.hasPrefix("b/") ? name.dropFirst(2) : name
        }
        return String(names.first { $0 != "/dev/null" } ?? "?")
    }

    /// - Parameter ignored: by path, why a file is not compiled.
    static func view(_ diff: ReviewDiff, number: Int, ignored: [String: String]) -> HTML {
        let (head, files) = split(diff.text)
        let message = head.joined(separator: "\n")
        var markup: HTML = "<article class=diff><h3>\(diff.name)</h3>"
        if !message.allSatisfy(\.isWhitespace) {
            markup += "<details><summary>Its description</summary><pre class=msg>\(message)</pre></details>"
        }
        for (index, file) in files.enumerated() {
            let counts: HTML = "<span class=cnt><ins>+\(file.added)</ins> <del>−\(file.removed)</del></span>"
            let why = ignored[file.path]
            let open: HTML = file.lines.count > 400 || why != nil ? "" : " open"
            let tag: HTML = why.map { "<span class=quiet>not compiled: \($0)</span>" } ?? ""
            markup +=
                "<details class=file id=\"d\(number)-\(index)\"\(open)><summary><code>\(file.path)</code> \(counts) \(tag)</summary>"
            markup += "<pre class=code>\(file.lines.dropFirst(2).map(line).joined())</pre></details>"
        }
        if diff.omittedLines > 0 {
            markup +=
                "<p class=warn>\(counted(diff.omittedLines, "line")) more were left out: the diff is too long for a review.</p>"
        }
        return markup + "</article>"
    }

    private static func line(_ line: Substring) -> HTML {
        switch line.first {
        case "+": "<ins>\(line)</ins>"
        case "-": "<del>\(line)</del>"
        case "@": "<b>\(line)</b>"
        default: "\(line)\n"
        }
    }
}

extension HTML {
    static func + (left: HTML, right: HTML) -> HTML {
        var all = left
        all += right
        return all
    }
}
