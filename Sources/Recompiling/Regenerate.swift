import BuildGraph
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

/// Repeats the recorded build over the changed tree, in a view of it that vanishes, for the source it generates (trap
/// source-and-generator).
///
/// What was generated anew is part of the change from here on, as in a second tree that was built. It proves something
/// only where the commands have run that made parts of the program of touched files, and where all that decides about
/// commands is as it was.
/// - Throws: `Refusals`: those given, where the build can't be repeated, with the reason.
func regenerate(
    _ change: SourceChange, by recorded: RecordedReaders, settled: SettledFiles, database: CompileDatabase,
    scratch: String, refusals: Refusals
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
    let removedPaths = (removed ?? "").split(separator: "\n").map { String($0.dropFirst(2)) }
    let whole = combine(
        change, with: try compareOverlay(original: change.root, upper: kept + "/files", removed: removedPaths))
    let written = try files(below: kept + "/files")
    if let why = recorded.doubt(whole, settled, written: written.union(removedPaths), kept: kept + "/files") {
        throw giveUp("the build, repeated with the change, \(why)")
    }
    return whole
}

extension RecordedReaders {
    /// Why a repeated build does not show all that the change makes; nil where it does.
    fileprivate func doubt(
        _ whole: RegeneratedChange, _ settled: SettledFiles, written: Set<String>, kept: String
    ) -> String? {
        let root = whole.change.root + "/"
        let touched = whole.change.files.filter { !whole.generated.contains($0.path) }
        let deciding = filesOfDeciders
        for path in written.subtracting(touched.map(\.path)).sorted() where deciding.contains(root + path) {
            let isSame =
                FileManager.default.contents(atPath: kept + "/" + path)
                == FileManager.default.contents(atPath: root + path)
            if !isSame, !isOfCompiler(root + path), let program = decider(by: root + path) {
                return "makes \(path) anew, which \(program) has read to decide what is compiled and how"
            }
        }
        var isAnswered = !whole.generated.isEmpty
        for file in touched where !settled.made.contains(file.path) {
            let reach = reach(of: file, in: whole.change, [])
            for maker in reach.makers {
                let products = remains(of: maker.process)
                guard !products.isEmpty, products.allSatisfy({ written.contains(String($0.dropFirst(root.count))) })
                else {
                    let product = relativePath(maker.product, to: whole.change.root)
                    return "does not run \(maker.program), which has made \(product) of it"
                }
                isAnswered = true
            }
            // Make runs what it has for a file that changes; of others nobody knows.
            let isAskedOfMake = !reach.onlookers.isEmpty && reach.onlookers.allSatisfy(GraphReaders.goesByTimes)
            if isAskedOfMake { isAnswered = true }
            if reach.makers.isEmpty, !reach.onlookers.isEmpty, !isAskedOfMake, whole.generated.isEmpty {
                return nothing
            }
        }
        return isAnswered ? nil : nothing
    }

    private var nothing: String { "makes nothing anew" }
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
