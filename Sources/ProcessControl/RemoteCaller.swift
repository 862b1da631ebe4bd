import CLinuxPtrace
import Glibc

/// A thread of another process that makes system calls for us, while the process's other threads run.
///
/// From the moment its registers are changed until they are its own again, they lead to `rt_sigreturn` on a complete
/// signal frame: the tracer may be killed at any instant, and the thread goes on as if nothing had been (Documentation/architecture.md,
/// Dying is allowed).
public struct RemoteCaller: ~Copyable {
    public let pid: Int32
    public let tid: Int32
    private let borrowed: BorrowedThread
    private let memory: RemoteMemory
    private let watchdog: StopWatchdog
    private let gadgets: CallGadgets
    private let frame: RemoteAddress
    private let afterReturn: Registers
    /// Registers lead to `rt_sigreturn` and signals are blocked.
    private var isPrepared = false
    private var isRunning = false
    /// Has gone through `rt_sigreturn`, and stands behind it.
    private var hasReturned = false
    /// Is still in code we had it run, and comes back by itself.
    private var isAbandoned = false
    /// Stands before a fault of the code that we had it run: a signal that the program does not get.
    private var hasFaulted = false
    /// Is another program's thread now.
    private var hasExecuted = false
    /// Signals like those of a fault that somebody has sent meanwhile.
    private var held: [Int32] = []

    private init(
        _ memory: RemoteMemory, thread: BorrowedThread, gadgets: CallGadgets, frame: SignalFrame,
        _ watchdog: consuming StopWatchdog
    ) {
        self.watchdog = watchdog
        pid = memory.pid
        self.memory = memory
        self.tid = thread.tid
        self.borrowed = thread
        self.gadgets = gadgets
        self.frame = frame.address
        afterReturn = frame.registers
    }

    /// Writes the frame; nothing of the thread has changed yet.
    static func prepare(
        _ memory: RemoteMemory, thread: BorrowedThread, gadgets: CallGadgets, _ watchdog: consuming StopWatchdog
    ) throws(ProcessError) -> RemoteCaller {
        let frame = try thread.frame(restorer: gadgets.restorer, memory: memory)
        try memory.write(frame.bytes, at: frame.address)
        return RemoteCaller(memory, thread: thread, gadgets: gadgets, frame: frame, watchdog)
    }

    /// One system call with the kernel's result; values from -4095 to -1 are `-errno`.
    /// Throws `vanished` when the process ends, `didNotStop` when the call takes more than two seconds,
    /// `unsupported` when a seccomp filter forbids it.
    public mutating func systemCall(_ number: Int, _ arguments: UInt64...) throws(ProcessError) -> Int64 {
        let padded = arguments + [UInt64](repeating: 0, count: max(0, 6 - arguments.count))
        // A filter could kill the process (trap seccomp), or change the result.
        guard borrowed.filters?.allow(number, padded, at: gadgets.call.rawValue + 2) == true else {
            throw .unsupported(pid: pid, what: "its seccomp filter forbids system call \(number)")
        }
        var registers = borrowed.registers
        registers.rsp = frame.rawValue
        registers.rip = gadgets.call.rawValue
        registers.rax = UInt64(number)
        // Or else the kernel would take the result for that of an interrupted call, and start it again.
        registers.orig_rax = .max
        (registers.rdi, registers.rsi, registers.rdx) = (padded[0], padded[1], padded[2])
        (registers.r10, registers.r8, registers.r9) = (padded[3], padded[4], padded[5])
        watchdog.armForStep()
        try prepare(registers)
        isRunning = true
        try step()
        try step()
        isRunning = false
        return Int64(bitPattern: try readRegisters(tid, pid: pid).rax)
    }

