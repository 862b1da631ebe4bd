/// One process to run, as a value: planned here, started by `run`.
public struct Job: Sendable, Hashable {
    /// A path, or a name that is looked up in `PATH`.
    public var executable: String
    /// Without the executable itself.
    public var arguments: [String]
    /// Absolute path; nil: the directory of this process.
    public var directory: String?
    /// Variables to set (or, with nil, to unset) on top of this process's environment.
    public var environment: [String: String?]
    /// What it does, for messages: "compile src/rdb.c".
    public var title: String

    public init(
        _ executable: String, _ arguments: [String], directory: String? = nil,
        environment: [String: String?] = [:], title: String? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.directory = directory
        self.environment = environment
        self.title = title ?? executable
    }

    /// The command as a person would type it into a shell.
    public var commandLine: String {
        let command = ([executable] + arguments).map(shellQuoted).joined(separator: " ")
        guard let directory else { return command }
        return "cd \(shellQuoted(directory)) && \(command)"
    }
}

/// What a job said and how it ended.
public struct JobResult: Sendable {
    public var job: Job
    /// Exit status; 128 + signal when it was killed.
    public var status: Int32
    public var output: [UInt8]
    public var errors: [UInt8]
    /// Wall-clock time from start to end.
    public var seconds: Double

    public init(job: Job, status: Int32, output: [UInt8], errors: [UInt8], seconds: Double) {
        self.job = job
        self.status = status
        self.output = output
        self.errors = errors
        self.seconds = seconds
    }

    public var outputText: String { String(decoding: output, as: UTF8.self) }
    public var errorText: String { String(decoding: errors, as: UTF8.self) }

    /// The first lines that say what went wrong: the compiler's errors, or else whatever it printed.
    public func message(lines limit: Int = 8) -> String {
        let text = errors.isEmpty ? outputText : errorText
        let lines = text.split(whereSeparator: \.isNewline)
        let errorLines = lines.drop { !$0.contains("error") && !$0.contains("fatal") }
        return (errorLines.isEmpty ? lines[...] : errorLines).prefix(limit).joined(separator: "\n")
    }

    /// Throws `JobFailure` unless the exit status is 0.
    @discardableResult public func checked() throws -> JobResult {
        guard status == 0 else { throw JobFailure(job: job, status: status, message: message()) }
        return self
    }
}

/// A job that could not be started, or that failed.
public struct JobFailure: Error, Sendable, CustomStringConvertible {
    public var job: Job
    /// Exit status; nil: it did not start.
    public var status: Int32?
    public var message: String

    public init(job: Job, status: Int32?, message: String) {
        self.job = job
        self.status = status
        self.message = message
    }

    public var description: String {
        let end = status.map { "failed with status \($0)" } ?? "could not be started"
        return "\(job.title) \(end)\n  command: \(job.commandLine)\n\(message)"
    }
}

/// `text` as one word of a POSIX shell.
public func shellQuoted(_ text: String) -> String {
    let plain = text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-_./=+,:@%".utf8.contains(byte)
        }
    }
    if plain, !text.isEmpty { return text }
    return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
