import Glibc

/// What a finished program left behind.
public struct Output: Sendable, CustomStringConvertible {
    /// Exit status; 128 plus the signal's number when a signal ended it.
    public var status: Int32
    public var stdout: String
    public var stderr: String
    public var description: String { "status \(status)\n--- stdout\n\(stdout)--- stderr\n\(stderr)" }
}

/// A system call of the test's own machinery that failed.
public struct SystemFailure: Error, CustomStringConvertible {
    public var description: String
    public init(_ what: String, errno code: Int32) { description = "\(what): \(String(cString: strerror(code)))" }
    public init(_ description: String) { self.description = description }
}

/// A child started by a test. `withProcess` ends it whatever happens.
public struct RunningProcess: Sendable {
    public let pid: pid_t
    let stdoutPath: String
    let stderrPath: String

    public var stdout: String { readText(stdoutPath) }
    public var stderr: String { readText(stderrPath) }

    /// Neither exited nor a zombie.
    public var isRunning: Bool { state != "Z" && state != "X" }

    private var state: Character {
        let stat = readText("/proc/\(pid)/stat")
        guard let close = stat.lastIndex(of: ")") else { return "X" }
        return stat[close...].dropFirst(2).first ?? "X"
    }

    /// Waits until standard output holds `text`.
    /// - Throws: `SystemFailure` with what was printed when the time is over or the process ends first.
    public func waitForOutput(_ text: String, seconds: Double = 20) throws {
        let deadline = monotonicSeconds() + seconds
        while !stdout.contains(text) {
            guard isRunning, monotonicSeconds() < deadline else {
                if stdout.contains(text) { return }
                throw SystemFailure("no '\(text)' in the output of \(pid):\n\(stdout)\n\(stderr)")
            }
            usleep(5_000)
        }
    }

    public func send(_ signal: Int32) { kill(pid, signal) }

    /// Waits for the end and returns what was printed. After `seconds` the process is killed and an error thrown.
    public func wait(seconds: Double = 600) throws -> Output {
        let deadline = monotonicSeconds() + seconds
        var status: Int32 = 0
        var pause: UInt32 = 500
        while true {
            let got = waitpid(pid, &status, WNOHANG)
            if got == pid { break }
            if got < 0 && errno != EINTR { throw SystemFailure("waitpid \(pid)", errno: errno) }
            guard monotonicSeconds() < deadline else {
                end()
                throw SystemFailure("process \(pid) took over \(seconds) s:\n\(stdout)\n\(stderr)")
            }
            usleep(pause)
            pause = min(pause * 2, 20_000)
        }
        let code = (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
        return Output(status: code, stdout: stdout, stderr: stderr)
    }

    /// Kills its process group and reaps it; harmless when it has been waited for already.
    func end() {
        kill(-pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    }
}

/// Runs a program to its end. Standard input is empty.
/// - Parameters:
///   - program: a path, or a name looked up in PATH.
///   - environment: variables set in addition to the test's own.
///   - seconds: after which it is killed and an error thrown.
@discardableResult
public func run(
    _ program: String, _ arguments: [String] = [], in directory: String? = nil,
    environment: [String: String] = [:], seconds: Double = 600
) throws -> Output {
    try withProcess(program, arguments, in: directory, environment: environment) { try $0.wait(seconds: seconds) }
}

/// Starts a program in a process group of its own, runs `body`, then kills the group.
public func withProcess<Result>(
    _ program: String, _ arguments: [String] = [], in directory: String? = nil,
    environment: [String: String] = [:], _ body: (RunningProcess) throws -> Result
) throws -> Result {
    try withTemporaryDirectory { scratch in
        let process = try start(program, arguments, in: directory, environment: environment, scratch: scratch)
        defer { process.end() }
        return try body(process)
    }
}

private func start(
    _ program: String, _ arguments: [String], in directory: String?, environment: [String: String], scratch: String
) throws -> RunningProcess {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let (out, err) = (scratch + "/stdout", scratch + "/stderr")
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    posix_spawn_file_actions_addopen(&actions, 2, err, O_WRONLY | O_CREAT | O_APPEND, 0o644)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
    // The threads that run tests may block signals: the program must not inherit that.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setpgroup(&attributes, 0)

    var pid: pid_t = 0
    // glibc's spawn can change the directory too, but only under _GNU_SOURCE; `env` ends in exec, so the pid is right.
    let command = (directory.map { ["env", "-C", $0] } ?? []) + [program] + arguments
    let failed = withCStrings(command) { arguments in
        withCStrings(mergedEnvironment(environment)) { environment in
            posix_spawnp(&pid, command[0], &actions, &attributes, arguments, environment)
        }
    }
    guard failed == 0 else { throw SystemFailure("start \(program)", errno: failed) }
    return RunningProcess(pid: pid, stdoutPath: out, stderrPath: err)
}

private func mergedEnvironment(_ added: [String: String]) -> [String] {
    var lines: [String] = []
    var next = environ
    while let line = next.pointee {
        let text = String(cString: line)
        let name = String(text.prefix { $0 != "=" })
        if added[name] == nil { lines.append(text) }
        next += 1
    }
    return lines + added.map { "\($0.key)=\($0.value)" }.sorted()
}

private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers = strings.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
}

/// Seconds of the monotonic clock.
public func monotonicSeconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
