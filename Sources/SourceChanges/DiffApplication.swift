import Diagnostics
import FoundationEssentials
import Glibc

/// The original tree, by paths relative to its root.
public struct SourceFiles: Sendable {
    /// What a file holds, symbolic links followed; nil when there is none.
    var contents: @Sendable (String) -> [UInt8]?
    /// Where a symbolic link leads, as it is written; nil for anything else.
    var link: @Sendable (String) -> String?
    /// The path without symbolic links in its directories; nil where it leads out of the tree.
    var canonical: @Sendable (String) -> String?

    public init(
        contents: @escaping @Sendable (String) -> [UInt8]?,
        link: @escaping @Sendable (String) -> String? = { _ in nil },
        canonical: @escaping @Sendable (String) -> String? = { $0 }
    ) {
        (self.contents, self.link, self.canonical) = (contents, link, canonical)
    }

    /// - Parameter root: absolute, symbolic links resolved.
    public init(below root: String) {
        contents = { FileManager.default.contents(atPath: root + "/" + $0).map { [UInt8]($0) } }
        link = { try? FileManager.default.destinationOfSymbolicLink(atPath: root + "/" + $0) }
        canonical = { path in
            var (directory, rest) = (path.split(separator: "/").dropLast(), path.split(separator: "/").suffix(1))
            // A directory that the change adds is not there yet.
            while let last = directory.last {
                if let real = realpath((root + "/" + directory.joined(separator: "/")), nil) {
                    defer { free(real) }
                    let place = String(cString: real)
                    guard place == root || place.hasPrefix(root + "/") else { return nil }
                    return ([place.dropFirst(root.count + 1)] + rest).filter { !$0.isEmpty }.joined(separator: "/")
                }
                rest = [last] + rest
                directory = directory.dropLast()
            }
            return path
        }
    }
}

/// Applies unified diffs in memory, in order, as `patch -p1 --fuzz=0` would: hunks may have moved, but every line of
/// context and every removed line must be there.
///
/// - Parameters:
///   - root: the original tree, absolute.
///   - tree: its files.
/// - Throws: `Refusals` diff-does-not-apply, one for each file that fails, with hunk and reason.
public func applyDiffs(_ diffs: [NamedBytes], root: String, to tree: SourceFiles) throws -> SourceChange {
    var application = DiffApplication(tree: tree)
    for diff in diffs {
        for file in try DiffParser.parse(diff) { application.apply(file, of: diff.name) }
    }
    application.followLinks()
    guard application.refusals.isEmpty else { throw Refusals(application.refusals) }
    let files = application.files.sorted { $0.key < $1.key }.map { path, state in
        ChangedFile(path: path, original: state.original, new: state.new)
    }
    return SourceChange(
        root: root, origin: .diffs, files: files.filter { $0.original != $0.new }, ignored: application.ignored,
        diffs: diffs)
}

/// The files that a diff touches, relative to the tree's root, each once; of one that is renamed, both names.
/// - Throws: `Refusal` diff-does-not-apply where the diff is malformed.
public func touchedFiles(of diff: NamedBytes) throws -> [String] {
    var paths: [String] = []
    for file in try DiffParser.parse(diff) {
        for name in [file.oldName, file.newName] {
            if let path = stripped(name), !path.isEmpty, !paths.contains(path) { paths.append(path) }
        }
    }
    return paths
}

/// Reads the diffs and the files they touch from disk; nothing is written.
/// - Throws: `Refusal` bad-input when a diff can't be read; `Refusals` diff-does-not-apply.
public func applyDiffs(at paths: [String], root: String) throws -> SourceChange {
    let diffs = try paths.map { path in
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Refusal(.badInput, subject: path, why: "the diff can't be read")
        }
        return NamedBytes(name: path.split(separator: "/").last.map(String.init) ?? path, bytes: [UInt8](data))
    }
    return try applyDiffs(diffs, root: root, to: SourceFiles(below: root))
}

private struct DiffApplication {
    /// A touched file before all diffs and after those applied so far.
    struct State {
        var original: [UInt8]?
        var new: [UInt8]?
        /// Where the diffs make a symbolic link lead; its contents are those of that file.
        var link: String?
        /// The diff that did so.
        var diff = ""
    }

    let tree: SourceFiles
    var files: [String: State] = [:]
    var ignored: [IgnoredFile] = []
    var refusals: [Refusal] = []

    init(tree: SourceFiles) { self.tree = tree }

