import Diagnostics
import FoundationEssentials
import Glibc
import SourceChanges
import Toolchain

/// A change, and what the build's generators make of it.
struct RegeneratedChange {
    /// The diffs' files and the generated ones.
    var change: SourceChange
    /// Paths of the generated ones.
    var generated: [String]
}

/// Whether the recorded build, repeated with the change in it, may make what `refusals` miss: source that is generated.
func mayBeGenerated(_ refusals: [Refusal], _ change: SourceChange) -> Bool {
    let rules = [Rule.unreadSource, .sourceAndGenerator, .compileFailed].map(\.rawValue)
    return change.origin == .diffs
        && refusals.allSatisfy { rules.contains($0.rule) && FileClass(path: $0.subject) != .buildScript }
}

/// Repeats the recorded build over the changed tree, in a view of it that vanishes, for the source it generates (trap
/// source-and-generator).
///
/// What was generated anew is part of the change from here on, as in a second tree that was built.
/// - Throws: `Refusals`: those given, where the build can't be repeated, with the reason.
func regenerate(
    _ change: SourceChange, database: CompileDatabase, scratch: String, refusals: Refusals
) async throws -> RegeneratedChange {
    func giveUp(_ why: String) -> Refusals {
        Refusals(
            refusals.refusals.map { refusal in
                var refusal = refusal
                refusal.why += " (\(why))"
                return refusal
            })
    }
    guard let command = BuildCommand.read(besides: database.path) else {
        throw giveUp("the build can't be repeated to see: \(database.path) is not of `patchbuild record`")
    }
    // Source that is generated elsewhere is no part of a change of this tree.
    guard database.units.allSatisfy({ ($0.directory + "/").hasPrefix(change.root + "/") }) else {
        throw giveUp("the build can't be repeated to see: it has a directory of its own")
    }
    let kept = scratch + "/rebuilt"
    try createDirectory(kept)
    let view = try await SourceView.make(root: change.root, scratch: resolvedPath(scratch))
    let layer = try writeLayer(change, directory: resolvedPath(scratch) + "/changed")
    let environment = compilerEnvironment.merging(command.environment.mapValues { $0 }) { $1 }
    guard
        let job = view.rebuildJob(
            command.arguments, directory: command.directory, layer: layer,
            touched: change.files.filter { $0.new != nil }.map(\.path), kept: resolvedPath(kept),
            environment: environment)
    else { throw giveUp("the build can't be repeated to see: the system allows no namespaces") }
    let result = try await run(job)
    guard result.status == 0 else {
        throw giveUp("the build, repeated with the change, fails: \(result.message(lines: 2))")
    }
    let removed = (FileManager.default.contents(atPath: kept + "/removed")).map { String(decoding: $0, as: UTF8.self) }
    let whole = combine(
        change,
        with: try compareOverlay(
            original: change.root, upper: kept + "/files",
            removed: (removed ?? "").split(separator: "\n").map { String($0.dropFirst(2)) }))
    guard
        try generatorsRan(
            whole, refusals, written: files(below: kept + "/files"), scripts: BuildScripts(root: change.root))
    else {
        throw giveUp("the build, repeated with the change, runs no generator of it")
    }
    let graph = try IncludeGraph(units: database.units, change: change)
    let generated = Set(whole.generated.map { change.root + "/" + $0 })
    let left = try await copies(of: change, units: database.units, graph: graph).filter { !generated.contains($0.copy) }
    if let left = left.first { throw giveUp("the build, repeated with the change, does not copy it to \(left.copy)") }
    return whole
}

/// A build may know nothing of what its generators read (maintainer mode), and end well without running them: then it
/// proves nothing. A file that no unit reads must have an effect, unless it is a header, or a configuration, that no build
/// script makes source from; one that units read too, at least make source anew.
private func generatorsRan(
    _ whole: RegeneratedChange, _ refusals: Refusals, written: Set<String>, scripts: BuildScripts
) -> Bool {
    let unread = refusals.refusals.filter { $0.rule == Rule.unreadSource.rawValue }.map(\.subject)
    if !unread.isEmpty {
        return !whole.generated.isEmpty
            || (unread.count == refusals.refusals.count
                && unread.allSatisfy {
                    (FileClass(path: $0) == .header || isConfiguration($0)) && scripts.generates(from: $0) == nil
                })
    }
    let known = Set(whole.change.files.map(\.path)).subtracting(whole.generated)
    return written.subtracting(known).contains { [.source, .header].contains(FileClass(path: $0)) }
}

/// A program reads it when it runs; build scripts name it to make, install or document it.
private func isConfiguration(_ path: String) -> Bool {
    FileClass(path: path) == .data && [".conf", ".cnf", ".cfg", ".ini"].contains { path.hasSuffix($0) }
}

private func combine(_ change: SourceChange, with generated: [ChangedFile]) -> RegeneratedChange {
    let known = Set(change.files.map(\.path))
    let added = generated.filter { !known.contains($0.path) }
    var whole = change
    whole.files = (change.files + added).sorted { $0.path < $1.path }
    whole.origin = .newSource(built: true)
    return RegeneratedChange(change: whole, generated: added.map(\.path))
}

/// The changed files with the modes of the original ones: scripts among them may be run.
func writeLayer(_ change: SourceChange, directory: String) throws -> SourceLayer {
    try createDirectory(directory)
    for file in change.files {
        guard let new = file.new else { continue }
        let path = directory + "/" + file.path
        try createDirectory("/" + path.split(separator: "/").dropLast().joined(separator: "/"))
        guard FileManager.default.createFile(atPath: path, contents: Data(new)) else {
            throw Failure("can't write \(path)")
        }
        var status = stat()
        if stat(change.path(of: file), &status) == 0 { chmod(path, status.st_mode & 0o7777) }
    }
    return SourceLayer(
        name: "changed", directory: directory, removed: change.files.filter { $0.new == nil }.map(\.path))
}