    /// Runs code of the process as a function on the borrowed thread, up to its return.
    ///
    /// The code must not depend on anything the interrupted code may hold, a lock above all: choose the thread (trap
    /// unsafe-point). There is no result: whoever wants one calls a stub that stores it. If the tracer dies, the
    /// function runs to its end and the thread goes on as before.
    ///
    /// Signals are blocked, but for those of a fault: were they blocked too, the kernel would take the program's handlers
    /// away (`force_sig_info_to_task`).
    ///
    /// - Throws: `crashed` after a fault, and `deadlocked` when it waits for a lock as the time is over: the code is given
    ///   up where it is, and the thread goes on as before. `didNotStop` when it still computes after two seconds; the
    ///   thread is left in it and comes back by itself.
    public mutating func run(_ function: RemoteAddress, _ arguments: UInt64...) throws(ProcessError) {
        guard borrowed.filters?.hasNone == true else {
            throw .unsupported(pid: pid, what: "it runs under seccomp, and the code's system calls are not known")
        }
        let padded = arguments + [UInt64](repeating: 0, count: max(0, 6 - arguments.count))
        var registers = borrowed.registers
        registers.rsp = frame.rawValue
        registers.rip = function.rawValue
        registers.orig_rax = .max
        // A function may rely on the direction flag being clear.
        let directionFlag: UInt64 = 1 << 10
        registers.eflags &= ~directionFlag
        (registers.rax, registers.rdi, registers.rsi, registers.rdx) = (0, padded[0], padded[1], padded[2])
        (registers.rcx, registers.r8, registers.r9) = (padded[3], padded[4], padded[5])
        try prepare(registers)
        isAbandoned = true
        let failure = try runToReturn(until: lp_monotonic_ns() &+ 2_000_000_000)
        (isAbandoned, isPrepared, hasReturned) = (false, false, true)
        if let failure { throw failure }
    }

