import Glibc
import Subprocess
import SystemPackage

/// Processors this process may use.
public let processorCount = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))

/// More than any compiler prints; a job that says more is stopped with an error rather than filling the memory.
private let outputLimit = 64 << 20

/// Runs `jobs`, at most `concurrency` at a time, and returns their results in the order of `jobs`.
///
/// A job that exits with an error is a result, not an error: see `JobResult.checked`.
/// - Throws: `JobFailure` when a job can't be started or says more than 64 MiB.
public func run(_ jobs: [Job], concurrency: Int = processorCount) async throws -> [JobResult] {
    try await withThrowingTaskGroup(of: (Int, JobResult).self) { group in
        var results = [JobResult?](repeating: nil, count: jobs.count)
        var next = 0
        while next < min(max(1, concurrency), jobs.count) {
            let index = next
            group.addTask { (index, try await run(jobs[index])) }
            next += 1
        }
        while let (index, result) = try await group.next() {
            results[index] = result
            if next < jobs.count {
                let index = next
                group.addTask { (index, try await run(jobs[index])) }
                next += 1
            }
        }
        return results.compactMap { $0 }
    }
}

/// Runs one job, with nothing on its standard input, and captures what it says.
/// - Throws: `JobFailure` when it can't be started or says more than 64 MiB.
public func run(_ job: Job) async throws -> JobResult {
    let clock = ContinuousClock()
    let start = clock.now
    do {
        let result = try await Subprocess.run(
            executable(of: job), arguments: Arguments(job.arguments), environment: environment(of: job),
            workingDirectory: job.directory.map { FilePath($0) }, output: .bytes(limit: outputLimit),
            error: .bytes(limit: outputLimit))
        return JobResult(
            job: job, status: status(of: result.terminationStatus), output: result.standardOutput,
            errors: result.standardError, seconds: (clock.now - start) / .seconds(1))
    } catch let error as SubprocessError {
        throw JobFailure(job: job, status: nil, message: "\(error)")
    }
}

/// Runs one job on this process's own standard input, output and error, and returns its exit status.
/// - Throws: `JobFailure` when it can't be started.
public func runInForeground(_ job: Job) async throws -> Int32 {
    do {
        let result = try await Subprocess.run(
            executable(of: job), arguments: Arguments(job.arguments), environment: environment(of: job),
            workingDirectory: job.directory.map { FilePath($0) }, input: .currentStandardInput,
            output: .currentStandardOutput, error: .currentStandardError)
        return status(of: result.terminationStatus)
    } catch let error as SubprocessError {
        throw JobFailure(job: job, status: nil, message: "\(error)")
    }
}

/// Runs one job whose output and errors go to the file `log`, which is made anew, and returns its exit status.
/// - Throws: `JobFailure` when it can't be started, or when the file can't be made.
public func run(_ job: Job, log: String) async throws -> Int32 {
    do {
        let file = try FileDescriptor.open(
            FilePath(log), .writeOnly, options: [.create, .truncate, .closeOnExec],
            permissions: [.ownerReadWrite, .groupRead, .otherRead])
        defer { try? file.close() }
        let result = try await Subprocess.run(
            executable(of: job), arguments: Arguments(job.arguments), environment: environment(of: job),
            workingDirectory: job.directory.map { FilePath($0) },
            output: .fileDescriptor(file, closeAfterSpawningProcess: false),
            error: .fileDescriptor(file, closeAfterSpawningProcess: false))
        return status(of: result.terminationStatus)
    } catch let error as SubprocessError {
        throw JobFailure(job: job, status: nil, message: "\(error)")
    } catch let error as Errno {
        throw JobFailure(job: job, status: nil, message: "can't make \(log): \(error)")
    }
}

/// Runs one job that may ask its user something: on this process's own standard input, and on its standard error, for
/// both of the job's outputs. Standard output stays free for an answer.
///
/// Where standard error is no terminal, what the job says there is kept as well. (A terminal is handed on as it is: some
/// programs say less to a pipe, ssh-keygen for one, which asks to touch a hardware key.)
/// - Throws: `JobFailure` when it can't be started.
public func runInteractively(_ job: Job) async throws -> JobResult {
    guard isatty(STDERR_FILENO) == 0 else {
        do {
            let result = try await Subprocess.run(
                executable(of: job), arguments: Arguments(job.arguments), environment: environment(of: job),
                workingDirectory: job.directory.map { FilePath($0) }, input: .currentStandardInput,
                output: .currentStandardError, error: .currentStandardError)
            let status = status(of: result.terminationStatus)
            return JobResult(job: job, status: status, output: [], errors: [], seconds: 0)
        } catch let error as SubprocessError {
            throw JobFailure(job: job, status: nil, message: "\(error)")
        }
    }
    do {
        let result = try await Subprocess.run(
            executable(of: job), arguments: Arguments(job.arguments), environment: environment(of: job),
            workingDirectory: job.directory.map { FilePath($0) }, input: .currentStandardInput,
            output: .currentStandardError, error: .bytes(limit: outputLimit))
        let status = status(of: result.terminationStatus)
        return JobResult(job: job, status: status, output: [], errors: result.standardError, seconds: 0)
    } catch let error as SubprocessError {
        throw JobFailure(job: job, status: nil, message: "\(error)")
    }
}

/// Where `name` is found in `PATH` as a program that may be run; nil when it is not installed.
public func findProgram(_ name: String) -> String? {
    if name.contains("/") { return access(name, X_OK) == 0 ? name : nil }
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
    return path.split(separator: ":").lazy.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
}

private func executable(of job: Job) -> Executable {
    job.executable.contains("/") ? .path(FilePath(job.executable)) : .name(job.executable)
}

private func environment(of job: Job) -> Environment {
    let pairs = job.environment.compactMap { name, value in Environment.Key(rawValue: name).map { ($0, value) } }
    return .inherit.updating(Dictionary(pairs) { $1 })
}

private func status(of status: TerminationStatus) -> Int32 {
    switch status {
    case .exited(let code): code
    case .signaled(let signal): 128 &+ Int32(signal)
    }
}
