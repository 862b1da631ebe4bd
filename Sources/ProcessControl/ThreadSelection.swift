import CLinuxPtrace
import Glibc

/// Chooses the thread that will notice least, and refuses those that would notice at all.
struct ThreadSelection {
    let memory: RemoteMemory
    let gadgets: CallGadgets
    let map: MemoryMap
    /// Asked to stop and not yet there: still ours.
    private var stragglers: [Int32] = []

    private var pid: Int32 { memory.pid }

    init(memory: RemoteMemory, gadgets: CallGadgets, map: MemoryMap) {
        self.memory = memory
        self.gadgets = gadgets
        self.map = map
    }

    /// The first fit thread, seized and standing. Throws `noSuitableThread` with a reason for each, `unsupported` where
    /// trying again can't help.
    mutating func borrow(
        _ watchdog: borrowing StopWatchdog, _ unfitness: (StoppedThread) throws(ProcessError) -> String?
    ) throws(ProcessError) -> BorrowedThread {
        let candidates = try memory.process.threadIDs().map { (tid: $0, rank: rank($0)) }
        var reasons: [String] = []
        var hidden = 0
        for allowsSleepers in [false, true] {
            for candidate in candidates.sorted(by: { $0.rank < $1.rank }) {
                guard candidate.rank < unfit else {
                    if allowsSleepers { reasons.append("thread \(candidate.tid) is in an uninterruptible state") }
                    continue
                }
                // Nobody is interrupted in vain: these are refused as long as another will do.
                if !allowsSleepers, candidate.rank >= sleeping { continue }
                watchdog.armForStep()
                switch try examine(candidate.tid, allowsSleepers: allowsSleepers, unfitness) {
                case .success(let thread): return thread
                case .failure(let reason):
                    if allowsSleepers { reasons.append(reason.text) }
                    if allowsSleepers, reason.text.hasSuffix(Self.hiddenFilters) { hidden += 1 }
                }
            }
        }
        if hidden > 0, hidden == reasons.count { throw .unsupported(pid: pid, what: try whyFiltersAreHidden()) }
        throw .noSuitableThread(pid: pid, reasons: Array(reasons.prefix(8)))
    }

    private static let hiddenFilters = "has seccomp filters that can't be read"

    /// The kernel shows filters to CAP_SYS_ADMIN only, and to nobody who is under a filter.
    private func whyFiltersAreHidden() throws(ProcessError) -> String {
        if try ProcessInformation.read(pid: getpid()).seccomp == 0 {
            return
                "its seccomp filters can't be read without CAP_SYS_ADMIN: run livepatch as root, outside of containers"
        }
        return "its seccomp filters can't be read by a process that is under a filter itself, as in a container: "
            + "run livepatch on the host, or start the container with --security-opt seccomp=unconfined"
    }

    /// Lets go, as soon as they stop, the threads that took too long. What still does not stop within a second is let go
    /// by the end of this process.
    func releaseStragglers() {
        for tid in stragglers {
            guard (try? waitForStop(tid, nanoseconds: 1_000_000_000)) != nil else { continue }
            if var registers = try? readRegisters(tid, pid: pid) { restartIfNeeded(tid, &registers) }
            _ = lp_ptrace(LP_DETACH, tid, 0, 0)
        }
    }

    private let unfit = 9
    /// The lowest rank of threads that would notice.
    private let sleeping = 4

    /// Lower is better: a thread in user code is in no call at all; one in `pause` may miss a signal if we die at a
    /// bad moment; a sleeping one would sleep its whole time again (trap restart-block); then comes one that waits with a mask of the
    /// call's own (trap saved-mask), and last one whose call would return with a part of what was asked for (trap short-io).
    private func rank(_ tid: Int32) -> Int {
        guard let state = threadState(pid: pid, tid: tid) else { return unfit }
        if "DZXTt".utf8.contains(state) { return unfit }
        guard let call = SleepingCall.read(pid: pid, tid: tid), let number = call.number else { return 0 }
        if call.mayHaveMask { return 5 }
        if call.mayReturnPart { return 6 }
        if call.mayHaveTimeout { return 4 }
        switch number {
        case 34, 130, 128: return 3
        case 35, 230, 219: return 4
        case 7: return call.arguments[2] == .max || UInt32(truncatingIfNeeded: call.arguments[2]) == .max ? 2 : 4
        case 202: return call.arguments[3] == 0 ? 1 : 4
        default: return 2
        }
    }

    struct Reason: Error { var text: String }

    private mutating func examine(
        _ tid: Int32, allowsSleepers: Bool, _ objection: (StoppedThread) throws(ProcessError) -> String?
    ) throws(ProcessError) -> Result<BorrowedThread, Reason> {
        if stragglers.contains(tid) { return .failure(Reason(text: "thread \(tid) did not stop")) }
        let result = lp_ptrace(LP_SEIZE, tid, 0, UInt64(LP_O_TRACESYSGOOD | LP_O_TRACEEXEC))
        if result == -Int(ESRCH) { return .failure(Reason(text: "thread \(tid) has ended")) }
        let ours = result != 0 && (try? ProcessInformation.read(pid: tid))?.tracer == getpid()
        if result != 0, !ours { throw try seizeError(tid) }
        _ = lp_ptrace(LP_INTERRUPT, tid, 0, 0)
        do throws(ProcessError) {
            try waitForStop(tid, nanoseconds: 300_000_000)
            let thread = try read(tid)
            guard memory.process.has(thread: tid) else {
                // Another process's by now (trap pid-reuse).
                _ = lp_ptrace(LP_DETACH, tid, 0, 0)
                throw .vanished(pid: pid)
            }
            let stopped = StoppedThread(tid: tid, registers: thread.registers)
            var reason = try unfitness(thread, allowsSleepers: allowsSleepers)
            if reason == nil { reason = try objection(stopped) }
            guard let reason else { return .success(thread) }
            _ = lp_ptrace(LP_DETACH, tid, 0, 0)
            return .failure(Reason(text: "thread \(tid) \(reason)"))
        } catch {
            switch error {
            case .vanished: return .failure(Reason(text: "thread \(tid) has ended"))
            case .didNotStop:
                stragglers.append(tid)
                return .failure(Reason(text: "thread \(tid) did not stop"))
            default: break
            }
            _ = lp_ptrace(LP_DETACH, tid, 0, 0)
            throw error
        }
    }

