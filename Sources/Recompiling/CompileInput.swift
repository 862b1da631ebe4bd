import Diagnostics
import FoundationEssentials
import Glibc
import PatchFormat
import SourceChanges
import Toolchain

/// The objects of a build, and what is known of where they come from.
package struct CompiledInput: Sendable {
    package var units: [UnitObjects] = []
    package var notes: [String] = []
    /// What must not be part of any target.
    package var uncompiled: [UncompiledSource] = []
    /// What only the change breaks, and must not be part of any target either.
    package var broken: [UncompiledSource] = []
    /// What was compared, for the message that nothing differs.
    package var summary = ""
    /// What was asked for; nil where objects were given.
    package var change: SourceChange?
    /// What the change touches and no unit reads, and why that is known.
    package var ignored: [IgnoredFile] = []
    /// Paths of the touched files that units include.
    package var touchedHeaders: [String] = []
    /// The main files of all units that are known, compiled again or not.
    package var recordedSources: [String] = []
    /// The same as debug information has them, where options hide the build's directory.
    package var mappedSources: [String] = []
    /// SHA-256 of the linked files of which all that they were made of is recorded.
    package var recordedFiles: Set<String> { Set(linkedFiles.map(\.digest)) }
    /// What the recorded build linked.
    package var linkedFiles: Set<LinkedFile> = []
    package var provenance = Provenance()
}

/// Turns what the user gave into pairs of objects: compiles twice, or takes objects as they are.
package func compileInput(
    _ input: PatchInput, launcher: [String] = [], scratch: String, _ clock: inout StageClock
) async throws -> CompiledInput {
    switch input {
    case .objects(let pairs): return try objects(pairs)
    case .diffs(let source, let commands, let diffs):
        let root = try realPath(source)
        let change = try applyDiffs(at: diffs, root: root)
        return try await compile(
            change, root: root, commands: commands, newRoot: nil, launcher, scratch: scratch, &clock)
    case .newSource(let source, let commands, let newSource):
        let root = try realPath(source)
        let newRoot = try realPath(newSource)
        let change = try compareTrees(original: root, new: newRoot)
        return try await compile(
            change, root: root, commands: commands, newRoot: newRoot, launcher, scratch: scratch, &clock)
    }
}

private func objects(_ pairs: [ObjectPair]) throws -> CompiledInput {
    var compiled = CompiledInput()
    let names = sharedNames(pairs.map(\.original))
    compiled.units = zip(pairs, names).map { pair, name in
        UnitObjects(
            name: name, source: pair.original, isCPlusPlus: false, plainObject: pair.original,
            originalObject: pair.original, newObject: pair.new)
    }
    compiled.summary = pairs.map { "\($0.original) and \($0.new)" }.joined(separator: ", ")
    compiled.provenance = try provenance(of: pairs, names: names)
    return compiled
}

private func compile(
    _ change: SourceChange, root: String, commands: String?, newRoot: String?, _ launcher: [String],
    scratch: String, _ clock: inout StageClock
) async throws -> CompiledInput {
    clock.lap("read sources")
    guard !change.files.isEmpty else {
        throw Refusals(
            .nothingToPatch, subject: root, why: "no file that a compiler could read differs",
            remedy: "check the diff, or the second tree")
    }
    let database = try CompileDatabase.read(commands ?? root + "/compile_commands.json")
    let newBuild = try newRoot.flatMap { try NewBuild.read(newRoot: $0, database: database, change: change) }
    var source = Source(
        change: change, root: root, database: database, newBuild: newBuild, launcher: launcher, scratch: scratch)
    do {
        source.record = try BuildRecord(database: database, root: root)
        try await source.settle(in: scratch + "/settled")
        if let newRoot { source.settleSecondTree(newRoot) }
        clock.lap("replay")
        let input = try await compile(source, &clock)
        guard !input.broken.isEmpty, mayBeGenerated(input.broken.map(\.refusal), source) else { return input }
        return try await regenerated(source, whatBreaksIn: input, &clock)
    } catch let refusals as Refusals where mayBeGenerated(refusals.refusals, source) {
        return try await regenerated(source, refusals, &clock)
    }
}

/// Whether the recorded build, repeated with the change in it, may make what `refusals` miss: source that is generated.
private func mayBeGenerated(_ refusals: [Refusal], _ source: Source) -> Bool {
    guard case .whole = source.record, source.change.origin == .diffs else { return false }
    let rules = [Rule.unreadSource, .sourceAndGenerator, .compileFailed].map(\.rawValue)
    return refusals.allSatisfy { rules.contains($0.rule) }
}

/// What is compiled, by which commands.
private struct Source {
    var change: SourceChange
    var root: String
    var database: CompileDatabase
    var newBuild: NewBuild?
    var launcher: [String]
    var scratch: String
    var record = BuildRecord.missing("")
    /// What replayed commands tell.
    var settled = SettledFiles()
}