    private static let faults = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS]

    /// Until the thread has gone through `rt_sigreturn`; returns why it did so early.
    private mutating func runToReturn(until end: UInt64) throws(ProcessError) -> ProcessError? {
        var (failure, deadline): (ProcessError?, UInt64) = (nil, end)
        while true {
            watchdog.armForStep()
            do throws(ProcessError) {
                guard let signal = try runToFault(until: deadline) else { return failure }
                guard failure == nil else {
                    (isAbandoned, hasFaulted) = (false, true)
                    throw .crashed(pid: pid, signal: signal)
                }
                failure = .crashed(pid: pid, signal: signal)
            } catch {
                guard case .didNotStop = error, failure == nil, try isWaitingForLock() else { throw error }
                failure = .deadlocked(pid: pid)
            }
            try leadBack()
            deadline = lp_monotonic_ns() &+ 2_000_000_000
        }
    }

    /// Until `rt_sigreturn` (nil), or the signal of a fault.
    private mutating func runToFault(until deadline: UInt64) throws(ProcessError) -> Int32? {
        let signalReturn: UInt64 = 15
        while true {
            if let signal = try advance(until: deadline) { return signal }
            let entered = try readRegisters(tid, pid: pid)
            if let signal = try advance(until: deadline) { return signal }
            if entered.orig_rax == signalReturn, entered.rsp == frame.rawValue &+ 8 { return nil }
        }
    }

    /// To the next entry or exit of a system call, or to the fault of the code that runs, which it does not get.
    private mutating func advance(until deadline: UInt64) throws(ProcessError) -> Int32? {
        var signal: UInt64 = 0
        while true {
            let now = lp_monotonic_ns()
            guard now < deadline else { throw .didNotStop(pid: pid, threads: [tid]) }
            try check(lp_ptrace(LP_SYSCALL, tid, 0, signal), "PTRACE_SYSCALL")
            switch try wait(nanoseconds: min(deadline - now, 2_000_000_000)) {
            case .systemCall: return nil
            case .signal(let number) where RemoteCaller.faults.contains(number): return number
            case .signal(let number): signal = UInt64(number)
            default: signal = 0
            }
        }
    }

    /// Stops the thread; it stays stopped when it waits in `futex`, and goes on otherwise.
    private mutating func isWaitingForLock() throws(ProcessError) -> Bool {
        try check(lp_ptrace(LP_INTERRUPT, tid, 0, 0), "PTRACE_INTERRUPT")
        while true {
            switch try wait(nanoseconds: 300_000_000) {
            case .signal(let number): try check(lp_ptrace(LP_CONT, tid, 0, UInt64(number)), "PTRACE_CONT")
            // The exit of the call that the interrupt has ended: that counts as the stop (the kernel sends no other).
            case .stop, .systemCall:
                let futex: UInt64 = 202
                if try readRegisters(tid, pid: pid).systemCall == futex { return true }
                try check(lp_ptrace(LP_CONT, tid, 0, 0), "PTRACE_CONT")
                return false
            default: try check(lp_ptrace(LP_CONT, tid, 0, 0), "PTRACE_CONT")
            }
        }
    }

    /// Gives up the code that runs: the thread's next step is `rt_sigreturn`.
    private func leadBack() throws(ProcessError) {
        try checkGadgets()
        var registers = try readRegisters(tid, pid: pid)
        registers.rip = gadgets.restorer.rawValue
        registers.rsp = frame.rawValue &+ 8
        registers.orig_rax = .max
        try setRegisters(registers)
    }

    /// From here on the thread leads to `rt_sigreturn`.
    private mutating func prepare(_ registers: Registers) throws(ProcessError) {
        try checkGadgets()
        try setRegisters(registers)
        guard !isPrepared else { return }
        // Only now: a handler may have to wait, but never longer than the registers lead back (trap
        // signals-while-borrowed). Not the signals of a fault: were they blocked too, the kernel would take the program's
        // handlers away (`force_sig_info_to_task`).
        try setMask(~RemoteCaller.faults.reduce(0) { $0 | 1 << UInt64($1 - 1) })
        isPrepared = true
    }

    /// The thread stands: from here to its next step nothing can take the code away but another thread.
    private func checkGadgets() throws(ProcessError) {
        if try gadgets.stand(on: tid, pid: pid) { return }
        // Throws where the process has exited, or is another program by now (trap exec-under-borrow).
        _ = try memory.readPrefix(gadgets.call, count: 1)
        throw .noSuitableThread(pid: pid, reasons: ["the code that thread \(tid) would run has just changed"])
    }

    /// Gives the thread back as it was. Called once, on every way out.
    mutating func finish() throws(ProcessError) {
        watchdog.armForStep()
        if hasExecuted { return try check(lp_ptrace(LP_DETACH, tid, 0, 0), "PTRACE_DETACH") }
        if isAbandoned { try resumeToStop() }
        if !isAbandoned || hasFaulted {
            if isPrepared || hasReturned || hasFaulted {
                // The thread stands at the exit of a system call, where the kernel would not restart the interrupted
                // one: it only does so on its way out of a stop like the one in which we found the thread.
                if !hasFaulted { try resumeToStop() }
                try setMask(borrowed.mask)
            }
            // `rt_sigreturn` has made the kernel forget how to go on sleeping (trap restart-block).
            let forgot = hasReturned && Int64(bitPattern: borrowed.registers.rax) == RestartCode.block
            let pending = (try? ProcessInformation.read(pid: tid))?.pendingSignals ?? 0
            let repeats = forgot || borrowed.mustRepeatCall(pending: pending)
            try setRegisters(repeats ? afterReturn : borrowed.registers)
        }
        try check(lp_ptrace(LP_DETACH, tid, 0, 0), "PTRACE_DETACH")
        for signal in held { _ = lp_tgkill(pid, tid, signal) }
    }

    private mutating func resumeToStop() throws(ProcessError) {
        try check(lp_ptrace(LP_INTERRUPT, tid, 0, 0), "PTRACE_INTERRUPT")
        if !isRunning && !isAbandoned { try check(lp_ptrace(LP_CONT, tid, 0, 0), "PTRACE_CONT") }
        while true {
            switch try wait(nanoseconds: 2_000_000_000) {
            case .stop: return
            case .signal(let number) where try isOwnFault(number):
                hasFaulted = true
                return
            case .signal(let number): try check(lp_ptrace(LP_CONT, tid, 0, UInt64(number)), "PTRACE_CONT")
            default: try check(lp_ptrace(LP_CONT, tid, 0, 0), "PTRACE_CONT")
            }
        }
    }

    /// To the next entry or exit of a system call; a stop signal, which can't be blocked, is passed on.
    ///
    /// Never PTRACE_SINGLESTEP: its trap flag would stay behind if the tracer died, and kill the process.
    private mutating func step() throws(ProcessError) {
        var signal: UInt64 = 0
        while true {
            try check(lp_ptrace(LP_SYSCALL, tid, 0, signal), "PTRACE_SYSCALL")
            switch try wait(nanoseconds: 2_000_000_000) {
            case .systemCall: return
            case .signal(let number) where try isOwnFault(number):
                (isRunning, hasFaulted) = (false, true)
                throw .crashed(pid: pid, signal: number)
            case .signal(let number) where RemoteCaller.faults.contains(number):
                // Sent by somebody: a handler must not run here (trap signals-while-borrowed).
                held.append(number)
                signal = 0
            case .signal(let number): signal = UInt64(number)
            default: signal = 0
            }
        }
    }

    /// A fault of the code that we had the thread run, and not the program's own (trap exec-under-borrow).
    private func isOwnFault(_ signal: Int32) throws(ProcessError) -> Bool {
        guard RemoteCaller.faults.contains(signal) else { return false }
        var information = [Int32](repeating: 0, count: 32)
        let result = information.withUnsafeMutableBytes {
            lp_ptrace(LP_GETSIGINFO, tid, 0, UInt64(UInt(bitPattern: $0.baseAddress)))
        }
        try check(result, "PTRACE_GETSIGINFO")
        // `si_code`: what the kernel itself raises is above 0.
        guard information[2] > 0 else { return false }
        return gadgets.contain(try readRegisters(tid, pid: pid).rip)
    }

    private mutating func wait(nanoseconds: UInt64) throws(ProcessError) -> WaitStatus {
        do {
            return try waitForThread(tid, pid: pid, nanoseconds: nanoseconds)
        } catch {
            if case .executed = error { hasExecuted = true }
            throw error
        }
    }

    private func setRegisters(_ registers: Registers) throws(ProcessError) {
        var registers = registers
        let result = withUnsafeMutablePointer(to: &registers) {
            lp_ptrace(LP_SETREGS, tid, 0, UInt64(UInt(bitPattern: $0)))
        }
        try check(result, "PTRACE_SETREGS")
    }

    private func setMask(_ mask: UInt64) throws(ProcessError) {
        var mask = mask
        let result = withUnsafeMutablePointer(to: &mask) {
            lp_ptrace(LP_SETSIGMASK, tid, 8, UInt64(UInt(bitPattern: $0)))
        }
        try check(result, "PTRACE_SETSIGMASK")
    }

    private func check(_ result: Int, _ operation: String) throws(ProcessError) {
        guard result >= 0 else { throw processError(result, operation, pid: pid) }
    }
}