    func state(_ path: String) -> State {
        if let state = files[path] { return state }
        let contents = tree.contents(path)
        return State(original: contents, new: contents)
    }

    mutating func apply(_ file: FileDiff, of diff: String) {
        guard let old = stripped(file.oldName).flatMap(tree.canonical),
            let new = stripped(file.newName).flatMap(tree.canonical)
        else {
            refuse(
                file.newName ?? file.oldName ?? "?", diff, "the name leads out of the tree, or has no directory for -p1"
            )
            return
        }
        let path = target(old: old, new: new)
        do throws(HunkFailure) {
            if file.wasLink || file.isLink {
                try patchLink(file, path: path, of: diff)
            } else {
                try patch(file, path: path, old: old, new: new)
            }
        } catch {
            let kind = FileClass(path: path)
            if kind.isHarmless || kind == .tests {
                ignored.append(IgnoredFile(path: path, why: "\(error.why); it is \(kind.words)"))
            } else {
                refuse(path, diff, error.why)
            }
        }
    }

    /// The file that is meant: the first of new and old name that exists, as `patch` chooses.
    private func target(old: String, new: String) -> String {
        if new.isEmpty { return old }
        if old.isEmpty || state(new).new != nil { return new }
        return state(old).new != nil && old != new ? old : new
    }

    private mutating func patch(_ file: FileDiff, path: String, old: String, new: String) throws(HunkFailure) {
        if file.isBinary { throw HunkFailure("it is a binary diff, which can't be applied") }
        let moved = (file.isRenamed || file.isCopied) && old != new
        let source = moved ? state(old) : state(path)
        let creates = old.isEmpty || file.hunks.contains { $0.oldStart == 0 && $0.old.isEmpty }
        if creates, let contents = source.new, !contents.isEmpty { throw HunkFailure("it exists already") }
        guard let contents = source.new ?? (creates ? [] : nil) else {
            throw HunkFailure("there is no such file in the tree")
        }
        let result = try applyHunks(file.hunks, to: contents)
        if new.isEmpty, !result.isEmpty {
            throw HunkFailure("the diff removes it, but it holds more than the diff says")
        }
        let removed = new.isEmpty || (file.isRemovedIfEmpty && result.isEmpty)
        if moved, file.isRenamed { files[old] = State(original: state(old).original, new: nil) }
        let place = moved ? new : path
        files[place] = State(original: state(place).original, new: removed ? nil : result)
    }

    /// A link that comes, goes or leads elsewhere. Compilers and commands see the file at its end.
    private mutating func patchLink(_ file: FileDiff, path: String, of diff: String) throws(HunkFailure) {
        if file.isRenamed || file.isCopied { throw HunkFailure("it renames or copies a symbolic link") }
        let before = state(path)
        let link = before.link ?? (before.new == nil ? nil : tree.link(path))
        if file.wasLink, link == nil { throw HunkFailure("there is no such symbolic link in the tree") }
        if !file.wasLink, before.new != nil || tree.link(path) != nil && files[path] == nil {
            throw HunkFailure("it exists already")
        }
        let result = String(decoding: try applyHunks(file.hunks, to: Array((link ?? "").utf8)), as: UTF8.self)
        files[path] = State(original: before.original, new: nil, link: file.isLink ? result : nil, diff: diff)
    }

    /// A file that is edited through a link is the file at its end; a link holds what the file at its end holds.
    mutating func followLinks() {
        for (path, state) in files.sorted(by: { $0.key < $1.key }) where state.link == nil && state.new != nil {
            guard state.original != nil, let link = tree.link(path), let end = target(of: link, at: path) else {
                continue
            }
            // `diff -r` names a file once for each link to it.
            if let other = files[end], other.new != state.new {
                refuse(path, "", "it is a symbolic link to \(end), which the diffs change in another way")
                continue
            }
            files[path] = nil
            files[end] = State(original: tree.contents(end), new: state.new)
        }
        for (path, state) in files.sorted(by: { $0.key < $1.key }) {
            guard let link = state.link else { continue }
            let end = target(of: link, at: path).map { self.state($0) }
            guard let end, end.link == nil, let contents = end.new else {
                refuse(path, state.diff, "it is a symbolic link to \(link), which is no file of the tree")
                continue
            }
            files[path]?.new = contents
        }
    }

