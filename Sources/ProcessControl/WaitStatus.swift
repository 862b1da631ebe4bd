import CLinuxPtrace

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
