import Glibc

/// Ends this process by SIGKILL unless it is disarmed in time.
///
/// While a process stands still, the tracer may block without end on a page that somebody else must provide (trap
/// blocked-read). Its death harms nobody: the kernel lets the process go on.
package struct StopWatchdog: ~Copyable {
    private let timer: timer_t?

    package init() {
        var event = sigevent()
        event.sigev_notify = Int32(SIGEV_SIGNAL)
        event.sigev_signo = SIGKILL
        var timer: timer_t?
        self.timer = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 ? timer : nil
    }

    deinit { if let timer { timer_delete(timer) } }

    /// For one stop that shall last `maximumStop` milliseconds at most, its preparation included.
    package borrowing func arm(maximumStop: Int) { arm(milliseconds: maximumStop * 4 + 2000) }

    /// 0 disarms it.
    package borrowing func arm(milliseconds: Int) {
        guard let timer else { return }
        var setting = itimerspec()
        setting.it_value = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        timer_settime(timer, 0, &setting, nil)
    }
}
