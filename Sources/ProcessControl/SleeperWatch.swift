import CLinuxPtrace
import Glibc

/// A thread that waits in a system call, seen from outside.
public struct SleepingThread: Sendable {
    public let tid: Int32
    /// Of the system call, as the thread passed them.
    public let arguments: [UInt64]
    public let stackPointer: RemoteAddress
    public let instructionPointer: RemoteAddress
    /// In the C library's control block of the thread, above the thread's own stack; nil where the library has told the
    /// kernel of none (the head of the list of robust mutexes).
    public let controlBlock: RemoteAddress?
    /// How often the thread had been given a processor before it was looked at.
    fileprivate let runs: UInt64
    /// Of this thread: the number may be another's later, the descriptor is not.
    fileprivate let count: RunCount
    fileprivate let processors: ProcessorSet
}

/// The threads of a process that wait in the kernel. They are neither stopped nor woken nor traced (trap frozen-timeouts,
/// short-io).
///
/// A waiting thread runs none of the program's code before it is given a processor. The kernel counts how often that happens
/// (`/proc/PID/task/TID/schedstat`, third number). Where the count is what it was before the thread was looked at, the
/// thread has not run since, and its registers and its stack are what they were.
public final class SleeperWatch {
    private let process: BoundProcess
    private var counts: [Int32: RunCount] = [:]
    private var hold: ProcessorHold?
    /// Of descriptors; some are left for everything else.
    private let largestCount: Int

    public init(_ memory: RemoteMemory) {
        process = memory.process
        // A descriptor a thread.
        var limit = rlimit(rlim_cur: 256, rlim_max: 256)
        _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        largestCount = max(Int(clamping: limit.rlim_cur) - 128, 0)
    }

    /// Threads that wait in a system call now, at most 4,096: to look whether they have run takes a microsecond each, while
    /// nothing runs. All others run, or wait elsewhere. None where a thread has real-time priority: it may hand that on to
    /// one that sleeps, by a lock.
    public func look() throws(ProcessError) -> [SleepingThread] {
        let threads = try process.threadIDs()
        forget(except: Set(threads))
        var sleepers: [SleepingThread] = []
        for tid in threads {
            guard let state = ThreadState(of: tid, in: process) else { continue }
            if state.isRealTime { return [] }
            if sleepers.count < 4096, state.isAsleep, let sleeper = look(tid) { sleepers.append(sleeper) }
        }
        return sleepers
    }

    private func look(_ tid: Int32) -> SleepingThread? {
        // The count comes first: what runs after this line shows.
        guard let count = count(of: tid), let runs = count.value, runs > 0, let processors = ProcessorSet(of: tid),
            let call = SleepingCall.read(below: process, tid: tid), let number = call.number,
            !SleepingCall.makesProcess.contains(number), call.arguments.count == 6,
            let stackPointer = call.stackPointer, let instructionPointer = call.instructionPointer
        else { return nil }
        return SleepingThread(
            tid: tid, arguments: call.arguments, stackPointer: RemoteAddress(stackPointer),
            instructionPointer: RemoteAddress(instructionPointer), controlBlock: controlBlock(of: tid), runs: runs,
            count: count, processors: processors)
    }

    /// Whether the thread has run since it was looked at, or can't be asked.
    func isWoken(_ thread: SleepingThread) -> Bool { thread.count.value != thread.runs }

    /// Whether another thread, or an administrator, has let it run elsewhere since.
    func hasMoved(_ thread: SleepingThread) -> Bool { !thread.processors.isStill(of: thread.tid) }

    /// Prepares to keep the threads from running for a moment.
    /// - Returns: whether the kernel permits that.
    func canHold(_ threads: [SleepingThread]) -> Bool {
        let processors = threads.reduce(ProcessorSet()) { $0.union($1.processors) }
        if let hold, hold.processors == processors { return hold.isPermitted }
        hold = ProcessorHold(processors)
        return hold?.isPermitted == true
    }

    /// - Returns: nil when the threads can't be kept from running now.
    func whileNoneRuns<Value>(_ body: () throws -> Value) rethrows -> Value? {
        guard let hold, hold.take() else { return nil }
        defer { hold.release() }
        return try body()
    }

    /// Whether nobody else has run on the processors since they were taken.
    var isHeld: Bool { hold?.isUnbroken == true }

    private func controlBlock(of tid: Int32) -> RemoteAddress? {
        var head: UInt64 = 0
        return lp_robust_list(tid, &head) == 0 && head != 0 ? RemoteAddress(head) : nil
    }

    private func count(of tid: Int32) -> RunCount? {
        if let count = counts[tid], count.value != nil { return count }
        // The first time, or the number of a thread that has ended is another's now.
        counts[tid] = counts.count < largestCount ? RunCount(descriptor: process.open("task/\(tid)/schedstat")) : nil
        return counts[tid]
    }

    private func forget(except living: Set<Int32>) { counts = counts.filter { living.contains($0.key) } }
}

/// Of a thread, from its `stat`.
private struct ThreadState {
    /// Interruptibly, on a disk, stopped by a signal; not in the hands of a debugger.
    let isAsleep: Bool
    /// Its own priority, or one that a lock has lent it.
    let isRealTime: Bool

    init?(of tid: Int32, in process: BoundProcess) {
        guard let bytes = try? process.read("task/\(tid)/stat"), let fields = statFields(in: bytes), fields.count > 15,
            let state = fields[0].utf8.first, let priority = Int(fields[15])
        else { return nil }
        isAsleep = "SDTI".utf8.contains(state)
        isRealTime = priority < 0
    }
}
