/// What can go wrong with another process. A value: it travels from the tracer to its parent.
public enum ProcessError: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    case noSuchProcess(pid: Int32)
    /// The kernel's access check (same user, dumpable, capabilities, Yama) said no.
    case noPermission(pid: Int32, operation: String)
    /// A debugger or another tracer holds the thread.
    case alreadyTraced(pid: Int32, tracer: Int32)
    /// The first byte that could not be read or written.
    case fault(RemoteAddress)
    /// It exited, or was replaced, while we worked on it.
    case vanished(pid: Int32)
    /// It called exec while we worked on it: nothing of the old memory is left.
    case executed(pid: Int32)
    /// Its mappings were out of order each time they were read (trap maps-torn).
    case changing(pid: Int32)
    /// Threads that did not reach a stop in time; everything runs again, nothing changed.
    case didNotStop(pid: Int32, threads: [Int32])
    /// No thread can be borrowed now, with a reason for each that was looked at.
    case noSuitableThread(pid: Int32, reasons: [String])
    /// Something of the process is outside what this program can handle.
    case unsupported(pid: Int32, what: String)
    /// A system call run inside the process failed.
    case remoteCall(name: String, errno: Int32)
    /// A system call of our own failed in a way no other case covers.
    case systemCall(name: String, errno: Int32)
    /// Code that was run on a borrowed thread has crashed; the thread goes on as before.
    case crashed(pid: Int32, signal: Int32)
    /// Code that was run on a borrowed thread waited for a lock until its time was over; the thread goes on as before.
    case deadlocked(pid: Int32)
    /// Text or memory that does not have the form it must have.
    case malformed(String)
    /// The tracer was ended at its hard deadline (trap blocked-read).
    case deadlinePassed
    /// The tracer ended without an answer.
    case tracerDied(signal: Int32)
    /// The tracer's work threw an error that is not a `ProcessError`.
    case failed(String)

    public var description: String {
        switch self {
        case .noSuchProcess(let pid): "there is no process \(pid)"
        case .noPermission(let pid, let operation): "no permission for \(operation) on process \(pid)"
        case .alreadyTraced(let pid, let tracer): "process \(pid) is being traced by process \(tracer)"
        case .fault(let address): "address \(address) is not accessible"
        case .vanished(let pid): "process \(pid) has exited"
        case .executed(let pid): "process \(pid) has become another program by exec; nothing of the new one was changed"
        case .changing(let pid): "process \(pid) maps memory whenever its mappings are read"
        case .didNotStop(let pid, let threads) where threads.isEmpty:
            "process \(pid) could not be stopped in time"
        case .didNotStop(let pid, let threads):
            "threads \(threads.map(String.init).joined(separator: ", ")) of process \(pid) did not stop in time"
        case .noSuitableThread(let pid, let reasons):
            "no thread of process \(pid) can be borrowed now: \(reasons.joined(separator: "; "))"
        case .unsupported(let pid, let what): "process \(pid): \(what)"
        case .remoteCall(let name, let errno): "\(name) in the process: \(errnoName(errno))"
        case .systemCall(let name, let errno): "\(name): \(errnoName(errno))"
        case .crashed(let pid, let signal): "code that was run in process \(pid) has crashed: signal \(signal)"
        case .deadlocked(let pid): "code that was run in process \(pid) waited too long for a lock"
        case .malformed(let what): "malformed \(what)"
        case .deadlinePassed: "the tracer was ended at its deadline"
        case .tracerDied(let signal): "the tracer was ended by signal \(signal)"
        case .failed(let what): what
        }
    }
}
