import FoundationEssentials
import Recompiling
import Reviewing
import SourceChanges
import Toolchain

/// The text of source lines that debug information names, before and after the change.
struct SourceTexts {
    private let change: SourceChange?
    /// Where the changed files lie with their line numbers pinned.
    private let pinned: String
    /// Paths relative to the tree.
    private(set) var names: [String] = []
    private var indices: [String: Int] = [:]
    private var changed: [String: ChangedLines] = [:]
    private var unchanged: [String: [String]] = [:]
    private var known: [Line: SourcePlace] = [:]

    /// A line as debug information names it; many instructions have the same.
    private struct Line: Hashable {
        var name: String
        var number: Int
        var isNew: Bool
        var isPinned: Bool
    }

    init(_ change: SourceChange?, pinned: String) {
        self.change = change
        self.pinned = pinned
    }

    /// - Parameters:
    ///   - name: the file as debug information has it.
    ///   - isPinned: the number is that of the file with `#line` directives.
    mutating func place(_ name: String, _ number: Int, isNew: Bool, isPinned: Bool) -> SourcePlace {
        let line = Line(name: name, number: number, isNew: isNew, isPinned: isPinned)
        if let place = known[line] { return place }
        let place = newPlace(name, number, isNew: isNew, isPinned: isPinned)
        known[line] = place
        return place
    }

    private mutating func newPlace(_ name: String, _ number: Int, isNew: Bool, isPinned: Bool) -> SourcePlace {
        let (path, full) = paths(of: name)
        var place = SourcePlace(file: index(of: path), line: number, text: "", isTouched: false)
        guard let change, let file = change.files.first(where: { change.path(of: $0) == full }) else {
            place.text = Self.bounded(unchangedLines(full), number - 1)
            return place
        }
        let lines = changedLines(file)
        if !isNew {
            place.text = Self.bounded(lines.original, number - 1)
            place.isTouched = lines.removed.contains(number - 1)
            return place
        }
        let index = isPinned ? lines.pinned[number] ?? number - 1 : number - 1
        place.line = index + 1
        place.text = Self.bounded(lines.new, index)
        place.isTouched = lines.added.contains(index)
        return place
    }

    private static func bounded(_ lines: [String], _ index: Int) -> String {
        guard lines.indices.contains(index) else { return "" }
        return String(lines[index].prefix(Review.maximumText))
    }

    private mutating func index(of path: String) -> Int {
        if let known = indices[path] { return known }
        names.append(path)
        indices[path] = names.count - 1
        return names.count - 1
    }

    private mutating func changedLines(_ file: ChangedFile) -> ChangedLines {
        if let known = changed[file.path] { return known }
        let text = FileManager.default.contents(atPath: pinned + "/" + file.path).map { [UInt8]($0) }
        let lines = ChangedLines(file, pinned: text)
        changed[file.path] = lines
        return lines
    }

    /// The path of a system header stays as it is. Of other files outside of the tree, and without a tree, only the name is
    /// kept: where they lie is different on every machine.
    private func paths(of name: String) -> (shown: String, full: String) {
        guard let change else { return (baseName(name), name) }
        // Options that hide the build's directory put `.` in its place.
        let full = normalized(name, in: change.root)
        if full.hasPrefix(change.root + "/") { return (String(full.dropFirst(change.root.utf8.count + 1)), full) }
        return (full.hasPrefix("/usr/") ? full : baseName(full), full)
    }

    private mutating func unchangedLines(_ full: String) -> [String] {
        guard change != nil else { return [] }
        if let known = unchanged[full] { return known }
        let bytes = FileManager.default.contents(atPath: full) ?? Data()
        let ends = bytes.count <= 16 << 20 ? bytes.split(separator: 10, omittingEmptySubsequences: false) : []
        let lines = ends.map { String(decoding: $0.last == 13 ? $0.dropLast() : $0, as: UTF8.self) }
        unchanged[full] = lines
        return lines
    }
}
