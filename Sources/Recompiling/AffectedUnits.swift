import Diagnostics
import FoundationEssentials
import Glibc
import SourceChanges
import Toolchain

/// The units whose code a change can reach, and what of the change reaches none.
struct AffectedUnits: Sendable {
    /// By name: the order of a record is that in which a parallel build came along.
    var units: [CompileUnit]
    /// For each unit: all that it reads, where the compiler was asked.
    var dependencies: [Set<String>?]
    /// Touched files that no compiler reads and that can't matter, with the reason; those of the diff are included.
    var ignored: [IgnoredFile]
    /// Touched sources that no unit reads: refusals, unless no target was linked from them (other programs of the tree,
    /// which the recorded build did not make).
    var unread: [UncompiledSource]
    /// Wall-clock seconds.
    var seconds = 0.0
    /// SHA-256 of the linked files of which all that they were made of is recorded.
    var linkedFiles: Set<LinkedFile> = []
}

/// Finds every unit that reads a touched file. One source with several commands gives several units (trap many-objects).
///
/// Where the build was recorded with all that it did (`build.graph`), that tells. Else the compilers are asked, who know of
/// sources and headers alone.
///
/// - Parameters:
///   - record: what the recorded build did.
///   - newBuild: how the tree was built with the change in it, where that is known.
///   - settled: what replayed commands tell.
/// - Throws: `Refusals` unread-source, source-and-generator, no-compile-command: a touched file whose effect on the
///   program can't be had by compiling it; `Refusal` bad-input when the commands belong to another tree.
func affectedUnits(
    of change: SourceChange, in database: CompileDatabase, by record: BuildRecord, newBuild: NewBuild? = nil,
    settled: SettledFiles = SettledFiles()
) async throws -> AffectedUnits {
    let start = ContinuousClock.now
    let units = database.units + (newBuild?.units ?? [])
    guard
        database.units.contains(where: {
            ($0.file + "/").hasPrefix(change.root + "/") || $0.directory.hasPrefix(change.root)
        })
    else {
        throw Refusal(
            .badInput, subject: database.path, why: "none of its \(units.count) units lies in \(change.root)",
            remedy: "give --source as the directory in which the build was recorded")
    }
    let isDescribed = units.allSatisfy { ![.c, .cplusplus].contains($0.language) || $0.asksForDebugInfo }
    var affected =
        switch record {
        case .whole(let recorded):
            try await affectedUnits(of: change, by: recorded, units, isDescribed, newBuild, settled)
        case .missing(let why): try await affectedUnits(of: change, units, isDescribed, newBuild, why)
        }
    affected.seconds = (ContinuousClock.now - start) / .seconds(1)
    return affected
}

/// By what compilers say.
private func affectedUnits(
    of change: SourceChange, _ units: [CompileUnit], _ isDescribed: Bool, _ newBuild: NewBuild?, _ missing: String
) async throws -> AffectedUnits {
    let answers = try await CompilerAnswers(change, units)
    var verdict = PlainVerdict(
        change: change, newBuild: newBuild, missing: missing, describesUnits: isDescribed)
    var reading: Set<Int> = []
    for file in change.files {
        let readers = answers.readers(of: file)
        verdict.judge(file, readers: readers.sorted().map { units[$0] })
        reading.formUnion(readers.union(answers.possibleReaders(of: file)))
    }
    for copy in answers.copies { verdict.judge(copy) }
    guard verdict.refusals.isEmpty else { throw Refusals(verdict.refusals) }
    let affected = inOrder(reading, units, change)
    return AffectedUnits(
        units: affected.map { units[$0] }, dependencies: affected.map { answers.files(readBy: $0) },
        ignored: change.ignored + verdict.ignored, unread: verdict.unread)
}

/// By what the recorded build itself has read. What a compiler's cache includes without reading it, compilers say.
private func affectedUnits(
    of change: SourceChange, by recorded: RecordedReaders, _ units: [CompileUnit], _ isDescribed: Bool,
    _ newBuild: NewBuild?, _ settled: SettledFiles
) async throws -> AffectedUnits {
    var verdict = GraphVerdict(change: change, newBuild: newBuild, describesUnits: isDescribed)
    let answers = recorded.usesCache ? try await CompilerAnswers(change, units) : nil
    var reading: Set<Int> = []
    for file in change.files {
        var reach = recorded.reach(of: file, in: change, units)
        if settled.made.contains(file.path) { reach.makers = [] }
        if settled.answered.contains(file.path) { reach.asked = [] }
        if settled.remade.contains(file.path) { reach.onlookers = [] }
        reach.units.formUnion(answers?.readers(of: file) ?? [])
        // Of a new tree's record: it compiles what the change adds.
        reach.units.formUnion(units.indices.filter { units[$0].isNew && units[$0].file == change.path(of: file) })
        verdict.judge(file, reach, readers: reach.units.sorted().map { units[$0] })
        reading.formUnion(reach.units.union(answers?.possibleReaders(of: file) ?? []))
    }
    guard verdict.refusals.isEmpty else { throw Refusals(verdict.refusals) }
    let affected = inOrder(reading, units, change)
    return AffectedUnits(
        units: affected.map { units[$0] },
        dependencies: affected.map { number in
            answers.map { $0.files(readBy: number) } ?? recorded.files(readBy: units[number])
        },
        ignored: change.ignored + verdict.ignored, unread: verdict.unread, linkedFiles: recorded.linkedFiles)
}

