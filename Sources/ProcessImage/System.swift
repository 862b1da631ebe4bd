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
