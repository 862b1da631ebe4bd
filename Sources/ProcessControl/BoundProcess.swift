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
    /// What the kernel said when the directory could not be opened.
    private let failure: Int32
    /// `/proc/PID/mem`, to be read and written; negative: what the kernel said.
    let memory: Int32
    private let identity: ProcessIdentity?

    init(pid: Int32) {
        self.pid = pid
        directory = Glibc.open("/proc/\(pid)", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        failure = directory < 0 ? errno : 0
        identity = ProcessIdentity.read(below: directory)
        memory = directory < 0 ? -failure : BoundProcess.openMemory(below: directory)
    }

    deinit {
        if memory >= 0 { close(memory) }
        if directory >= 0 { close(directory) }
    }

    /// A leader that has ended (a zombie) has no memory any more; its threads have.
    private static func openMemory(below directory: Int32) -> Int32 {
        let leader = state(below: directory, "stat")
        var path = "mem"
        if leader == UInt8(ascii: "Z") {
            let threads = (try? numbersInDirectory(below: directory, "task", pid: 0)) ?? []
            let living = threads.first { !"ZX".utf8.contains(state(below: directory, "task/\($0)/stat") ?? 90) }
            if let living { path = "task/\(living)/mem" }
        }
        let descriptor = openat(directory, path, O_RDWR | O_CLOEXEC)
        return descriptor < 0 ? -errno : descriptor
    }

    /// The state letter of a `stat` file; nil when it is gone.
    private static func state(below directory: Int32, _ path: String) -> UInt8? {
        (try? readProcFile(below: directory, path, pid: 0)).flatMap(statFields)?.first?.utf8.first
    }

    /// A file below `/proc/PID`, to be read; negative: what the kernel said.
    func open(_ name: String) -> Int32 {
        guard directory >= 0 else { return -failure }
        let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC)
        return descriptor < 0 ? -errno : descriptor
    }

    func read(_ name: String) throws(ProcessError) -> [UInt8] {
        guard directory >= 0 else { throw procError(failure, "/proc/\(pid)/\(name)", pid: pid) }
        return try readProcFile(below: directory, name, pid: pid)
    }

    func threadIDs() throws(ProcessError) -> [Int32] {
        guard directory >= 0 else { throw procError(failure, "/proc/\(pid)/task", pid: pid) }
        return try numbersInDirectory(below: directory, "task", pid: pid)
    }

    /// The number of threads that the kernel counts; nil when the process is gone.
    func threadCount() -> Int? {
        var status = stat()
        guard directory >= 0, fstatat(directory, "task", &status, 0) == 0 else { return nil }
        // The directory's links are its threads and two more.
        return Int(status.st_nlink) - 2
    }

    /// Whether the thread is this process's, and not one that got the number of a thread that has ended. Once we hold
    /// the thread, the answer stays true.
    func has(thread tid: Int32) -> Bool { directory >= 0 && faccessat(directory, "task/\(tid)", F_OK, 0) == 0 }

    /// The mappings, through any living thread: a zombie leader's own file is empty.
    func map() throws(ProcessError) -> MemoryMap {
        for tid in [pid] + ((try? threadIDs()) ?? []) {
            let map: MemoryMap
            do throws(ProcessError) {
                map = try MemoryMap.settled(pid: pid) { () throws(ProcessError) in try read("task/\(tid)/maps") }
            } catch {
                if case .noSuchProcess = error, tid != pid { continue }
                throw error
            }
            if !map.mappings.isEmpty { return map }
        }
        throw .vanished(pid: pid)
    }

    /// Throws `vanished` or `executed` unless it is still the process and the program that it was.
    func check() throws(ProcessError) {
        guard let identity, memory >= 0 else { return }
        guard let now = ProcessIdentity.read(below: directory), now.startTime == identity.startTime else {
            throw .vanished(pid: pid)
        }
        // Of a process that has exited, and that its parent has not asked for, the executable is gone as well.
        if now != identity { throw ending() }
        // The same file may have been executed anew: its memory is another one.
        var byte: UInt8 = 0
        if pread(memory, &byte, 1, 0) == 0 { throw ending() }
    }

    /// Why the memory is empty: the process has exited, or lives on as another program.
    func ending() -> ProcessError {
        // Its other threads may have their memory for a moment longer than a process that is being killed.
        let leader = BoundProcess.state(below: directory, "stat")
        if leader == nil || leader == UInt8(ascii: "Z") || leader == UInt8(ascii: "X") { return .vanished(pid: pid) }
        do throws(ProcessError) { _ = try map() } catch {
            switch error {
            case .vanished, .noSuchProcess: return .vanished(pid: pid)
            // The mappings of another program may be closed to us, or change all the time.
            default: break
            }
        }
        return .executed(pid: pid)
    }
}

/// When a process started, and the file that it executes.
private struct ProcessIdentity: Equatable {
    var startTime: String
    var device: UInt
    var inode: UInt

    /// Nil when it is gone. Where the executable is not ours to see, it is left out.
    static func read(below directory: Int32) -> ProcessIdentity? {
        guard directory >= 0, let bytes = try? readProcFile(below: directory, "stat", pid: 0),
            let fields = statFields(in: bytes), fields.count > 19
        else { return nil }
        var status = stat()
        let known = fstatat(directory, "exe", &status, 0) == 0
        return ProcessIdentity(
            startTime: fields[19], device: known ? UInt(status.st_dev) : 0,
            inode: known ? UInt(status.st_ino) : 0)
    }
}
