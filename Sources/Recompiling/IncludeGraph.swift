import FoundationEssentials
import Glibc
import SourceChanges
import Toolchain

/// Which file might include which, told from the text alone: too many by design, never too few. It tells cheaply which
/// units need not be asked for their dependencies.
///
/// An `#include` is taken to mean every file of that name, whatever its directory and whatever `#if` it stands in; a
/// `#define` of a file's name counts as an include of it. Where a macro is included that no `#define` explains, the
/// file may read anything.
package struct IncludeGraph {
    /// Every file of the tree (and of build directories outside of it) by its last component.
    private var named: [String: [String]] = [:]
    /// By file: the files that might include it.
    private var includers: [String: Set<String>] = [:]
    private var computes: Set<String> = []
    /// By last component of a file's name: the files whose assembler code may hold its bytes.
    private var embedding: [String: Set<String>] = [:]
    /// Contents that differ from those on disk: both versions of changed files.
    private var versions: [String: [[UInt8]]] = [:]

    package init(units: [CompileUnit], change: SourceChange) throws {
        var paths = Set(try files(below: change.root).map { change.root + "/" + $0 })
        for directory in Set(units.map(\.directory)) where !(directory + "/").hasPrefix(change.root + "/") {
            guard !(change.root + "/").hasPrefix(directory + "/") else { continue }
            for path in (try? files(below: directory)) ?? [] { paths.insert(directory + "/" + path) }
        }
        for file in change.files {
            paths.insert(change.path(of: file))
            versions[change.path(of: file)] = [file.original, file.new].compactMap { $0 }
        }
        for path in paths { named[baseName(path), default: []].append(path) }
        var forced: [String: Set<String>] = [:]
        for unit in units { forced[unit.file, default: []].formUnion(unit.forcedIncludes.map(baseName)) }
        follow(from: Set(units.map(\.file)), forced: forced)
    }

    /// The files among which any file that reads `path` is, `path` included.
    /// - Parameter computed: files that include what a macro names may read it too.
    package func readers(of path: String, computed: Bool) -> Set<String> {
        var found: Set<String> = computed ? computes.union([path]) : [path]
        var waiting = Array(found)
        while let file = waiting.popLast() {
            for includer in includers[file] ?? [] where found.insert(includer).inserted { waiting.append(includer) }
        }
        return found
    }

    private func destination(of path: String) -> [String] {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return [] }
        return [resolvedPath(path)]
    }

    /// The files among which any file is whose unit holds the bytes of `path` by an `.incbin`.
    func embedders(of path: String) -> Set<String> {
        embedding[baseName(path), default: []].reduce(into: []) { $0.formUnion(readers(of: $1, computed: false)) }
    }

    /// All files of the tree, and of build directories outside of it.
    var allFiles: [String] { named.values.flatMap(\.self) }

    private mutating func follow(from start: Set<String>, forced: [String: Set<String>]) {
        var seen = start
        var waiting = Array(start)
        while let file = waiting.popLast() {
            var names = forced[file] ?? []
            let texts = versions[file] ?? FileManager.default.contents(atPath: file).map { [[UInt8]($0)] } ?? []
            for text in texts {
                let scan = IncludeScan(text)
                names.formUnion(scan.names)
                if scan.computes { computes.insert(file) }
                for name in scan.embedded { embedding[name, default: []].insert(file) }
            }
            // A link may have another name than what it leads to.
            for included in names.flatMap({ named[$0] ?? [] }) + destination(of: file) where included != file {
                includers[included, default: []].insert(file)
                if seen.insert(included).inserted { waiting.append(included) }
            }
        }
    }
}

/// The names of files in the directives of one text.
struct IncludeScan {
    /// Last components of names.
    var names: Set<String> = []
    /// A macro is included.
    var computes = false
    /// Last components of what may be names of files whose bytes assembler code takes in (`.incbin`, and macros called
    /// so).
    var embedded: Set<String> = []

    init(_ text: [UInt8]) {
        text.withUnsafeBufferPointer { bytes in
            var at = 0
            while let mark = bytes[at...].firstIndex(of: UInt8(ascii: "#")) {
                at = mayBeDirective(bytes, mark) ? directive(bytes, from: mark + 1) : mark + 1
            }
            readEmbedded(bytes)
        }
    }

