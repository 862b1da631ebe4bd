import Diagnostics
import FoundationEssentials
import Glibc
import Toolchain

/// How a recorded build ended.
package struct RecordedBuild: Sendable, Hashable {
    /// The build's own exit status.
    package var status: Int32
    /// Units in the file that was written; nil: the earlier file, if any, was left as it was.
    package var units: Int?
    /// Of these, units that this build did not compile again.
    package var kept: Int
}

/// Runs any build command, `dpkg-buildpackage` included, and writes the compile commands it used to `output`, and the build command
/// itself to `output.build`.
///
/// Bear watches the build, whose output passes through. Units that an incremental build did not compile again are kept
/// from the file that `output` is. A build that fails leaves `output` alone.
///
/// - Parameters:
///   - progress: called about twice a second with the units compiled so far, those of the earlier record (nil: none),
///     and the seconds since the start.
/// - Throws: `Failure` when Bear is missing or can't talk to itself; `Refusal` no-compile-command when the build compiled nothing.
package func record(
    command: [String], output: String, progress: (@Sendable (Int, Int?, Double) -> Void)? = nil
) async throws -> RecordedBuild {
    guard !command.isEmpty else { throw UsageError("record needs a build command after --") }
    guard findProgram("bear") != nil else {
        throw Failure("bear is not installed; it watches the build for its compile commands (apt install bear)")
    }
    try requireLoopback()
    // The build may change or clean directories, so everything is named absolutely and Bear writes elsewhere.
    let output = absolutePath(output)
    let directory = try ScratchDirectory()
    defer { directory.remove() }
    let scratch = directory.path
    let earlier = readEntries(output)
    let job = Job(
        "bear", ["--output", scratch + "/compile_commands.json", "--"] + command,
        // gRPC would ask a name server what localhost is, and send what is for it through a proxy that the environment names.
        environment: ["GRPC_DNS_RESOLVER": "native", "no_grpc_proxy": "localhost"], title: "record the build")
    let watcher = progress.map { report in
        Task { await watch(scratch + "/compile_commands.events.json", total: earlier?.count, report) }
    }
    let status = try await runInForeground(job)
    watcher?.cancel()
    await watcher?.value
    guard status == 0 else { return RecordedBuild(status: status, units: nil, kept: 0) }
    guard let entries = readEntries(scratch + "/compile_commands.json"), !entries.isEmpty else {
        throw Refusal(
            .noCompileCommand, subject: command.joined(separator: " "),
            why: "the build compiled nothing" + (earlier == nil ? "" : "; the earlier record stays"),
            remedy: "clean the tree first, so that every unit is compiled")
    }
    let kept = (earlier ?? []).filter { old in old.isCurrent && !entries.contains { $0.key == old.key } }
    try write(kept + entries, to: output)
    BuildCommand(command).write(besides: output)
    return RecordedBuild(status: 0, units: kept.count + entries.count, kept: kept.count)
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

/// Counts compilers in Bear's list of started programs, which grows while the build runs.
private func watch(_ events: String, total: Int?, _ report: @Sendable (Int, Int?, Double) -> Void) async {
    let start = ContinuousClock.now
    var offset = 0
    var (compilers, commands) = (0, 0)
    while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(500))
        guard let data = FileManager.default.contents(atPath: events), data.count > offset else { continue }
        let end = data.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? offset
        guard end > offset else { continue }
        for line in data[offset..<end].split(separator: UInt8(ascii: "\n")) {
            let text = String(decoding: line, as: UTF8.self)
            guard text.contains("\"started\"") else { continue }
            if text.contains("/cc1\"") || text.contains("/cc1plus\"") { compilers += 1 }
            if text.contains("\"-c\"") { commands += 1 }
        }
        offset = end
        report(compilers > 0 ? compilers : commands, total, (ContinuousClock.now - start) / .seconds(1))
    }
}
