import BuildGraph
import FoundationEssentials
import SourceChanges
import Toolchain

/// Touched files of which replayed commands tell that they need no more than compiling.
struct SettledFiles: Sendable {
    /// The commands that make source of them make what they made before.
    var made: Set<String> = []
    /// The commands that a shell may have asked about them end as they did.
    var answered: Set<String> = []
    /// A whole build was made with them, and what it made of them is part of the change.
    var remade: Set<String> = []
}

/// Replays the recorded commands that read touched files and did not compile them: those that made source from what units
/// read as well (a list of all functions' prototypes, say), and those that a shell may have asked something. Where the
/// first make the same of the changed files, and the second end as well as they did, they ask for nothing.
///
/// Each command runs by itself in a private view of the tree, from which what it made is taken away. First it runs over
/// the tree as it is, and has to do what it did in the build; else nothing is known. Then it runs over the changed one.
func settledFiles(
    _ change: SourceChange, by recorded: RecordedReaders, database: CompileDatabase, scratch: String
) async throws -> SettledFiles {
    var open: [(file: ChangedFile, reach: FileReach)] = []
    for file in change.files {
        var reach = recorded.reach(of: file, in: change, database.units)
        // In a tree that was built, what is made is compared.
        if reach.units.isEmpty || change.origin != .diffs { reach.makers = [] }
        // What they say of such files matters to nobody, or no answer helps.
        if FileClass(path: file.path).isHarmless || !reach.deciders.isEmpty { reach.asked = [] }
        if !reach.makers.isEmpty || !reach.asked.isEmpty { open.append((file, reach)) }
    }
    guard !open.isEmpty else { return SettledFiles() }
    var replay = try await Replay(change, recorded, database: database, scratch: resolvedPath(scratch) + "/replay")
    var settled = SettledFiles()
    var verdicts: [Int: Bool] = [:]
    // A program that is made of the file would have to be made first.
    let makers = open.flatMap { $0.reach.makers.contains(where: \.isMadeOfFile) ? [] : $0.reach.makers.map(\.process) }
    for process in Set(makers).sorted(by: >) {
        // A tree that is built again and again has the traces of each time; only the last one counts.
        let isSuperseded = verdicts.contains { later, isSettled in
            isSettled && recorded.isRepeated(process, by: later)
        }
        verdicts[process] = if isSuperseded { true } else { try await replay.makesTheSame(process) }
    }
    for (file, reach) in open {
        if !reach.makers.isEmpty,
            reach.makers.allSatisfy({ !$0.isMadeOfFile && verdicts[$0.process] == true })
        {
            settled.made.insert(file.path)
        }
        if try await replay.answerTheSame(reach.asked.map(\.process)) {
            settled.answered.insert(file.path)
        }
    }
    return settled
}

private struct Replay {
    private let change: SourceChange
    private let recorded: RecordedReaders
    private let view: SourceView
    private let scratch: String
    private let layer: SourceLayer
    private let environment: [String: String?]
    private var answers: [Int: Bool] = [:]

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

    /// Whether each of them ends well over the changed tree too.
    mutating func answerTheSame(_ processes: [Int]) async throws -> Bool {
        for process in processes {
            if answers[process] == nil { answers[process] = try await answersTheSame(process) }
            if answers[process] == false { return false }
        }
        return !processes.isEmpty
    }

    private func answersTheSame(_ process: Int) async throws -> Bool {
        guard let run = recorded.question(to: process, below: change.root) else { return false }
        let plain = scratch + "/plain"
        try createDirectory(plain)
        let before = SourceLayer(name: "plain", directory: plain, removed: [])
        for (layer, kept) in [(before, "asked\(process)"), (self.layer, "answered\(process)")] {
            guard try await repeated(run, layer, kept: scratch + "/" + kept) else { return false }
        }
        return true
    }

    /// Whether the command ends well; what it wrote is in `kept`.
    private func repeated(_ run: ProgramRun, _ layer: SourceLayer, kept: String) async throws -> Bool {
        try createDirectory(kept)
        guard
            let job = view.rebuildJob(
                [run.program] + run.arguments.dropFirst(), directory: run.directory, layer: layer, touched: [],
                kept: kept, environment: environment.merging(run.environment) { $1 })
        else { return false }
        return try await Toolchain.run(job).status == 0
    }

    /// Whether the command makes each of them, with the content that the tree has.
    private func remakes(_ names: Set<String>, _ run: ProgramRun, _ layer: SourceLayer, kept: String) async throws
        -> Bool
    {
        let kept = scratch + "/" + kept
        guard try await repeated(run, layer, kept: kept) else { return false }
        return names.allSatisfy { name in
            let made = FileManager.default.contents(atPath: kept + "/files/" + name)
            return made != nil && made == FileManager.default.contents(atPath: change.root + "/" + name)
        }
    }
}