private func inOrder(_ numbers: Set<Int>, _ units: [CompileUnit], _ change: SourceChange) -> [Int] {
    numbers.map { (number: $0, name: units[$0].sortName(root: change.root)) }
        .sorted { ($0.name, $0.number) < ($1.name, $1.number) }.map(\.number)
}

/// What one unit reads, absolute, symbolic links resolved.
struct UnitDependencies {
    var files: Set<String>
    /// Their last components, as the compiler calls them.
    var names: Set<String>
    /// The compiler was asked; a dependency file may lack system headers.
    var isWhole: Bool
}

/// What each unit reads; no entry for a unit whose compiler does not tell.
/// - Parameter trustingFiles: a fresh dependency file will do, which may lack system headers.
func unitDependencies(
    of units: [(number: Int, unit: CompileUnit)], trustingFiles: Bool
) async throws -> [Int: UnitDependencies] {
    var answers: [Int: UnitDependencies] = [:]
    var resolver = PathResolver()
    var open: [(number: Int, unit: CompileUnit)] = []
    // Of several commands that write one file, it tells what the last one read.
    let shared = Dictionary(grouping: units.compactMap(\.unit.writtenDependencies)) { $0 }.filter { $1.count > 1 }
    for (number, unit) in units {
        // It may lack what is included as a header of the system.
        let isTrusted = trustingFiles && !unit.arguments.contains { $0.hasPrefix("-isystem") }
        if isTrusted, let path = unit.writtenDependencies, shared[path] == nil,
            let known = freshDependencies(of: unit, at: path)
        {
            answers[number] = UnitDependencies(
                files: Set(known.map { resolver.resolve($0, in: unit.directory) }), names: Set(known.map(baseName)),
                isWhole: false)
        } else {
            open.append((number, unit))
        }
    }
    let jobs = open.map { _, unit in
        Job(
            unit.compiler, unit.dependencyArguments, directory: unit.directory, environment: compilerEnvironment,
            title: "read the dependencies of \(baseName(unit.file))")
    }
    for (result, (number, unit)) in zip(try await run(jobs), open) where result.status == 0 {
        let names = dependencies(inRule: result.output)
        answers[number] = UnitDependencies(
            files: Set(names.map { resolver.resolve($0, in: unit.directory) }), names: Set(names.map(baseName)),
            isWhole: true)
    }
    return answers
}

/// The dependency file that the unit's own command wrote, if it is newer than all it names: then it is what the compiler
/// would say. It may lack system headers, which no change touches.
func freshDependencies(of unit: CompileUnit, at path: String) -> [String]? {
    // automake's rules rename `NAME.Tpo` once the object is there.
    let path = path.hasSuffix(".Tpo") ? path.dropLast(4) + ".Po" : path
    guard let written = modificationTime(path), let data = FileManager.default.contents(atPath: path) else {
        return nil
    }
    let names = dependencies(inRule: [UInt8](data))
    let times = names.map { modificationTime(normalized($0, in: unit.directory)) }
    guard names.contains(where: { normalized($0, in: unit.directory) == unit.file }),
        times.allSatisfy({ $0.map { $0 < written } ?? false })
    else { return nil }
    return names
}

/// Nanoseconds since the epoch; nil when there is no such file.
func modificationTime(_ path: String) -> Int? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return status.st_mtim.tv_sec &* 1_000_000_000 &+ status.st_mtim.tv_nsec
}

/// Absolute paths without symbolic links, each asked for once.
private struct PathResolver {
    private var known: [String: String] = [:]

    mutating func resolve(_ path: String, in directory: String) -> String {
        let absolute = path.hasPrefix("/") ? path : directory + "/" + path
        if absolute.hasPrefix("/usr/") { return absolute }
        if let resolved = known[absolute] { return resolved }
        let resolved = resolvedPath(absolute)
        known[absolute] = resolved
        return resolved
    }
}
