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
        answer(body, to: ends[1], parent: parent)
    }
    close(ends[1])
    defer { close(ends[0]) }
    let tracer = Int32(child)
    let answer = collect(from: ends[0], until: lp_monotonic_ns() &+ deadline.nanoseconds)
    if answer == nil { kill(tracer, SIGKILL) }
    var status: Int32 = 0
    while lp_waitpid(tracer, &status, 0) == -Int(EINTR) {}
    guard let answer else { throw .deadlinePassed }
    return try decode(answer, status: status)
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

/// Everything until the pipe is closed, or nil when the deadline passes first.
private func collect(from descriptor: Int32, until deadline: UInt64) -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let now = lp_monotonic_ns()
        guard now < deadline else { return nil }
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let milliseconds = Int32(clamping: (deadline - now) / 1_000_000 + 1)
        guard poll(&request, 1, milliseconds) > 0 else { continue }
        let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count == 0 { return bytes }
        if count > 0 { bytes += chunk[..<count] }
    }
}

private func decode(_ answer: [UInt8], status: Int32) throws(ProcessError) -> [UInt8] {
    let exited = status & 0x7f == 0
    guard exited, let tag = answer.first else { throw .tracerDied(signal: status & 0x7f) }
    if tag == valueTag { return Array(answer.dropFirst()) }
    if let error = try? decodeJSON(ProcessError.self, from: Array(answer.dropFirst())) { throw error }
    throw .malformed("answer of the tracer")
}
