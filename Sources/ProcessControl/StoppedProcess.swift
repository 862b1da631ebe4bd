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

/// A process none of whose threads runs, but for those that sleep and may be woken. It exists only inside
/// `withStoppedProcess`.
public struct StoppedProcess: ~Copyable {
    public let pid: Int32
    public let threads: [StoppedThread]
    /// Threads that were left alone: they have not run since they were looked at, as far as is known yet.
    public let sleepers: [SleepingThread]
    /// CLOCK_MONOTONIC, in nanoseconds: when the first thread was interrupted, and when it should run again.
    public let stoppedAt: UInt64
    public let deadline: UInt64

    public let memory: RemoteMemory
    fileprivate let watch: SleeperWatch?

    init(
        pid: Int32, threads: [StoppedThread], sleepers: [SleepingThread], stoppedAt: UInt64, deadline: UInt64,
        memory: RemoteMemory, watch: SleeperWatch?
    ) {
        (self.pid, self.threads, self.sleepers) = (pid, threads, sleepers)
        (self.stoppedAt, self.deadline) = (stoppedAt, deadline)
        (self.memory, self.watch) = (memory, watch)
    }

    /// Runs `body` while no thread of the process can run: for every change that is made to it. The processors on which
    /// sleepers could run are taken from them, and their run counts compared once more.
    ///
    /// Where a sleeper has been woken, `body` is not run: the thread is stopped as well, and the whole stop's body is
    /// called again. No other error may be made of what is thrown then.
    public func whileNothingRuns<Value>(_ body: () throws -> Value) throws -> Value {
        guard let watch, !sleepers.isEmpty else { return try body() }
        var woken = sleepers.filter(watch.hasMoved)
        if !woken.isEmpty { throw SleepersWoke(threads: woken) }
        let value = try watch.whileNoneRuns { () -> Value? in
            woken = sleepers.filter(watch.isWoken)
            guard woken.isEmpty, watch.isHeld, nanosecondsLeft > 0 else { return nil }
            return try body()
        }
        if let value = value ?? nil { return value }
        throw SleepersWoke(threads: woken)
    }

    /// How long the stop may still last; a body that finds it used up should give up.
    public var nanosecondsLeft: UInt64 {
        let now = lp_monotonic_ns()
        return now < deadline ? deadline - now : 0
    }
}

/// Nothing was changed: these threads have to be stopped first. None: the processors could not be had.
private struct SleepersWoke: Error { var threads: [SleepingThread] }

/// A body's value, and what the stop cost the process.
public struct Stopped<Value> {
    public var value: Value
    /// From the first interrupt to the last thread running again, in microseconds.
    public var stopMicroseconds: Int
    public var threads: Int
    /// How many of them were interrupted; the others slept and were left alone.
    public var interrupted: Int
    /// How many were interrupted in a system call.
    public var interruptedCalls: Int
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
///   - sleepers: threads that are not to be stopped while they sleep, as `watch` has found them; those that can't be kept
///     from running are stopped all the same. `body` makes its changes in `whileNothingRuns`.
/// - Throws: `didNotStop`, `vanished`, `executed`, `alreadyTraced`, `noPermission`, or what `body` throws.
public func withStoppedProcess<Value>(
    _ memory: RemoteMemory, maximumStop: Duration = .milliseconds(20), attempts: Int = 1,
    leaving sleepers: [SleepingThread] = [], _ watch: SleeperWatch? = nil,
    _ body: (borrowing StoppedProcess) throws -> Value
) throws -> Stopped<Value> {
    var attempt = 1
    while true {
        // The last look is made when none of them can run.
        let asleep = watch.map { watch in sleepers.filter { !watch.isWoken($0) } } ?? []
        let canHold = !asleep.isEmpty && watch?.canHold(asleep) == true
        var stop = WorldStop(memory.process, leaving: canHold ? asleep : [], watch)
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
            let value = try run(body, &stop, memory)
            let (threads, asleep) = (stop.threads, stop.sleepers.count)
            let end = stop.resumeAll()
            return Stopped(
                value: value, stopMicroseconds: Int((end &- stop.stoppedAt) / 1000), threads: threads.count + asleep,
                interrupted: threads.count, interruptedCalls: threads.count { $0.systemCall != nil }, attempts: attempt)
        } catch let error as ProcessError {
            stop.resumeAll()
            guard case .didNotStop = error, attempt < attempts else { throw error }
        } catch {
            stop.resumeAll()
            throw error
        }
        lp_sleep_ns(UInt64(min(attempt, 20)) * 5_000_000)
        attempt += 1
    }
}

/// Calls `body`, and again whenever a sleeper had to be stopped as well, or the processors could not be had.
private func run<Value>(
    _ body: (borrowing StoppedProcess) throws -> Value, _ stop: inout WorldStop, _ memory: RemoteMemory
) throws -> Value {
    var failures = 0
    while true {
        do {
            return try body(stop.view(memory))
        } catch let woke as SleepersWoke {
            failures += woke.threads.isEmpty ? 1 : 0
            guard failures < 3, lp_monotonic_ns() < stop.deadline else {
                throw ProcessError.didNotStop(pid: memory.pid, threads: [])
            }
            if !woke.threads.isEmpty { try stop.stop(woke.threads) }
        }
    }
}

/// The process that has the number now.
public func withStoppedProcess<Value>(
    _ pid: Int32, maximumStop: Duration = .milliseconds(20), attempts: Int = 1,
    _ body: (borrowing StoppedProcess) throws -> Value
) throws -> Stopped<Value> {
    try withStoppedProcess(
        RemoteMemory(pid: pid), maximumStop: maximumStop, attempts: attempts, leaving: [], nil, body)
}

/// SCHED_FIFO while the process stands still: without it the tracer waits behind busy threads (Documentation/architecture.md).
struct RealtimePriority {
    static let priority: Int32 = 50
    let isTaken: Bool
    init() { isTaken = lp_set_realtime(RealtimePriority.priority) == 0 }
    func restore() { if isTaken { _ = lp_set_realtime(0) } }
}
