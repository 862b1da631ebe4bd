import BuildGraph
import FoundationEssentials
import SourceChanges
import Toolchain

/// Replays the recorded commands that made source from touched files which units read as well: a list of all functions'
/// prototypes, say. Where they make the same of the changed files, compiling the units is all that the change asks for.
///
/// Each command runs by itself in a private view of the tree, from which what it made is taken away. First it runs over
/// the tree as it is, and has to make what the build left; else nothing is known. Then it runs over the changed one.
/// - Returns: paths of touched files of which all such commands make the same.
func settledFiles(
    _ change: SourceChange, by recorded: RecordedReaders, database: CompileDatabase, scratch: String
) async throws -> Set<String> {
    guard change.origin == .diffs else { return [] }
    var open: [(file: String, makers: [Int])] = []
    for file in change.files {
        let reach = recorded.reach(of: file, in: change, database.units)
        if !reach.units.isEmpty, !reach.makers.isEmpty { open.append((file.path, reach.makers.map(\.process))) }
    }
    guard !open.isEmpty else { return [] }
    let replay = try await Replay(change, recorded, database: database, scratch: resolvedPath(scratch) + "/replay")
    var verdicts: [Int: Bool] = [:]
    for process in Set(open.flatMap(\.makers)).sorted(by: >) {
        // A tree that is built again and again has the traces of each time; only the last one counts.
        let isSuperseded = verdicts.contains { later, isSettled in
            isSettled && recorded.isRepeated(process, by: later)
        }
        verdicts[process] = if isSuperseded { true } else { try await replay.makesTheSame(process) }
    }
    return Set(open.filter { $0.makers.allSatisfy { verdicts[$0] == true } }.map(\.file))
}

private struct Replay {
    private let change: SourceChange
    private let recorded: RecordedReaders
    private let view: SourceView
    private let scratch: String
    private let layer: SourceLayer
    private let environment: [String: String?]

    init(_ change: SourceChange, _ recorded: RecordedReaders, database: CompileDatabase, scratch: String) async throws {
        self.change = change
        self.recorded = recorded
        self.scratch = scratch
        try createDirectory(scratch)
        view = try await SourceView.make(root: change.root, scratch: scratch)
        layer = try writeLayer(change, directory: scratch + "/changed")
        let command = BuildCommand.read(besides: database.path)
        environment = compilerEnvironment.merging((command?.environment ?? [:]).mapValues { $0 }) { $1 }
    }

    func makesTheSame(_ process: Int) async throws -> Bool {
        guard let (run, products) = recorded.command(of: process) else { return false }
        let prefix = change.root + "/"
        // What it writes elsewhere, or has written and is gone, can't be compared.
        guard products.allSatisfy({ $0.hasPrefix(prefix) && FileManager.default.fileExists(atPath: $0) }) else {
            return false
        }
        let names = Set(products.map { String($0.dropFirst(prefix.count)) })
        guard names.isDisjoint(with: change.files.map(\.path)) else { return false }
        let plain = scratch + "/plain"
        try createDirectory(plain)
        let before = SourceLayer(name: "plain", directory: plain, removed: names.sorted())
        var after = layer
        after.removed += names.sorted()
        guard try await remakes(names, run, before, kept: "before\(process)") else { return false }
        return try await remakes(names, run, after, kept: "after\(process)")
    }

    /// Whether the command makes each of them, with the content that the tree has.
    private func remakes(_ names: Set<String>, _ run: ProgramRun, _ layer: SourceLayer, kept: String) async throws
        -> Bool
    {
        let kept = scratch + "/" + kept
        try createDirectory(kept)
        guard
            let job = view.rebuildJob(
                [run.program] + run.arguments.dropFirst(), directory: run.directory, layer: layer, touched: [],
                kept: kept, environment: environment.merging(run.environment) { $1 })
        else { return false }
        let result = try await Toolchain.run(job)
        guard result.status == 0 else { return false }
        return names.allSatisfy { name in
            let made = FileManager.default.contents(atPath: kept + "/files/" + name)
            return made != nil && made == FileManager.default.contents(atPath: change.root + "/" + name)
        }
    }
}
