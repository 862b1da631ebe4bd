import CLinuxPtrace

/// One thread of a stopped process. Its registers are as they were when it stopped.
public struct StoppedThread: Sendable {
    public let tid: Int32
    public internal(set) var registers: Registers

    public var stackPointer: RemoteAddress { RemoteAddress(registers.rsp) }
    public var instructionPointer: RemoteAddress { RemoteAddress(registers.rip) }
    /// Number of the system call it is in; nil in user code.
    public var systemCall: UInt64? { registers.systemCall }
}

/// A process none of whose threads runs. It exists only inside `withStoppedProcess`.
public struct StoppedProcess: ~Copyable {
    public let pid: Int32
    public let threads: [StoppedThread]
    /// CLOCK_MONOTONIC, in nanoseconds: when the first thread was interrupted, and when it should run again.
    public let stoppedAt: UInt64
    public let deadline: UInt64

    public let memory: RemoteMemory

    /// How long the stop may still last; a body that finds it used up should give up.
    public var nanosecondsLeft: UInt64 {
        let now = lp_monotonic_ns()
        return now < deadline ? deadline - now : 0
    }

    /// Writes to any page, PTRACE_POKEDATA included where the kernel forbids every other way (trap mdwe).
    public func write(_ bytes: [UInt8], at address: RemoteAddress) throws(ProcessError) {
        try memory.write(bytes, at: address, through: threads.first?.tid)
    }
}

/// A body's value, and what the stop cost the process.
public struct Stopped<Value> {
    public var value: Value
    /// From the first interrupt to the last thread running again, in microseconds.
    public var stopMicroseconds: Int
    public var threads: Int
    /// Stops that were tried, this one included.
    public var attempts: Int
}

/// Stops every thread of a process, runs `body`, and lets them run again on every way out.
///
/// Threads are seized before any is interrupted; new ones are caught. Signals that arrive are given back, and system
/// calls go on (trap eintr-from-stop). Compute everything before: inside, only check and write.
/// Only inside `runTracer`: waits for every child of the calling process, and is released by its end.
///
/// - Parameters:
///   - maximumStop: past it, the process runs again unchanged and another attempt is made.
///   - attempts: how often to try when threads don't stop in time; there are pauses between.
/// - Throws: `didNotStop`, `vanished`, `executed`, `alreadyTraced`, `noPermission`, or what `body` throws.
public func withStoppedProcess<Value>(
    _ memory: RemoteMemory, maximumStop: Duration = .milliseconds(20), attempts: Int = 1,
    _ body: (borrowing StoppedProcess) throws -> Value
) throws -> Stopped<Value> {
    var attempt = 1
    while true {
        var stop = WorldStop(memory.process)
        do {
            try stop.seizeAll()
        } catch {
            stop.resumeAll()
            throw error
        }
        let realtime = RealtimePriority()
        defer { realtime.restore() }
        let watchdog = StopWatchdog()
        watchdog.arm(maximumStop: Int(clamping: maximumStop.nanoseconds / 1_000_000))
        defer { watchdog.disarm() }
        do {
            try stop.interruptAll(maximumStop: maximumStop)
            let value: Value
            do {
                value = try body(stop.view(memory))
            } catch {
                stop.resumeAll()
                throw error
            }
            let count = stop.threads.count
            let end = stop.resumeAll()
            let microseconds = Int((end &- stop.stoppedAt) / 1000)
            return Stopped(value: value, stopMicroseconds: microseconds, threads: count, attempts: attempt)
        } catch let error as ProcessError {
            stop.resumeAll()
            guard case .didNotStop = error, attempt < attempts else { throw error }
        }
        lp_sleep_ns(UInt64(min(attempt, 20)) * 5_000_000)
        attempt += 1
    }
}

/// The process that has the number now.
public func withStoppedProcess<Value>(
    _ pid: Int32, maximumStop: Duration = .milliseconds(20), attempts: Int = 1,
    _ body: (borrowing StoppedProcess) throws -> Value
) throws -> Stopped<Value> {
    try withStoppedProcess(RemoteMemory(pid: pid), maximumStop: maximumStop, attempts: attempts, body)
}

/// SCHED_FIFO while the process stands still: without it the tracer waits behind busy threads (Documentation/architecture.md).
struct RealtimePriority {
    private let taken: Bool
    init() { taken = lp_set_realtime(50) == 0 }
    func restore() { if taken { _ = lp_set_realtime(0) } }
}
