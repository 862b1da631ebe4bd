import Diagnostics
import Glibc
import ProcessControl

/// Keeps every other livepatch away from the process until this tracer ends: one that met the intent of a command which
/// is still at work would take it for that of one which was killed, and take it back.
///
/// - A root's lock is in a file that only root can open: the process can't hold it (trap held-lock).
/// - The other lock is on `/proc/PID/mem`, which all those can open who may trace the process. The process is one of them,
///   so that root waits for it no longer than half of the time, and then goes on.
///
/// Both end with their holder.
/// - Throws: `Busy` when the time is over.
package func waitForOthers(pid: Int32, until end: UInt64) throws {
    let isOurs = try lockAsRoot(pid: pid, until: end)
    let now = monotonicNanoseconds()
    try lockMemory(pid: pid, until: isOurs && end > now ? now + (end - now) / 2 : end, mayFail: isOurs)
}

/// One byte of the file for each process.
private let lockFile = "/run/livepatch.lock"

/// - Returns: false where root's lock can't be had: not root, or no such place.
private func lockAsRoot(pid: Int32, until end: UInt64) throws -> Bool {
    guard geteuid() == 0 else { return false }
    let descriptor = open(lockFile, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o600)
    guard descriptor >= 0 else { return false }
    var status = stat()
    // Another's file could be held by its owner.
    guard fstat(descriptor, &status) == 0, status.st_uid == 0, status.st_mode & S_IFMT == S_IFREG,
        status.st_mode & 0o077 == 0
    else {
        close(descriptor)
        return false
    }
    var range = Glibc.flock()
    range.l_type = Int16(F_WRLCK)
    range.l_whence = Int16(SEEK_SET)
    range.l_start = off_t(pid)
    range.l_len = 1
    // `F_OFD_SETLK`: of the open file, not of the process.
    while fcntl(descriptor, 37, &range) != 0 {
        guard errno == EAGAIN || errno == EACCES || errno == EINTR else { return false }
        guard monotonicNanoseconds() < end else { throw Busy(atWork(pid)) }
        pauseMicroseconds(5_000)
    }
    return true
}

private func lockMemory(pid: Int32, until end: UInt64, mayFail: Bool) throws {
    let descriptor = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
    // Without permission the command itself says so.
    guard descriptor >= 0 else { return }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        guard errno == EWOULDBLOCK || errno == EINTR else { return }
        guard monotonicNanoseconds() < end else {
            if mayFail { return }
            throw Busy(atWork(pid))
        }
        pauseMicroseconds(5_000)
    }
}

private func atWork(_ pid: Int32) -> String {
    "pid \(pid): another livepatch is at work on it; try again when that has ended, or with a longer --timeout"
}
