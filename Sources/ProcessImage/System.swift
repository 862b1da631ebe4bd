import Diagnostics
import Glibc
import ProcessControl

/// Part of a file; nil when it can't be read.
func readFile(_ path: String, offset: UInt64, count: UInt64) -> [UInt8]? {
    guard count < 1 << 28, let place = off_t(exactly: offset) else { return nil }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: Int(count))
    let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, place) }
    return got == bytes.count ? bytes : nil
}

/// Keeps every other livepatch away from the process until this tracer ends: one that met the intent of a command which
/// is still at work would take it for that of one which was killed, and take it back.
///
/// The lock is on `/proc/PID/mem`, which only those can open who may trace the process; it ends with its holder.
/// - Throws: `Busy` when the time is over.
package func waitForOthers(pid: Int32, until end: UInt64) throws {
    let descriptor = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
    // Without permission the command itself says so.
    guard descriptor >= 0 else { return }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        guard errno == EWOULDBLOCK || errno == EINTR else { return }
        guard monotonicNanoseconds() < end else { throw Busy("pid \(pid): another livepatch is at work on it") }
        pauseMicroseconds(5_000)
    }
}

/// `PPid` of `/proc/PID/status`.
package func parentProcess(of pid: Int32) throws -> Int32 {
    let text = String(decoding: try readAll("/proc/\(pid)/status", pid: pid), as: UTF8.self)
    for line in text.split(separator: "\n") where line.hasPrefix("PPid:") {
        return Int32(line.dropFirst(5).drop { $0 == "\t" || $0 == " " }) ?? 0
    }
    return 0
}

extension Registers {
    /// The instruction pointer first, then every register that can hold an address.
    package var generalPurpose: [UInt64] {
        [rip, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15]
    }
}