extension Source {
    fileprivate mutating func settle(in scratch: String) async throws {
        guard case .whole(let recorded) = record else { return }
        try createDirectory(scratch)
        settled = try await settledFiles(change, by: recorded, database: database, scratch: scratch)
    }
}

extension Source {
    /// What a build decided in the same way made of its files is part of the difference between the trees.
    fileprivate mutating func settleSecondTree(_ newRoot: String) {
        guard case .whole(let recorded) = record, change.origin == .newSource(built: true),
            recorded.decidesAlike(in: newRoot, as: root)
        else { return }
        settled.remade = Set(change.files.map(\.path))
    }
}

/// Compiles again with what the recorded build makes of the change.
private func regenerated(_ source: Source, _ refusals: Refusals, _ clock: inout StageClock) async throws
    -> CompiledInput
{
    guard case .whole(let recorded) = source.record else { throw refusals }
    let whole = try await regenerate(
        source.change, by: recorded, settled: source.settled, database: source.database, scratch: source.scratch,
        refusals: refusals)
    clock.lap("repeat the build")
    var source = source
    source.change = whole.change
    try await source.settle(in: source.scratch + "/settled-again")
    source.settled.remade = Set(whole.change.files.map(\.path))
    var input = try await compile(source, &clock)
    input.notes.insert(
        "the recorded build was repeated with the change, in a private view of the tree; it made anew: "
            + (whole.generated.isEmpty ? "nothing" : whole.generated.joined(separator: ", ")), at: 0)
    return input
}

/// The new source of some units may miss what is generated; where that does not help, they may be part of no target.
private func regenerated(
    _ source: Source, whatBreaksIn input: CompiledInput, _ clock: inout StageClock
) async throws -> CompiledInput {
    let broken = input.broken
    do {
        return try await regenerated(source, Refusals(broken.map(\.refusal)), &clock)
    } catch let refusals as Refusals where refusals.refusals.map(\.subject) == broken.map(\.refusal.subject) {
        var input = input
        input.broken = zip(broken, refusals.refusals).map {
            UncompiledSource(path: $0.path, refusal: $1, isDescribed: $0.isDescribed)
        }
        return input
    }
}

private func compile(_ source: Source, _ clock: inout StageClock) async throws -> CompiledInput {
    let (change, root) = (source.change, source.root)
    let affected = try await affectedUnits(
        of: change, in: source.database, by: source.record, newBuild: source.newBuild, settled: source.settled)
    clock.lap("affected units")
    let compiled = try await compileTwice(
        affected.units, change: change, scratch: source.scratch, database: source.database,
        dependencies: affected.dependencies, launcher: source.launcher)
    clock.lap("compile")
    clock.move(seconds: compiled.preparing, from: "compile", to: "overlay")
    var input = CompiledInput()
    let recorded: RecordedReaders? = if case .whole(let readers) = source.record { readers } else { nil }
    input.units = compiled.units.map { item in
        UnitObjects(
            name: item.unit.name(relativeTo: root), source: item.unit.file,
            isCPlusPlus: item.unit.language == .cplusplus, plainObject: item.plainObject,
            originalObject: item.originalObject, newObject: item.newObject, keptLines: item.keptLines,
            isAssembler: [.assembler, .preprocessedAssembler].contains(item.unit.language), isNew: item.unit.isNew,
            variant: item.unit.variant, linkedInto: recorded?.files(holding: item.unit))
    }
    if case .missing(let why) = source.record {
        input.notes = ["compilers alone were asked who reads the touched files: \(why)"]
    }
    input.notes += compiled.notes + affected.ignored.map { "\($0.path): not compiled (\($0.why))" }
    input.ignored = affected.ignored
    input.uncompiled = affected.unread + compiled.failed
    input.broken = compiled.broken
    input.linkedFiles = affected.linkedFiles
    input.summary = change.files.map(\.path).joined(separator: ", ")
    input.change = change
    input.touchedHeaders = headers(of: change, affected)
    input.recordedSources = (source.database.units + (source.newBuild?.units ?? [])).map(\.file)
    input.mappedSources = source.database.units.compactMap(\.mappedFile)
    input.provenance = provenance(of: change, units: affected.units, root: root)
    return input
}

private func headers(of change: SourceChange, _ affected: AffectedUnits) -> [String] {
    let mains = Set(affected.units.map(\.file))
    let ignored = Set(affected.ignored.map(\.path))
    return change.files.map(\.path).filter { path in
        !mains.contains(change.root + "/" + path) && !ignored.contains(path)
    }
}

/// The absolute path with symbolic links resolved.
private func realPath(_ path: String) throws -> String {
    guard let resolved = realpath(path, nil) else {
        throw UsageError("\(path): \(String(cString: strerror(errno)))")
    }
    defer { free(resolved) }
    return String(cString: resolved)
}
