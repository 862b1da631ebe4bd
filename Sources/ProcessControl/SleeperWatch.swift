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

    public init(_ memory: RemoteMemory) {
        process = memory.process
        // A descriptor a thread.
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    /// Every thread that waits in a system call now; all others run, or wait elsewhere.
    public func look() throws(ProcessError) -> [SleepingThread] {
        let threads = try process.threadIDs()
        forget(except: Set(threads))
        return threads.compactMap(look)
    }

    private func look(_ tid: Int32) -> SleepingThread? {
        // The count comes first: what runs after this line shows.
        guard let runs = runs(of: tid), runs > 0, isOrdinary(tid), let processors = ProcessorSet(of: tid),
            let call = SleepingCall.read(below: process, tid: tid), call.number != nil, call.arguments.count == 6,
            let stackPointer = call.stackPointer, let instructionPointer = call.instructionPointer
        else { return nil }
        return SleepingThread(
            tid: tid, arguments: call.arguments, stackPointer: RemoteAddress(stackPointer),
            instructionPointer: RemoteAddress(instructionPointer), controlBlock: controlBlock(of: tid), runs: runs,
            processors: processors)
    }

    /// Whether the thread has run since it was looked at, or can't be asked.
    func isWoken(_ thread: SleepingThread) -> Bool { runs(of: thread.tid) != thread.runs }

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

    /// A real-time thread may be preferred to us, and what a debugger holds changes without running.
    private func isOrdinary(_ tid: Int32) -> Bool {
        guard let bytes = try? process.read("task/\(tid)/stat"), let state = statFields(in: bytes)?.first?.utf8.first,
            "SDTI".utf8.contains(state)
        else { return false }
        let (other, batch, idle): (Int32, Int32, Int32) = (0, 3, 5)
        return [other, batch, idle].contains(sched_getscheduler(tid))
    }

    private func controlBlock(of tid: Int32) -> RemoteAddress? {
        var head: UInt64 = 0
        return lp_robust_list(tid, &head) == 0 && head != 0 ? RemoteAddress(head) : nil
    }

    private func runs(of tid: Int32) -> UInt64? {
        let count = counts[tid] ?? RunCount(descriptor: process.open("task/\(tid)/schedstat"))
        counts[tid] = count
        return count?.value
    }

    private func forget(except living: Set<Int32>) { counts = counts.filter { living.contains($0.key) } }
}