func readRegisters(_ tid: Int32, pid: Int32) throws(ProcessError) -> Registers {
    var registers = Registers()
    let result = withUnsafeMutablePointer(to: &registers) {
        lp_ptrace(LP_GETREGS, tid, 0, UInt64(UInt(bitPattern: $0)))
    }
    guard result == 0 else { throw processError(result, "PTRACE_GETREGS", pid: pid) }
    return registers
}

/// The next status of a thread, within the time given.
func waitForThread(_ tid: Int32, pid: Int32, nanoseconds: UInt64) throws(ProcessError) -> WaitStatus {
    let deadline = lp_monotonic_ns() &+ nanoseconds
    _ = lp_tick(nanoseconds, 1_000_000)
    defer { _ = lp_tick(0, 0) }
    while true {
        let (result, status) = takeStatus(tid)
        if result == -Int(EINTR) {
            guard lp_monotonic_ns() < deadline else { throw .didNotStop(pid: pid, threads: [tid]) }
            continue
        }
        guard result > 0 else { throw letGoAfterExec(pid) ? .executed(pid: pid) : .vanished(pid: pid) }
        let what = WaitStatus(status)
        if case .exited = what { throw .vanished(pid: pid) }
        if case .exec = what { throw .executed(pid: pid) }
        return what
    }
}

/// Whether the thread that we held has called exec: its number is the process's from then on. It is let go untouched.
private func letGoAfterExec(_ pid: Int32) -> Bool {
    for _ in 0..<2000 {
        let (result, status) = takeStatus(pid, flags: LP_WNOHANG)
        if result < 0 { return false }
        if result > 0 {
            guard case .exec = WaitStatus(status) else { return false }
            _ = lp_ptrace(LP_DETACH, pid, 0, 0)
            return true
        }
        lp_sleep_ns(1_000_000)
    }
    return false
}
