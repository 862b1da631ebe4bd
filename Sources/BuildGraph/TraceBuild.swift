import Diagnostics
import Glibc
import Synchronization
import Toolchain

/// How a traced build ended.
package struct TracedBuild: Sendable {
    /// The build's own exit status.
    package var status: Int32
    package var graph: RecordedGraph
    /// So many of the graph's first processes are of the earlier builds that were given.
    package var earlier: Int
    /// Processes that the build left running, and that were ended.
    package var leftovers: Int
}

/// Runs a build command under strace, on this process's own standard input, output and error, and follows what it does.
///
/// - Parameters:
///   - environment: variables to set, or with nil to unset, for the build.
///   - log: a file that takes what the build says, in the place of standard output and error.
///   - earlier: the graph of earlier builds of the same tree: what they left and this one does not make again stays.
///   - progress: called about twice a second with the compilers started so far, and the seconds since the start.
/// - Throws: `Failure` where the system lets nobody trace processes.
package func traceBuild(
    _ command: [String], directory: String, environment: [String: String?] = [:], log: String? = nil,
    earlier: RecordedGraph? = nil,
    progress: (@Sendable (Int, Double) -> Void)? = nil
) async throws -> TracedBuild {
    try await requireTracing()
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }
    let pipe = try TracePipe(scratch.path + "/trace")
    let history = earlier.map { graph in
        FileHistory(graph) { version in
            version.digest.map { $0 == digest(ofFile: graph.paths[version.path]) } ?? false
        }
    }
    let observer = BuildObserver(
        directory: resolvedPath(directory),
        searchPath: environment["PATH"].flatMap { $0 } ?? getenv("PATH").map { String(cString: $0) } ?? "",
        history: history ?? FileHistory(), earlier: earlier?.processes.count ?? 0)
    let job = Job(
        "strace", straceOptions + ["-o", pipe.path, "--"] + command, directory: directory, environment: environment,
        title: "record the build")
    let isDone = Flag()
    let follower = Task { await follow(pipe, observer, isDone, progress) }
    let status: Int32
    do {
        status = if let log { try await run(job, log: log) } else { try await runInForeground(job) }
    } catch {
        isDone.set()
        _ = await follower.value
        throw error
    }
    isDone.set()
    let followed = await follower.value
    guard followed.strangeLines == 0 else {
        throw Failure(
            "\(followed.strangeLines) lines of strace's report can't be understood: it may be of another version")
    }
    let result = followed.observer.graph(command: command, directory: resolvedPath(directory), earlier: earlier)
    return TracedBuild(
        status: status, graph: result.graph, earlier: result.earlier, leftovers: followed.leftovers)
}

/// The calls that open, look for, rename and remove files, start processes, or say where a descriptor leads; of
/// structures, only what is needed. Each stops the build for a moment: `readlink`, which compilers call for every part of
/// every path, is left out, since whoever opens a file by way of a link is seen to.
private let straceOptions = [
    "-f", "--seccomp-bpf", "-q", "-I", "2", "-y", "-s", "131072", "-e", "signal=none",
    "-e", "verbose=execve,execveat,clone,clone3,pipe,pipe2,openat2", "-e", "abbrev=!execve,execveat",
    "-e", "trace=" + tracedCalls.joined(separator: ","),
]

/// With a question mark: of programs of 32 bits.
private let tracedCalls = [
    "open", "openat", "openat2", "creat", "truncate", "?truncate64", "rename", "renameat", "renameat2", "link",
    "linkat",
    "symlink", "symlinkat", "unlink", "unlinkat", "stat", "?stat64", "lstat", "?lstat64", "newfstatat", "?fstatat64",
    "statx", "access", "faccessat", "faccessat2", "getdents", "getdents64", "execve", "execveat", "clone", "clone3",
    "fork", "vfork", "chdir", "fchdir", "dup", "dup2", "dup3", "pipe", "pipe2",
]

private func requireTracing() async throws {
    guard findProgram("strace") != nil else {
        throw Failure("strace is not installed; it watches what the build does (apt install strace)")
    }
    let probe = try await run(Job("strace", straceOptions + ["-o", "/dev/null", "--", "true"], title: "try strace"))
    guard probe.status == 0 else {
        throw Failure(
            "the system lets no process be traced (\(probe.message(lines: 1))), and record watches the build by strace: "
                + "in a container, give it the capability SYS_PTRACE (--cap-add=SYS_PTRACE), and record outside of debuggers; "
                + "or build with CMake or Meson, which write compile_commands.json themselves")
    }
}

/// Said once, seen by another task.
private final class Flag: Sendable {
    private let value = Atomic(false)
    func set() { value.store(true, ordering: .releasing) }
    var isSet: Bool { value.load(ordering: .acquiring) }
}

/// `F_SETPIPE_SZ`, which the C library shows to GNU programs only.
private let setPipeSize: Int32 = 1031

/// The named pipe that strace writes to: the whole report of a large build would fill a disk.
private struct TracePipe: Sendable {
    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        guard mkfifo(path, 0o600) == 0 else { throw Failure("can't make \(path): \(String(cString: strerror(errno)))") }
        descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(path): \(String(cString: strerror(errno)))") }
        // The build need not wait for its reader so often; where it can't be had, it does.
        _ = fcntl(descriptor, setPipeSize, 1 << 20)
    }

    enum Piece {
        case bytes(ArraySlice<UInt8>)
        case nothingYet
        /// Nobody has it open for writing.
        case noWriter
    }

    func read(_ buffer: inout [UInt8]) -> Piece {
        let got = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        if got > 0 { return .bytes(buffer[..<got]) }
        return got == 0 ? .noWriter : .nothingYet
    }

    func close() { Glibc.close(descriptor) }
}

private struct Followed: Sendable {
    var observer: BuildObserver
    var strangeLines = 0
    var leftovers = 0
}

/// Reads until strace has ended and all that it wrote is read.
private func follow(
    _ pipe: TracePipe, _ observer: BuildObserver, _ isDone: Flag, _ progress: (@Sendable (Int, Double) -> Void)?
) async -> Followed {
    defer { pipe.close() }
    let start = ContinuousClock.now
    var reader = TraceReader()
    var watch = LeftoverWatch()
    var observer = observer
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    var lastReport = start
    while true {
        let wasDone = isDone.isSet
        switch pipe.read(&buffer) {
        case .bytes(let bytes): for event in reader.read(bytes) { observer.take(event) }
        case .noWriter where wasDone:
            observer.finish()
            return Followed(observer: observer, strangeLines: reader.strangeLines, leftovers: watch.ended)
        case .noWriter, .nothingYet: try? await Task.sleep(for: .milliseconds(10))
        }
        let now = ContinuousClock.now
        watch.look(observer, now)
        if now - lastReport > .milliseconds(500) {
            lastReport = now
            progress?(observer.compilers, (now - start) / .seconds(1))
        }
    }
}

/// Ends what a build leaves running: strace would wait for it, and it can't go on without strace, whose filter refuses its
/// calls then.
private struct LeftoverWatch {
    private var since: ContinuousClock.Instant?
    private(set) var ended = 0

    mutating func look(_ observer: BuildObserver, _ now: ContinuousClock.Instant) {
        guard observer.hasEnded, !observer.running.isEmpty else {
            since = nil
            return
        }
        guard let since else {
            self.since = now
            return
        }
        guard now - since > .seconds(5) else { return }
        let signal = ended == 0 ? SIGTERM : SIGKILL
        for process in observer.running where process > 1 { kill(pid_t(process), signal) }
        ended = max(ended, observer.running.count)
        self.since = now - .seconds(3)
    }
}