    private mutating func readEmbedded(_ bytes: UnsafeBufferPointer<UInt8>) {
        let (upper, lower) = (Array("INCBIN".utf8), Array("incbin".utf8))
        var at = 0
        while let next = bytes[at...].firstIndex(where: { $0 | 0x20 == UInt8(ascii: "i") }) {
            at = next + 1
            guard bytes[next...].starts(with: lower) || bytes[next...].starts(with: upper) else { continue }
            // The name stands between quotes, perhaps escaped ones, of a literal that may be put together of several.
            let rest = bytes[next...].prefix(1_000).prefix { $0 != UInt8(ascii: ";") }
            for piece in rest.split(separator: UInt8(ascii: "\"")).dropFirst() {
                let name = piece.filter { $0 != UInt8(ascii: "\\") }.split(separator: UInt8(ascii: "/")).last ?? []
                if !name.isEmpty, name.count < 256 { embedded.insert(String(decoding: name, as: UTF8.self)) }
            }
        }
    }

    /// Only blanks and comments stand before the mark of a directive: `/* the last #include files are these` is none.
    private func mayBeDirective(_ bytes: UnsafeBufferPointer<UInt8>, _ mark: Int) -> Bool {
        var at = mark
        var isBlank = true
        while at > 0, bytes[at - 1] != 10 {
            // Few lines are longer, and each mark on one would be looked at from its beginning.
            if mark - at > 4_000 { return true }
            at -= 1
            if bytes[at] == UInt8(ascii: "/"), at > 0, bytes[at - 1] == UInt8(ascii: "*") { return true }
            // A byte order mark may stand before it too.
            if !(9...13).contains(bytes[at]), bytes[at] != 32, bytes[at] < 0x80 { isBlank = false }
        }
        // The line before may go on here, with half a comment's end.
        let isSpliced = bytes[..<max(0, at - 1)].suffix(2).contains(UInt8(ascii: "\\"))
        return isBlank || isSpliced
    }

    /// Reads what may be a directive whose name begins at or behind `start`; returns where to go on.
    private mutating func directive(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var at = start
        while at < bytes.count, bytes[at] == 32 || bytes[at] == 9 { at += 1 }
        let words = ["include", "import", "embed", "define", "if", "elif", "/", "\\"]
        let head = bytes[at..<min(at + 8, bytes.count)]
        guard words.contains(where: { head.starts(with: $0.utf8) }) || head.contains(UInt8(ascii: "\\")) else {
            return max(start, at)
        }
        let end = bytes[at...].firstIndex(of: 10) ?? bytes.count
        let line = bytes[at..<end]
        let includes = ["include", "import", "embed"].contains { line.starts(with: $0.utf8) }
        // `#inc\` and `lude` on the next line.
        if !includes, line.last == UInt8(ascii: "\\"), "include".utf8.starts(with: line.dropLast()) { computes = true }
        guard includes || ["define", "if", "elif", "/", "\\"].contains(where: { line.starts(with: $0.utf8) }) else {
            return max(start, at)
        }
        let found = quotedNames(line)
        names.formUnion(found)
        if found.isEmpty, includes { computes = true }
        // A continued directive may name its file on the next line: rare enough to take as unknown.
        if line.last == UInt8(ascii: "\\"), includes || line.first == UInt8(ascii: "\\") { computes = true }
        return max(start, end)
    }

    /// The last components of all that stands between quotes or angle brackets.
    private func quotedNames(_ line: Slice<UnsafeBufferPointer<UInt8>>) -> Set<String> {
        var names: Set<String> = []
        var rest = line
        while let open = rest.firstIndex(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "<") }) {
            let close = rest[open] == UInt8(ascii: "<") ? UInt8(ascii: ">") : UInt8(ascii: "\"")
            guard let end = rest[(open + 1)...].firstIndex(of: close) else {
                rest = rest[(open + 1)...]
                continue
            }
            let name = rest[(open + 1)..<end]
            let start = name.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? name.startIndex
            if start < end { names.insert(String(decoding: name[start...], as: UTF8.self)) }
            rest = rest[(end + 1)...]
        }
        return names
    }
}
