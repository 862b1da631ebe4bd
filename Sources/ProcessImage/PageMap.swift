import ElfFormat
import Glibc
import ProcessControl

/// A search took longer than it may.
package struct DeadlinePassed: Error {}

/// `/proc/PID/pagemap`: which pages exist, without touching any.
package struct PageMap: Sendable {
    private let descriptor: Int32

    package init(pid: Int32) { descriptor = open("/proc/\(pid)/pagemap", O_RDONLY | O_CLOEXEC) }

    /// Of the very process whose memory it is.
    package init(of memory: RemoteMemory) { descriptor = memory.open("pagemap") }

    package func close() { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

    /// Whether the page of one address exists; true when the kernel does not tell.
    package func isPresent(_ address: UInt64) -> Bool {
        var entry: UInt64 = 0
        guard descriptor >= 0, pread(descriptor, &entry, 8, off_t(address / pageSize * 8)) == 8 else { return true }
        return entry >> 62 != 0
    }

    /// The parts of `range` whose pages exist; all of it for files, or when the kernel does not tell.
    /// - Throws: `SwitchObstacle.tooLong`: a sanitizer's mappings span terabytes.
    package func present(_ range: RemoteRange, isFile: Bool, deadline: UInt64?) throws -> [RemoteRange] {
        guard descriptor >= 0, !isFile else { return [range] }
        let first = range.start.rawValue / pageSize
        let count = Int((range.end.rawValue - 1) / pageSize - first) + 1
        var result: [RemoteRange] = []
        var entries = [UInt64](repeating: 0, count: min(count, 1 << 16))
        var done = 0
        while done < count {
            if let deadline, monotonicNanoseconds() > deadline { throw DeadlinePassed() }
            let wanted = min(entries.count, count - done)
            let offset = off_t((first + UInt64(done)) * 8)
            let got = entries.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, wanted * 8, offset) } / 8
            guard got > 0 else { return [range] }
            for index in 0..<got where entries[index] >> 62 != 0 {
                let page = RemoteAddress((first + UInt64(done + index)) * pageSize)
                let piece = RemoteRange(start: max(page, range.start), end: min(page + pageSize, range.end))
                if let last = result.last, last.end == piece.start {
                    result[result.count - 1].end = piece.end
                } else {
                    result.append(piece)
                }
            }
            done += got
        }
        return result
    }
}
