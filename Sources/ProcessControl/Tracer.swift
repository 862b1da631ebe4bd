import CLinuxPtrace
import Glibc
import JSONCoding

/// Runs `body` in a forked child, which does all ptrace calls (the kernel ties them to one thread) and may be ended at
/// any instant without harm to the traced process. `body`'s bytes are the answer.
///
/// The child has a process group of its own and ignores what stops a terminal's programs (trap terminal-stop). It ends with
/// this process, and is killed when `deadline` has passed (trap blocked-read).
/// Call it with no other thread running: the child has only the calling one.
///
/// - Throws: the `ProcessError` that `body` threw, `failed` with the text of any other error, `deadlinePassed`, or
///   `tracerDied`.
public func runTracer(deadline: Duration, _ body: () throws -> [UInt8]) throws(ProcessError) -> [UInt8] {
    let answers = runTracers(1, atOnce: 1, deadline: deadline) { _ in try body() }
    guard let answer = answers.first else { throw .failed("no answer of the tracer") }
    return try answer.get()
}

/// Runs `body` for each number below `count`, in a tracer each, a few at once.
/// - Parameter deadline: of each, from its own start.
/// - Returns: one element a number, in their order.
public func runTracers(
    _ count: Int, atOnce width: Int, deadline: Duration, _ body: (Int) throws -> [UInt8]
) -> [Result<[UInt8], ProcessError>] {
    var answers = [Result<[UInt8], ProcessError>](repeating: .failure(.deadlinePassed), count: count)
    var running: [RunningTracer] = []
    var next = 0
    while next < count || !running.isEmpty {
        while next < count, running.count < max(width, 1) {
            do throws(ProcessError) {
                running.append(try RunningTracer.start(number: next, deadline: deadline, body))
            } catch { answers[next] = .failure(error) }
            next += 1
        }
        let ended = RunningTracer.wait(for: &running)
        for tracer in ended { answers[tracer.number] = tracer.end() }
    }
    return answers
}

/// Tracers that work at once where a command speaks of many processes: each has little to compute, and waits now and then.
public let tracersAtOnce = max(4, min(2 * sysconf(Int32(_SC_NPROCESSORS_ONLN)), 16))

/// A forked child, and as much of its answer as is there.
private struct RunningTracer {
    let number: Int
    let pid: Int32
    /// To read the answer from.
    let descriptor: Int32
    let deadline: UInt64
    var bytes: [UInt8] = []
    var isComplete = false

    var isLate: Bool { lp_monotonic_ns() >= deadline }

    static func start(
        number: Int, deadline: Duration, _ body: (Int) throws -> [UInt8]
    ) throws(ProcessError) -> RunningTracer {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw .systemCall(name: "pipe", errno: errno) }
        let parent = getpid()
        let child = lp_fork()
        guard child >= 0 else {
            close(ends[0])
            close(ends[1])
            throw .systemCall(name: "fork", errno: Int32(-child))
        }
        if child == 0 {
            close(ends[0])
            answer({ try body(number) }, to: ends[1], parent: parent)
        }
        close(ends[1])
        let end = lp_monotonic_ns() &+ deadline.nanoseconds
        return RunningTracer(number: number, pid: Int32(child), descriptor: ends[0], deadline: end)
    }

    /// Waits until at least one has closed its pipe or is late.
    /// - Returns: those, which are not in `running` any more.
    static func wait(for running: inout [RunningTracer]) -> [RunningTracer] {
        if running.isEmpty { return [] }
        while true {
            let now = lp_monotonic_ns()
            let first = running.map(\.deadline).min() ?? now
            var requests = running.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            let milliseconds = first > now ? Int32(clamping: (first - now) / 1_000_000 + 1) : 0
            if poll(&requests, nfds_t(requests.count), milliseconds) > 0 {
                for (index, request) in requests.enumerated() where request.revents != 0 { running[index].read() }
            }
            let ended = running.filter { $0.isComplete || $0.isLate }
            guard ended.isEmpty else {
                running.removeAll { $0.isComplete || ended.map(\.pid).contains($0.pid) }
                return ended
            }
        }
    }

    private mutating func read() {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        if count == 0 { isComplete = true }
        if count > 0 { bytes += chunk[..<count] }
    }

    /// Reaps it, kills it before when it is late.
    func end() -> Result<[UInt8], ProcessError> {
        if !isComplete { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while lp_waitpid(pid, &status, 0) == -Int(EINTR) {}
        close(descriptor)
        guard isComplete else { return .failure(.deadlinePassed) }
        do throws(ProcessError) { return .success(try decode(bytes, status: status)) } catch { return .failure(error) }
    }
}

extension Duration {
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0, seconds < 1 << 32 else { return seconds < 0 ? 0 : 1 << 62 }
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
    }
}

// First byte of the answer: what the others are. Its absence means that the tracer died.
private let valueTag: UInt8 = 1
private let errorTag: UInt8 = 2

/// The child's whole life.
private func answer(_ body: () throws -> [UInt8], to descriptor: Int32, parent: Int32) -> Never {
    guard lp_prepare_tracer(parent) == 0 else { lp_exit(1) }
    var message: [UInt8]
    do {
        message = [valueTag] + (try body())
    } catch {
        let error = error as? ProcessError ?? .failed("\(error)")
        message = [errorTag] + ((try? encodeJSON(error)) ?? [])
    }
    var done = 0
    while done < message.count {
        let count = message.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, $0.count - done) }
        if count < 0, errno == EINTR { continue }
        if count <= 0 { break }
        done += count
    }
    lp_exit(0)
}

private func decode(_ answer: [UInt8], status: Int32) throws(ProcessError) -> [UInt8] {
    let exited = status & 0x7f == 0
    guard exited, let tag = answer.first else { throw .tracerDied(signal: status & 0x7f) }
    if tag == valueTag { return Array(answer.dropFirst()) }
    if let error = try? decodeJSON(ProcessError.self, from: Array(answer.dropFirst())) { throw error }
    throw .malformed("answer of the tracer")
}
