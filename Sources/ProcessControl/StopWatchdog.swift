import Glibc

/// Ends this process by SIGKILL unless it is disarmed in time.
///
/// While a process or a thread of it stands still, the tracer may block without end on a page that somebody else must
/// provide (trap blocked-read), or be stopped itself (trap terminal-stop): the timer is the kernel's, and ends a stopped
/// process too. Its death harms nobody: the kernel lets the process go on.
struct StopWatchdog: ~Copyable {
    private let isThere: Bool
    /// The kernel's number in the form of a pointer: the first timer's is nil.
    private let timer: timer_t?

    init() {
        var event = sigevent()
        event.sigev_notify = Int32(SIGEV_SIGNAL)
        event.sigev_signo = SIGKILL
        var timer: timer_t?
        isThere = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0
        self.timer = timer
    }

    deinit { if isThere { timer_delete(timer) } }

    /// For one stop that shall last `maximumStop` milliseconds at most.
    borrowing func arm(maximumStop: Int) { arm(milliseconds: maximumStop * 4 + 2000) }

    /// For one step with a borrowed thread, of at most two waits of two seconds.
    borrowing func armForStep() { arm(milliseconds: 5_000) }

    /// Also what keeps it until here: a value may be destroyed after its last use.
    borrowing func disarm() { arm(milliseconds: 0) }

    private borrowing func arm(milliseconds: Int) {
        guard isThere else { return }
        var setting = itimerspec()
        setting.it_value = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        timer_settime(timer, 0, &setting, nil)
    }
}
