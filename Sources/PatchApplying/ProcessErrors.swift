import Diagnostics
import Glibc
import ProcessControl

extension ProcessError {
    /// As a refusal (nothing changed), busy (nothing changed, try again), or a failure.
    func meaning(pid: Int32) -> any Error {
        switch self {
        case .vanished: Refusal(.noProcess, subject: "pid \(pid)", why: "the process has exited")
        case .noSuchProcess: Refusal(.noProcess, subject: "pid \(pid)", why: "there is no such process")
        case .noPermission(_, let operation):
            Refusal(.noPermission, subject: "pid \(pid)", why: "the kernel does not allow it: \(operation)")
        case .unsupported(_, let what): Refusal(.unsupportedProcess, subject: "pid \(pid)", why: what)
        case .didNotStop(_, let threads) where threads.count > 8:
            Busy("\(threads.count) threads of process \(pid) did not stop in time, thread \(threads[0]) among them")
        case .remoteCall("mmap", EEXIST):
            Busy("pid \(pid): the program maps memory wherever a free place was found")
        case .alreadyTraced, .changing, .didNotStop, .executed, .noSuitableThread: Busy(description)
        default: Failure(description)
        }
    }
}
