import FoundationEssentials
import Glibc
import SourceChanges

/// A file of the build that is what a touched file was, and that a unit reads in its place.
struct CopiedFile {
    /// The touched file's path in the tree, and the copy's absolute one.
    var original: String
    var copy: String
    /// The source of a unit that reads the copy.
    var reader: String
}

/// Copies that a build has made of touched files (`cp src/api.h include/`, `install`, `configure_file(… COPYONLY)`): units
/// that read those are not found by the touched file's name, and go on reading the old text.
///
/// They are told by their contents, whatever they are called. A link to the touched file is none.
/// - Parameter answers: what units that were asked already read.
func copies(
    of change: SourceChange, units: [CompileUnit], graph: IncludeGraph, answers: [Int: UnitDependencies] = [:]
) async throws -> [CopiedFile] {
    let touched = Set(change.files.map { change.path(of: $0) })
    let sized = Dictionary(
        grouping: change.files.filter { !($0.original ?? []).isEmpty && $0.original != $0.new },
        by: { $0.original?.count ?? 0 })
    var found: [CopiedFile] = []
    for path in graph.allFiles.sorted() where !touched.contains(path) && !isHidden(path, below: change.root) {
        guard let size = sizeOfRegularFile(path), let candidates = sized[size],
            let data = FileManager.default.contents(atPath: path)
        else { continue }
        let bytes = [UInt8](data)
        for file in candidates where file.original == bytes {
            guard let reader = try await reader(of: path, units, graph, answers) else { continue }
            found.append(CopiedFile(original: file.path, copy: path, reader: reader))
        }
    }
    return found
}

private func reader(
    of path: String, _ units: [CompileUnit], _ graph: IncludeGraph, _ answers: [Int: UnitDependencies]
) async throws -> String? {
    if let unit = units.first(where: { $0.file == path }) { return unit.file }
    let possible = graph.readers(of: path, computed: false)
    let numbers = units.indices.filter { possible.contains(units[$0].file) }
    let more = try await unitDependencies(
        of: numbers.filter { answers[$0] == nil }.map { ($0, units[$0]) }, trustingFiles: false)
    return numbers.first { (answers[$0] ?? more[$0])?.files.contains(path) ?? false }.map { units[$0].file }
}

/// In a directory of version control or of a patch tool, which keeps old versions (`.pc`, `.git`).
private func isHidden(_ path: String, below root: String) -> Bool {
    guard path.hasPrefix(root + "/") else { return false }
    return path.dropFirst(root.count).split(separator: "/").dropLast().contains { $0.hasPrefix(".") }
}

private func sizeOfRegularFile(_ path: String) -> Int? {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return Int(status.st_size)
}
