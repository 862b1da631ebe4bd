import Diagnostics
import FoundationEssentials
import Glibc

/// Compares a second tree with the original: the same value that diffs give.
///
/// Passed over: version control, objects and other products of a build, the logs of `configure`, and files that the
/// new tree lacks because it was not built. A text that names the new tree's own path is read as if it named the
/// original's, so that generated files are not different for where they were generated.
///
/// - Parameters: absolute paths of the trees.
/// - Throws: `Refusal` bad-input when a directory can't be read.
public func compareTrees(original: String, new: String) throws -> SourceChange {
    let (oldFiles, newFiles) = (try files(below: original), try files(below: new))
    let built = newFiles.contains { $0.hasSuffix(".o") || $0.hasSuffix(".lo") }
    var changed: [ChangedFile] = []
    for path in newFiles.sorted() where !isProduct(path) {
        let old = oldFiles.contains(path) ? contents(original + "/" + path) : nil
        guard let fresh = contents(new + "/" + path), fresh != old, !isELF(fresh) else { continue }
        let text = replacing(new, by: original, in: fresh)
        if old != text { changed.append(ChangedFile(path: path, original: old, new: text)) }
    }
    // A file that only the original has was removed, or is made by the build, which an unbuilt tree can't tell.
    for path in oldFiles.subtracting(newFiles).sorted() where built && !isProduct(path) {
        guard let old = contents(original + "/" + path), !isELF(old) else { continue }
        changed.append(ChangedFile(path: path, original: old, new: nil))
    }
    return SourceChange(root: original, origin: .newSource(built: built), files: changed.sorted { $0.path < $1.path })
}

/// Compares what an overlay holds above `original` after a build with what is below.
///
/// - Parameters:
///   - upper: absolute path of a directory with the files that the build wrote, where they lie relative to the tree.
///   - removed: relative paths of files that are no more.
/// - Returns: files that differ, products of the build left out; sorted by path.
/// - Throws: `Refusal` bad-input when a directory can't be read.
public func compareOverlay(original: String, upper: String, removed: [String]) throws -> [ChangedFile] {
    var changed: [ChangedFile] = []
    for path in try files(below: upper) where !isProduct(path) {
        guard let fresh = contents(upper + "/" + path), !isELF(fresh) else { continue }
        let old = contents(original + "/" + path)
        if old != fresh { changed.append(ChangedFile(path: path, original: old, new: fresh)) }
    }
    for path in removed where !isProduct(path) {
        guard let old = contents(original + "/" + path), !isELF(old) else { continue }
        changed.append(ChangedFile(path: path, original: old, new: nil))
    }
    return changed.sorted { $0.path < $1.path }
}

/// Paths, relative to `root`, of the regular files (and links to such) below it; version control is left out.
/// - Throws: `Refusal` bad-input when `root` can't be read.
public func files(below root: String) throws -> Set<String> {
    var found: Set<String> = []
    var directories = [""]
    while let directory = directories.popLast() {
        guard let stream = opendir(root + "/" + directory) else {
            if !directory.isEmpty { continue }
            throw Refusal(.badInput, subject: root, why: "the directory can't be read")
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let path = directory.isEmpty ? name : directory + "/" + name
            switch Int32(entry.pointee.d_type) {
            case Int32(DT_DIR):
                if ![".", "..", ".git", ".hg", ".svn", ".bzr", ".pc", "CVS"].contains(name) {
                    directories.append(path)
                }
            case Int32(DT_REG), Int32(DT_LNK), Int32(DT_UNKNOWN): found.insert(path)
            default: break
            }
        }
    }
    return found
}

/// What a build leaves behind and no compile command reads.
private func isProduct(_ path: String) -> Bool {
    let parts = path.split(separator: "/")
    let name = String(parts.last ?? "")
    let types = [
        "o", "lo", "la", "a", "so", "d", "gcda", "gcno", "pyc", "log", "deb", "changes", "buildinfo", "gch", "pch",
        "dsc",
        "Po", "Plo", "tmp", "swp", "orig", "rej", "substvars", "debhelper", "status", "cache",
    ]
    let type = name.split(separator: ".").count > 1 ? String(name.split(separator: ".").last ?? "") : ""
    let names = [
        "compile_commands.json", "compile_commands.json.build", "build.graph", "config.log", "config.status", "libtool",
        "stamp-h1",
        "TAGS", "tags",
    ]
    let directories = ["autom4te.cache", ".libs", ".deps", "CMakeFiles", "__pycache__"]
    if parts.first == "debian", path != "debian/rules" { return true }
    return types.contains(type) || names.contains(name) || name.contains(".so.")
        || parts.dropLast().contains { directories.contains(String($0)) }
}

private func contents(_ path: String) -> [UInt8]? { FileManager.default.contents(atPath: path).map { [UInt8]($0) } }

private func isELF(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46]) }

/// `text` with each `path` in it that ends where a component does replaced.
public func replacingPath(_ path: String, by replacement: String, in text: String) -> String {
    String(decoding: replacing(path, by: replacement, in: Array(text.utf8)), as: UTF8.self)
}

/// `text` with each `path` that ends at a component's end replaced.
private func replacing(_ path: String, by replacement: String, in text: [UInt8]) -> [UInt8] {
    let pattern = Array(path.utf8)
    guard let first = pattern.first, !text.contains(0) else { return text }
    var result: [UInt8] = []
    var at = 0
    while let next = text[at...].firstIndex(of: first) {
        let end = next + pattern.count
        let isPath = text[next...].starts(with: pattern) && (end == text.count || !isPathByte(text[end]))
        result += text[at..<next]
        result += isPath ? Array(replacement.utf8) : [first]
        at = isPath ? end : next + 1
    }
    return at == 0 ? text : result + text[at...]
}

private func isPathByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
    default: false
    }
}
