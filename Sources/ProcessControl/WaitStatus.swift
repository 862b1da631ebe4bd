import CLinuxPtrace
import Glibc

/// What `waitpid` said of a traced thread.
enum WaitStatus {
    case exited
    /// About to be given a signal, which we hold until we let it go on.
    case signal(Int32)
    /// Our own stop, a group stop, or a new thread's first stop.
    case stop
    case clone
    case exec
    /// At the entry or exit of a system call.
    case systemCall
    case otherEvent

    init(_ status: Int32) {
        guard status & 0xff == 0x7f else {
            self = .exited
            return
        }
        let signal = (status >> 8) & 0xff
        switch Int(status >> 16) {
        case 0: self = signal == 0x80 | 5 ? .systemCall : .signal(signal)
        case LP_EVENT_STOP: self = .stop
        case LP_EVENT_CLONE: self = .clone
        case LP_EVENT_EXEC: self = .exec
        default: self = .otherEvent
        }
    }
}

/// A status of one traced thread, or of any with -1: its id and the status, or the kernel's negative answer, or 0 with
/// LP_WNOHANG.
///
/// Only an exit is taken from the kernel. The status of a stop stays until the thread goes on: when we die, the kernel
/// delivers the signal that a thread stopped for, unless the status had been taken (`wait_task_stopped` clears it).
func takeStatus(_ tid: Int32, flags: Int = 0) -> (tid: Int, status: Int32) {
    var status: Int32 = 0
    let result = lp_peek_status(tid, &status, Int32(LP_WALL | flags))
    if result > 0, case .exited = WaitStatus(status) {
        _ = lp_waitpid(Int32(result), &status, Int32(LP_WALL | LP_WNOHANG))
    }
    return (result, status)
}
