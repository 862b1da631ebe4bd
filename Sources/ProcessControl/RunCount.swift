import Glibc

/// How often a thread has been given a processor: `/proc/PID/task/TID/schedstat`, third number. To read it takes a microsecond.
final class RunCount: Sendable {
    private let descriptor: Int32

    /// - Parameter descriptor: of the file, opened to be read; closed with this.
    init?(descriptor: Int32) {
        guard descriptor >= 0 else { return nil }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Nil when the thread is gone: its number may be another's by now, the descriptor is not. 0 where the kernel does not
    /// count.
    var value: UInt64? {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 96) { buffer in
            let count = pread(descriptor, buffer.baseAddress, 96, 0)
            return count > 0 ? lastNumber(buffer[..<count]) : nil
        }
    }

    private func lastNumber(_ line: Slice<UnsafeMutableBufferPointer<UInt8>>) -> UInt64? {
        var (value, isNumber): (UInt64, Bool) = (0, false)
        for byte in line {
            switch byte {
            case 48...57: (value, isNumber) = (value &* 10 &+ UInt64(byte - 48), true)
            case UInt8(ascii: "\n"): break
            default: (value, isNumber) = (0, false)
            }
        }
        return isNumber ? value : nil
    }
}
