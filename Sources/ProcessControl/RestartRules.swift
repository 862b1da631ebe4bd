/// How the kernel goes on with a system call that our stop has interrupted.
///
/// A thread stopped inside one has `orig_rax >= 0` and one of the kernel's internal codes in `rax`; on resuming, the
/// kernel itself steps back to the `syscall` instruction. Never visible to user code.
enum RestartCode {
    static let interrupted: Int64 = -4  // EINTR
    static let system: Int64 = -512  // ERESTARTSYS
    static let noInterrupt: Int64 = -513  // ERESTARTNOINTR
    static let noHandler: Int64 = -514  // ERESTARTNOHAND
    static let block: Int64 = -516  // ERESTART_RESTARTBLOCK
}

/// System calls that fail with EINTR after a bare stop, without any signal: signal(7), "never restarted", as far as
/// they are interruptible. A restart begins their timeout anew; they are called in loops that compute it.
private let neverRestarted: Set<UInt64> = [
    0, 1, 19, 20, 45, 46, 47, 44,  // read, write, readv, writev, recvfrom, sendmsg, recvmsg, sendto with SO_*TIMEO
    43, 288, 42,  // accept, accept4, connect
    299, 307,  // recvmmsg, sendmmsg
    232, 281, 441,  // epoll_wait, epoll_pwait, epoll_pwait2
    65, 220, 70, 69,  // semop, semtimedop, msgrcv, msgsnd
    128,  // rt_sigtimedwait
    208, 333,  // io_getevents, io_pgetevents
    426,  // io_uring_enter
    40, 275,  // sendfile, splice to a socket with SO_SNDTIMEO
    202, 449, 455,  // futex, futex_waitv, futex_wait
    35, 230,  // nanosleep, clock_nanosleep
    7, 271, 23, 270,  // poll, ppoll, select, pselect6
    34, 130,  // pause, rt_sigsuspend
    242, 243,  // mq_timedsend, mq_timedreceive
]

extension Registers {
    /// The number of the system call the thread is in; nil in user code.
    var systemCall: UInt64? { Int64(bitPattern: orig_rax) >= 0 ? orig_rax : nil }

    /// Interrupted by us in a call that would answer EINTR although no signal came (trap eintr-from-stop).
    ///
    /// With ERESTARTNOHAND instead the kernel starts the call again; a signal that has a handler still gives EINTR.
    var needsRestart: Bool {
        guard let systemCall, Int64(bitPattern: rax) == RestartCode.interrupted else { return false }
        return neverRestarted.contains(systemCall)
    }
}
