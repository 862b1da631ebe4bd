import FoundationEssentials
import SourceChanges
import Toolchain

/// What the build scripts of a tree say about a file: whether something is generated from it.
///
/// Make, CMake and Meson files are read as text. It is evidence, not proof: a generator that takes its input from a
/// variable or by a pattern of its own is not seen.
struct BuildScripts {
    private var scripts: [(path: String, bytes: [UInt8])] = []

    init(root: String) throws {
        for path in try files(below: root).filter(BuildScripts.isRead).sorted() {
            guard let data = FileManager.default.contents(atPath: root + "/" + path), data.count < 1 << 20 else {
                continue
            }
            scripts.append((path, [UInt8](data)))
        }
    }

    private static func isRead(_ path: String) -> Bool {
        // Most files of a tree are none by their last letter.
        guard let last = path.utf8.last, "emdtks".utf8.contains(last | 0x20) else { return false }
        let name = baseName(path).lowercased()
        return name == "makefile" || name == "gnumakefile" || name == "makefile.am" || name == "meson.build"
            || name == "cmakelists.txt" || name.hasSuffix(".mk") || name.hasSuffix(".cmake") || path == "debian/rules"
    }

    /// A line that makes source from the file: `table.c: table.txt`, or a recipe that runs an interpreter on it.
    func generates(from path: String) -> String? {
        place(path) { line, _, _ in
            guard mentions(line, path) else { return false }
            return makesSource(line, from: baseName(path))
        }
    }

    /// A line that names the file, or its kind (`commands/*.json`), other than to install, distribute or link with it, or to
    /// make pages of a manual that has its name (`FILES += foo.conf` in `doc/Makefile`).
    func names(_ path: String) -> String? {
        place(path) { line, head, script in
            let word = (head + line).lowercased()
            return !listsForDistribution(head) && mentions(line, path) && !isOfTheLinker(line, head)
                && (!isOfDocuments(script) || makesSource(line, from: baseName(path)))
                && !["install", "dist", "clean", "rm -"].contains { word.contains($0) }
        }
    }

    /// A line that gives the file to the linker as the list of what a library exports.
    func exports(by path: String) -> String? {
        place(path) { line, _, _ in mentions(line, path) && exportOptions.contains { line.contains($0) } }
    }

    private func isOfDocuments(_ script: String) -> Bool {
        [.documentation, .tests].contains(FileClass(path: script.dropLast(baseName(script).count) + "x"))
    }

    private let exportOptions = ["version-script", "-export-symbols", "-retain-symbols-file"]

    /// It is given as such a list, or makes a library depend on it.
    private func isOfTheLinker(_ line: String, _ head: String) -> Bool {
        if exportOptions.contains(where: { line.contains($0) }) { return true }
        let name =
            head.prefix { !"=:(+?".contains($0) }.split(whereSeparator: \.isWhitespace).last.map(String.init) ?? ""
        return name.hasSuffix("_DEPENDENCIES") || name == "link_depends" || line.contains("LINK_DEPENDS")
    }

    /// The first line that the predicate takes; it gets the line, the line that this one continues (or itself), and the
    /// script.
    private func place(_ path: String, where predicate: (String, String, String) -> Bool) -> String? {
        let name = baseName(path)
        let type = name.split(separator: ".").dropFirst().last.map { "*.\($0)" } ?? name
        let patterns = [Array(name.utf8), Array(type.utf8)]
        func speaksOfIt(_ bytes: ArraySlice<UInt8>) -> Bool { patterns.contains { contains(bytes, $0) } }
        // Most scripts say nothing of the file, and most lines of the others.
        for script in scripts where speaksOfIt(script.bytes[...]) {
            let lines = script.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            var head: ArraySlice<UInt8> = []
            var continues = false
            for (index, line) in lines.enumerated() {
                if !continues { head = line }
                continues = line.last == UInt8(ascii: "\\")
                if speaksOfIt(line),
                    predicate(
                        String(decoding: line, as: UTF8.self), String(decoding: head, as: UTF8.self), script.path)
                {
                    return "\(script.path):\(index + 1)"
                }
            }
        }
        return nil
    }

    /// `EXTRA_DIST = …`: what goes into the archive of the source, which says nothing of its use.
    private func listsForDistribution(_ head: String) -> Bool {
        guard head.first?.isWhitespace == false, let equals = head.firstIndex(of: "=") else { return false }
        let name = head[..<equals].drop { $0 == " " }.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
        return name.contains("DIST") && head[name.endIndex..<equals].allSatisfy { " \t+:?".contains($0) }
    }

    private func contains(_ bytes: ArraySlice<UInt8>, _ pattern: [UInt8]) -> Bool {
        guard let first = pattern.first else { return false }
        return bytes.withUnsafeBufferPointer { bytes in
            var at = 0
            while let next = bytes[at...].firstIndex(of: first) {
                if bytes[next...].starts(with: pattern) { return true }
                at = next + 1
            }
            return false
        }
    }

    private func mentions(_ line: String, _ path: String) -> Bool {
        if line.drop(while: \.isWhitespace).hasPrefix("#") { return false }
        let parts = path.split(separator: "/").map(String.init)
        let name = parts.last ?? path
        if words(line).contains(where: { baseName($0) == name }) { return true }
        guard parts.count > 1, let type = name.split(separator: ".").dropFirst().last else { return false }
        return line.contains("\(parts[parts.count - 2])/*.\(type)")
    }

    private func words(_ line: String) -> [String] {
        line.split { " \t:;()\"'=,<>|&`".contains($0) }.map(String.init)
    }

    private func makesSource(_ line: String, from name: String) -> Bool {
        let types = [".c", ".h", ".cc", ".cpp", ".hh", ".hpp", ".inc", ".def"]
        func isSource(_ word: String) -> Bool { types.contains { word.hasSuffix($0) } && baseName(word) != name }
        if line.first?.isWhitespace == false, let colon = line.firstIndex(of: ":"),
            !words(String(line[colon...])).isEmpty
        {
            let afterColon = words(String(line[colon...])).contains { baseName($0) == name }
            if afterColon, words(String(line[..<colon])).contains(where: isSource) { return true }
        }
        let tools = [
            "awk", "sed", "cat", "perl", "python", "python3", "m4", "gperf", "$(AWK)", "$(SED)", "$(PERL)", "$(PYTHON)",
        ]
        let all = line.split { $0 == " " || $0 == "\t" }.map(String.init)
        let runs = all.contains { word in tools.contains { baseName(word) == $0 || word.hasSuffix($0) } }
        return runs && words(line).contains(where: isSource)
    }
}
