import BuildGraph
import Diagnostics
import FoundationEssentials
import Glibc
import Toolchain

/// Where and how a build command is run.
package struct BuildPlace: Sendable {
    /// Absolute.
    package var directory = FileManager.default.currentDirectoryPath
    /// Variables to set, or with nil to unset, on top of this process's environment.
    package var environment: [String: String?] = [:]
    /// A file for what the build says; nil: this process's own output.
    package var log: String?

    package init() {}
    package init(directory: String, environment: [String: String?], log: String?) {
        self.directory = directory
        self.environment = environment
        self.log = log
    }
}

/// How a recorded build ended.
package struct RecordedBuild: Sendable, Hashable {
    /// The build's own exit status.
    package var status: Int32
    /// Units in the file that was written; nil: the earlier file, if any, was left as it was.
    package var units: Int?
    /// Of these, units that this build did not compile again.
    package var kept: Int
}

/// Runs any build command, `dpkg-buildpackage` included, and writes what it did as a graph beside `output`, the compile commands
/// of it to `output`, and the build command itself to `output.build`.
///
/// The build runs under strace; its output passes through. Units that an incremental build did not compile again are kept
/// from the files that are there. A build that fails leaves them alone.
///
/// - Parameters:
///   - progress: called about twice a second with the units compiled so far, those of the earlier record (nil: none),
///     and the seconds since the start.
///   - place: where and how the command is run.
/// - Throws: `Failure` where nothing can be traced; `Refusal` no-compile-command when the build compiled nothing.
package func record(
    command: [String], output: String, place: BuildPlace = BuildPlace(),
    progress: (@Sendable (Int, Int?, Double) -> Void)? = nil
) async throws -> RecordedBuild {
    guard !command.isEmpty else { throw UsageError("record needs a build command after --") }
    // The build may change or clean directories, so everything is named absolutely.
    let output = absolutePath(output)
    let graphFile = graphPath(besides: output)
    let earlier = readEntries(output)
    let total = earlier?.count
    let build = try await traceBuild(
        command, directory: place.directory, environment: place.environment, log: place.log,
        earlier: try? RecordedGraph.read(graphFile),
        progress: { done, seconds in progress?(done, total, seconds) })
    guard build.status == 0 else { return RecordedBuild(status: build.status, units: nil, kept: 0) }
    let compilations = build.graph.compilations { Language(file: $0, arguments: $1) != nil }
    let entries = compilations.filter { $0.process >= build.earlier }.map(RecordedEntry.init)
    guard !entries.isEmpty else {
        throw Refusal(
            .noCompileCommand, subject: command.joined(separator: " "),
            why: "the build compiled nothing" + (earlier == nil ? "" : "; the earlier record stays"),
            remedy: "clean the tree first, so that every unit is compiled")
    }
    let kept = (earlier ?? []).filter { old in old.isCurrent && !entries.contains { $0.key == old.key } }
    try build.graph.write(to: graphFile)
    try write(kept + entries, to: output)
    BuildCommand(command, place).write(besides: output)
    return RecordedBuild(status: 0, units: kept.count + entries.count, kept: kept.count)
}

/// Writes a part of an earlier record as a record of its own: the graph beside `output`, and the compile commands of what lies
/// behind that graph's linked files to `output`.
///
/// - Parameters:
///   - graph: the earlier record's, in which only some linked files are called so.
///   - earlier: the file of compile commands of the whole record.
///   - rebuild: what repeats as much of the build as generators need.
/// - Throws: `Failure`.
package func writeRecord(
    _ graph: RecordedGraph, of earlier: String, to output: String, rebuild: [String]
) throws {
    try graph.write(to: graphPath(besides: output))
    try write(linkedCompilations(graph).map(RecordedEntry.init), to: output)
    var command = BuildCommand.read(besides: earlier)
    command?.arguments = rebuild
    command?.write(besides: output)
}

/// The files that compilers have read for what lies behind a record's linked files, absolute.
package func filesReadByCompilers(_ graph: RecordedGraph) -> Set<String> {
    let compilers = Set(linkedCompilations(graph).map(\.process))
    var inside = [Bool](repeating: false, count: graph.processes.count)
    var files: Set<Int> = []
    // Parents come before their children.
    for (number, process) in graph.processes.enumerated() {
        inside[number] = compilers.contains(number) || (process.parent.map { $0 < number && inside[$0] } ?? false)
        if inside[number] { files.formUnion(process.reads.map { graph.versions[$0].path }) }
    }
    return Set(files.map { graph.paths[$0] })
}

/// The compile commands behind the linked files alone: those of static libraries are left out.
private func linkedCompilations(_ graph: RecordedGraph) -> [Compilation] {
    let behind = graph.behind(graph.versions.indices.filter { graph.versions[$0].kind == .linked }).processes
    // A compiler's parts are children of the command.
    let making = behind.union(graph.ancestors(of: behind))
    return graph.compilations { Language(file: $0, arguments: $1) != nil }.filter { making.contains($0.process) }
}

/// Says on a terminal's standard error how far the build is; nil when it is no terminal.
package func terminalProgress() -> (@Sendable (Int, Int?, Double) -> Void)? {
    guard isatty(STDERR_FILENO) == 1 else { return nil }
    return { done, total, seconds in
        let of = total.map { " of \($0)" } ?? ""
        let line = "\r\u{1B}[Krecording: \(done)\(of) units, \(Int(seconds)) s\r"
        _ = Array(line.utf8).withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// An entry of `compile_commands.json`, as it is written.
private struct RecordedEntry: Codable {
    var directory: String
    var file: String
    var arguments: [String]?
    var command: String?
    var output: String?

    init(_ compilation: Compilation) {
        directory = compilation.directory
        file = normalized(compilation.file, in: directory)
        arguments = compilation.arguments
        output = outputArgument(compilation.arguments).map { normalized($0, in: compilation.directory) }
    }

    /// What the entry makes of what: of two with the same key the later stands.
    var key: [String] { [directory, file, output ?? (arguments ?? [command ?? ""]).joined(separator: " ")] }

    /// Its source, and its object if it names one, are still there.
    var isCurrent: Bool {
        access(normalized(file, in: directory), R_OK) == 0
            && (output.map { access(normalized($0, in: directory), R_OK) == 0 } ?? true)
    }
}

private func readEntries(_ path: String) -> [RecordedEntry]? {
    FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode([RecordedEntry].self, from: $0) }
}

/// Replaces `path` in one step.
private func write(_ entries: [RecordedEntry], to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
        try encoder.encode(entries).write(to: URL(filePath: path), options: .atomic)
    } catch {
        throw Failure("can't write \(path): \(error)")
    }
}
