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
            Busy(
                "\(threads.count) threads of process \(pid) did not stop in time, thread \(threads[0]) among them; "
                    + ProcessError.stopHelp)
        case .didNotStop: Busy("\(description); \(ProcessError.stopHelp)")
        case .remoteCall("mmap", EEXIST):
            Busy("pid \(pid): the program maps memory wherever a free place was found; try again")
        case .alreadyTraced(_, let tracer):
            Busy("\(description); try again when process \(tracer) (a debugger, strace) has let it go")
        case .noSuitableThread:
            Busy("\(description); try again when a thread waits in a system call, outside of the C library's locks")
        case .changing: Busy("\(description); try again when it does so less often")
        case .executed: Busy("\(description); try again: that is another program now")
        default: Failure(description)
        }
    }

    private static let stopHelp =
        "try again with a longer --max-stop, or when what they wait for in the kernel (a disk, a file server, a frozen "
        + "cgroup) is there again"
}
