import CLinuxPtrace
import Glibc

/// One process and its memory, held by descriptors: a number may name another process by now, and the memory behind a
/// number another program's (trap pid-reuse). Opened once for a command, and used for everything that follows.
///
/// `/proc/PID` names the process, and answers ESRCH once it has been reaped. `/proc/PID/mem` names the memory that the
/// process had at that moment: after exec it reads and writes nothing.
final class BoundProcess: Sendable {
    let pid: Int32
    private let directory: Int32
    /// `/proc/PID/mem`, to be read and written; negative: what the kernel said.
    let memory: Int32

    init(pid: Int32) {
        self.pid = pid
        directory = open("/proc/\(pid)", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        memory = directory < 0 ? -errno : BoundProcess.openMemory(of: pid, below: directory)
    }

    deinit {
        if memory >= 0 { close(memory) }
        if directory >= 0 { close(directory) }
    }

    /// A leader that has ended (a zombie) has no memory any more; its threads have.
    private static func openMemory(of pid: Int32, below directory: Int32) -> Int32 {
        let isZombie = threadState(pid: pid, tid: pid) == UInt8(ascii: "Z")
        let thread = isZombie ? try? livingThread(of: pid) : nil
        let path = thread.map { "task/\($0)/mem" } ?? "mem"
        let descriptor = openat(directory, path, O_RDWR | O_CLOEXEC)
        return descriptor < 0 ? -errno : descriptor
    }

    /// Why the memory is empty: the process has exited, or lives on as another program.
    func ending() -> ProcessError {
        (try? MemoryMap.read(pid: pid)) == nil ? .vanished(pid: pid) : .executed(pid: pid)
    }
}
