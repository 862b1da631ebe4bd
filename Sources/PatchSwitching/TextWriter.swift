import Glibc

/// `/proc/PID/mem`, opened before a stop: writes text whatever its protection is.
struct TextWriter: Sendable {
    private let descriptor: Int32

    init(pid: Int32) { descriptor = open("/proc/\(pid)/mem", O_RDWR | O_CLOEXEC) }

    func close() { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

    /// False when the kernel does not let us: then ptrace may.
    func write(_ bytes: [UInt8], at address: UInt64) -> Bool {
        descriptor >= 0
            && bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(truncatingIfNeeded: address))
            }
                == bytes.count
    }
}
