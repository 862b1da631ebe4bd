import CLinuxPtrace
import Glibc

/// A thread that was found fit to be borrowed, seized and standing, and all that is its own.
struct BorrowedThread {
    let tid: Int32
    /// As they must be when the thread is let go: an interrupted system call goes on by itself.
    let registers: Registers
    let mask: UInt64
    /// The mask of the call that it waits in, for as long as that lasts (ppoll, sigsuspend); nil when that is the same.
    let temporaryMask: UInt64?
    /// XSAVE image, standard format.
    let extended: [UInt8]
    /// Nil when it has some and they can't be read.
    let filters: SeccompFilters?

    /// The frame that takes it back without us. There is no interrupted call for the kernel to restart after
    /// `rt_sigreturn`, so the frame stands before the `syscall` instruction.
    func frame(restorer: RemoteAddress, memory: RemoteMemory) throws(ProcessError) -> SignalFrame {
        var after = registers
        after.orig_rax = .max
        if let number = try restartNumber(memory) {
            after.rip = registers.rip &- 2
            after.rax = number
        }
        guard
            let frame = SignalFrame(
                registers: after, stackPointer: RemoteAddress(registers.rsp), mask: mask, extended: extended,
                restorer: restorer)
        else { throw .unsupported(pid: memory.pid, what: "extended registers of thread \(tid) in an unknown form") }
        return frame
    }

    /// Whether the call must be made again whatever waits for the thread: its own mask blocks every signal that does, and
    /// our changes of the mask have made the kernel forget that (trap saved-mask).
    func mustRepeatCall(pending: UInt64) -> Bool {
        guard let temporaryMask, registers.systemCall != nil, pending & ~mask != 0 else { return false }
        return pending & ~temporaryMask == 0
    }

    /// The call to make again, when one was interrupted.
    private func restartNumber(_ memory: RemoteMemory) throws(ProcessError) -> UInt64? {
        guard let number = registers.systemCall else { return nil }
        switch Int64(bitPattern: registers.rax) {
        case RestartCode.system, RestartCode.noInterrupt, RestartCode.noHandler: return number
        case RestartCode.block: return try number == restartSystemCall ? originalNumber(memory) : number
        default: return nil
        }
    }

    /// A call that was restarted before is `restart_syscall` now, which means nothing after `rt_sigreturn` (trap
    /// restart-block): what it was stands in the code, in `mov $number, %eax; syscall`.
    private func originalNumber(_ memory: RemoteMemory) throws(ProcessError) -> UInt64 {
        let code = try memory.read(RemoteAddress(registers.rip &- 7), count: 7)
        let number = UInt64(code[1]) | UInt64(code[2]) << 8
        guard code[0] == 0xb8, code[3...4] == [0, 0], code[5...6] == [0x0f, 0x05],
            callsWithRestartBlock.contains(number)
        else { throw .noSuitableThread(pid: memory.pid, reasons: ["thread \(tid) sleeps in an unknown call"]) }
        return number
    }
}

private let restartSystemCall: UInt64 = 219
/// poll, nanosleep, futex, clock_nanosleep.
private let callsWithRestartBlock: Set<UInt64> = [7, 35, 202, 230]

/// Makes system calls in a process on a borrowed thread while the other threads run.
///
/// Only inside `runTracer`. Each call is made by code the process has; memory mappings that were made stay if the
/// tracer dies, everything else is as before.
///
/// - Parameters:
///   - unfitness: why a thread, as it stands, must not be borrowed for what `body` will do; nil when it may.
/// - Throws: `noSuitableThread` (trying again may help unless all threads have a shadow stack or unreadable seccomp
///   filters), `executed`, `unsupported` (no code to run, a call that seccomp forbids), `vanished`, `alreadyTraced`, `noPermission`,
///   or what `body` throws.
public func withBorrowedThread<Value>(
    _ memory: RemoteMemory, unfitness: (StoppedThread) throws(ProcessError) -> String? = { _ in nil },
    _ body: (inout RemoteCaller) throws -> Value
) throws -> Value {
    let map = try memory.map()
    let gadgets = try CallGadgets.find(in: map, of: memory)
    let watchdog = StopWatchdog()
    var selection = ThreadSelection(memory: memory, gadgets: gadgets, map: map)
    defer { selection.releaseStragglers() }
    let thread = try selection.borrow(watchdog, unfitness)
    var caller: RemoteCaller
    do {
        caller = try RemoteCaller.prepare(memory, thread: thread, gadgets: gadgets, watchdog)
    } catch {
        _ = lp_ptrace(LP_DETACH, thread.tid, 0, 0)
        throw error
    }
    let value: Value
    do {
        value = try body(&caller)
    } catch {
        try? caller.finish()
        if case .vanished? = error as? ProcessError { throw memory.ending(seenAt: gadgets.call) }
        throw error
    }
    do {
        try caller.finish()
    } catch {
        if case .vanished = error { throw memory.ending(seenAt: gadgets.call) }
        throw error
    }
    return value
}

/// The process that has the number now.
public func withBorrowedThread<Value>(
    _ pid: Int32, unfitness: (StoppedThread) throws(ProcessError) -> String? = { _ in nil },
    _ body: (inout RemoteCaller) throws -> Value
) throws -> Value {
    try withBorrowedThread(RemoteMemory(pid: pid), unfitness: unfitness, body)
}
