import Diagnostics
import Glibc
import SourceChanges
import TestSupport

@testable import Recompiling

/// A small source tree with compile commands, in a temporary directory.
struct SourceTree {
    /// Symbolic links resolved, as the passes want it.
    var root: String
    var scratch: String
    let base: String
    var units: [CompileUnit] = []

    init(_ files: [String: String]) throws {
        base = "\(temporaryDirectory)/patchbuild-source-\(UInt64.random(in: 0 ... .max))"
        root = base + "/tree"
        scratch = base + "/scratch"
        try makeDirectory(root)
        try makeDirectory(scratch)
        for (path, text) in files { try write(text, to: path) }
        // What tests write later shall be newer, however coarse the file system's clock.
        var old = [timespec](repeating: timespec(tv_sec: time(nil) - 60, tv_nsec: 0), count: 2)
        for path in files.keys { utimensat(AT_FDCWD, root + "/" + path, &old, 0) }
    }

    func write(_ text: String, to path: String) throws {
        let full = root + "/" + path
        try makeDirectory("/" + full.split(separator: "/").dropLast().joined(separator: "/"))
        try writeText(text, to: full)
    }

    /// Adds a command `gcc FLAGS -c -o STEM.o PATH`, run in the root.
    mutating func add(
        _ path: String, _ flags: [String] = ["-O2"], output: String? = nil, compiler: String = "gcc"
    ) {
        let output = output ?? path.split(separator: ".").dropLast().joined(separator: ".") + ".o"
        units.append(
            CompileUnit(
                directory: root, file: root + "/" + path, arguments: [compiler] + flags + ["-c", "-o", output, path],
                output: root + "/" + output))
    }

    var database: CompileDatabase { CompileDatabase(path: root + "/compile_commands.json", units: units) }

    /// Runs the recorded commands, as the build did.
    func build() throws {
        for unit in units { try runOrThrow("gcc", Array(unit.arguments.dropFirst()), in: root) }
        try writeText("[]", to: database.path)
    }

    /// The change that gives files these texts; nil removes one.
    func change(_ texts: [String: String?], origin: SourceChange.Origin = .diffs) -> SourceChange {
        let files = texts.sorted { $0.key < $1.key }.map { path, text in
            let known = fileExists(root + "/" + path)
            return ChangedFile(
                path: path, original: known ? readBytes(root + "/" + path) : nil, new: text.map { Array($0.utf8) })
        }
        return SourceChange(root: root, origin: origin, files: files)
    }

    func remove() { removeTree(base) }
}

/// The rules by which `body` refuses; empty when it does not.
func refusedRules(_ body: () async throws -> Void) async -> [String] {
    do { try await body() } catch let error as Refusals { return error.refusals.map(\.rule) } catch let error as Refusal
    {
        return [error.rule]
    } catch { return ["\(error)"] }
    return []
}

/// As a build finds them, by the record of the tree where there is one.
func affectedUnits(of change: SourceChange, in database: CompileDatabase) async throws -> AffectedUnits {
    try await affectedUnits(
        of: change, in: database, by: BuildRecord(database: database, root: change.root))
}