    /// The file of the tree that a link leads to.
    private func target(of link: String, at path: String) -> String? {
        guard !link.hasPrefix("/") else { return nil }
        var parts = path.split(separator: "/").dropLast()
        for part in link.split(separator: "/") where part != "." {
            if part != ".." { parts.append(part) } else if parts.popLast() == nil { return nil }
        }
        return tree.canonical(parts.joined(separator: "/"))
    }

    private mutating func refuse(_ path: String, _ diff: String, _ why: String) {
        refusals.append(Refusal(.diffDoesNotApply, subject: path, why: diff.isEmpty ? why : "\(diff): \(why)"))
    }
}

/// `-p1`: without the first component; empty for /dev/null; nil for a name that leads out of the tree.
private func stripped(_ name: String?) -> String? {
    guard let name else { return "" }
    let parts = name.split(separator: "/").filter { $0 != "." }.dropFirst()
    return parts.isEmpty || parts.contains("..") ? nil : parts.joined(separator: "/")
}

struct HunkFailure: Error {
    var why: String
    init(_ why: String) { self.why = why }
}

/// - Throws: `HunkFailure` with the hunk and the reason.
func applyHunks(_ hunks: [Hunk], to contents: [UInt8]) throws(HunkFailure) -> [UInt8] {
    let lines = linesWithEnds(contents)
    let usesCarriageReturns = lines.first.map(endsWithCarriageReturn) ?? false
    var result: [UInt8] = []
    var done = 0
    var shift = 0
    for (number, hunk) in hunks.enumerated() {
        var (old, new) = (hunk.old, hunk.new)
        let expected = (old.isEmpty ? hunk.oldStart : hunk.oldStart - 1) + shift
        var places = matches(of: old, in: lines, from: done, expected: expected)
        if places.isEmpty {
            // A diff that lost (or gained) carriage returns on its way still fits line by line.
            old = old.map { lineEnd($0, carriageReturn: usesCarriageReturns) }
            new = new.map { lineEnd($0, carriageReturn: usesCarriageReturns) }
            places = matches(of: old, in: lines, from: done, expected: expected)
        }
        guard places.count == 1, let place = places.first else {
            throw HunkFailure(reason(hunk, number: number + 1, places: places, lines: lines, from: done))
        }
        result += lines[done..<place].joined()
        result += new.joined()
        done = place + old.count
        shift = place - (expected - shift)
    }
    return result + lines[done...].joined()
}

/// Where `old` stands in `lines`: the expected place alone if it is there, else every place.
private func matches(of old: [ArraySlice<UInt8>], in lines: [ArraySlice<UInt8>], from: Int, expected: Int) -> [Int] {
    func fits(_ place: Int) -> Bool { lines[place..<place + old.count].elementsEqual(old, by: ==) }
    // Nothing proves the place of lines that are added without any context.
    if old.isEmpty { return lines.isEmpty ? [0] : [] }
    guard lines.count - from >= old.count else { return [] }
    let range = from...(lines.count - old.count)
    if range.contains(expected), fits(expected) { return [expected] }
    return range.filter(fits)
}

private func reason(_ hunk: Hunk, number: Int, places: [Int], lines: [ArraySlice<UInt8>], from: Int) -> String {
    let name = "hunk \(number) (line \(hunk.line) of the diff)"
    if places.count > 1 {
        let numbers = places.prefix(4).map { "\($0 + 1)" }.joined(separator: ", ")
        return "\(name) fits at several places, lines \(numbers), and at none of them without an offset"
    }
    if hunk.old.isEmpty { return "\(name) has no line of context, so nothing proves its place" }
    if !matches(of: hunk.new, in: lines, from: from, expected: hunk.newStart - 1).isEmpty {
        return "\(name) seems to be applied already"
    }
    let line = hunk.oldStart - 1
    for (index, text) in hunk.old.enumerated() where line + index < lines.count && line >= 0 {
        guard lines[line + index] != text else { continue }
        let found = String(decoding: lines[line + index], as: UTF8.self).split(whereSeparator: \.isNewline).first ?? ""
        return "\(name) does not match: line \(line + index + 1) of the file is \"\(found)\""
    }
    return "\(name) does not match"
}

private func endsWithCarriageReturn(_ line: ArraySlice<UInt8>) -> Bool { line.suffix(2).elementsEqual([13, 10]) }

private func lineEnd(_ line: ArraySlice<UInt8>, carriageReturn: Bool) -> ArraySlice<UInt8> {
    guard line.last == 10 else { return line }
    let text = endsWithCarriageReturn(line) ? line.dropLast(2) : line.dropLast()
    return text + (carriageReturn ? [13, 10] : [10])
}