    private func seizeError(_ tid: Int32) throws(ProcessError) -> ProcessError {
        let tracer = try ProcessInformation.read(pid: tid).tracer
        return tracer == 0
            ? .noPermission(pid: pid, operation: "ptrace") : .alreadyTraced(pid: pid, tracer: tracer)
    }

    /// Until the stop we asked for: a signal that comes first is given to the thread, not held.
    private func waitForStop(_ tid: Int32, nanoseconds: UInt64) throws(ProcessError) {
        while true {
            switch try waitForThread(tid, pid: pid, nanoseconds: nanoseconds) {
            case .stop: return
            case .signal(let number): _ = lp_ptrace(LP_CONT, tid, 0, UInt64(number))
            default: _ = lp_ptrace(LP_CONT, tid, 0, 0)
            }
        }
    }

    private func read(_ tid: Int32) throws(ProcessError) -> BorrowedThread {
        var registers = try readRegisters(tid, pid: pid)
        restartIfNeeded(tid, &registers)
        var mask: UInt64 = 0
        let result = withUnsafeMutablePointer(to: &mask) {
            lp_ptrace(LP_GETSIGMASK, tid, 8, UInt64(UInt(bitPattern: $0)))
        }
        guard result >= 0 else { throw processError(result, "PTRACE_GETSIGMASK", pid: pid) }
        // PTRACE_GETSIGMASK shows the mask that the kernel will restore.
        let blocked = try ProcessInformation.read(pid: tid).blockedSignals
        var extended = [UInt8](repeating: 0, count: 1 << 16)
        let count = extended.withUnsafeMutableBytes {
            lp_get_regset(tid, UInt64(LP_NT_X86_XSTATE), $0.baseAddress, $0.count)
        }
        guard count > 0 else { throw processError(count, "PTRACE_GETREGSET", pid: pid) }
        extended.removeLast(extended.count - count)
        return BorrowedThread(
            tid: tid, registers: registers, mask: mask, temporaryMask: blocked == mask ? nil : blocked,
            extended: extended,
            filters: try SeccompFilters.read(pid: pid, tid: tid))
    }

    /// Why the thread must be left alone, or nil.
    private func unfitness(_ thread: BorrowedThread, allowsSleepers: Bool) throws(ProcessError) -> String? {
        if thread.registers.cs != 0x33 { return "runs 32-bit code" }
        let sleeps = Int64(bitPattern: thread.registers.rax) == RestartCode.block && thread.registers.systemCall != nil
        if sleeps, !allowsSleepers { return "sleeps" }
        if thread.temporaryMask != nil, !allowsSleepers { return "waits with a signal mask of the call's own" }
        if try ProcessInformation.read(pid: thread.tid).hasShadowStack { return "has a shadow stack" }
        guard let filters = thread.filters else { return Self.hiddenFilters }
        let signalReturn = 15
        if !filters.allow(signalReturn, [], at: gadgets.call.rawValue + 2) { return "may not return from a signal" }
        if try isInRestartableSequence(thread.tid) { return "is in a restartable sequence" }
        return try stackUnfitness(thread)
    }

    /// The kernel would not abort the sequence if we moved the thread out of it (trap rseq).
    private func isInRestartableSequence(_ tid: Int32) throws(ProcessError) -> Bool {
        var configuration = lp_rseq_configuration()
        let size = UInt64(MemoryLayout<lp_rseq_configuration>.size)
        let result = withUnsafeMutablePointer(to: &configuration) {
            lp_ptrace(LP_GET_RSEQ_CONFIGURATION, tid, size, UInt64(UInt(bitPattern: $0)))
        }
        guard result > 0, configuration.abi_pointer != 0 else { return false }
        let place = RemoteAddress(configuration.abi_pointer) + 8
        return try memory.read(place, as: UInt64.self) != 0
    }

    /// The frame must fit where a signal's frame would be allowed to lie: on the thread's own stack, with a guard or
    /// nothing below it (trap frame-room).
    private func stackUnfitness(_ thread: BorrowedThread) throws(ProcessError) -> String? {
        let pointer = RemoteAddress(thread.registers.rsp)
        let map = try map.mapping(containing: pointer) != nil ? map : memory.map()
        guard let index = map.index(containing: pointer) else { return "has no stack" }
        let stack = map.mappings[index]
        // Executable stacks (nested functions of GCC, `-z execstack`) are stacks like others.
        guard stack.isReadable, stack.isWritable, !stack.isShared else {
            return "has an unusual stack"
        }
        let isOwn = stack.kind == .stack || stack.range.contains(RemoteAddress(thread.registers.fs_base))
        guard isOwn, stack.kind == .stack || stack.kind == .anonymous else { return "is not on its own stack" }
        if index > 0, map.mappings[index - 1].end == stack.start, map.mappings[index - 1].isWritable {
            return "has no guard below its stack"
        }
        // Red zone, alignment and the frame proper, and as much again for what a handler would need.
        let needed = UInt64(thread.extended.count) + 2048
        let room = pointer.distance(from: stack.start)
        return room >= needed + 4096 ? nil : "has too little room on its stack"
    }
}
