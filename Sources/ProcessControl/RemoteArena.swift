import CLinuxPtrace
import Glibc

/// One buffer for copies of many ranges, allocated and touched before the stop in which it is filled.
public struct RemoteArena: ~Copyable {
    /// Where a range's copy lies in the arena; `count` is shorter than the range when the process's page faulted.
    public struct Slice: Hashable, Sendable {
        public var offset: Int
        public var count: Int
    }

    private var base: UnsafeMutableRawPointer
    public private(set) var capacity: Int

    /// - Parameter capacity: in bytes; every page is touched here.
    public init(capacity: Int) {
        self.capacity = max(capacity, 0)
        base = UnsafeMutableRawPointer.allocate(byteCount: max(capacity, 1), alignment: 4096)
        memset(base, 0, max(capacity, 1))
    }

    deinit { base.deallocate() }

    public borrowing func bytes(_ slice: Slice) -> UnsafeRawBufferPointer {
        guard slice.offset >= 0, slice.count >= 0, slice.count <= capacity, slice.offset <= capacity - slice.count
        else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + slice.offset, count: slice.count)
    }

    /// Copies every range, 1,024 a system call; what was in the arena before is lost. A range that faults is cut at
    /// the fault and the others are still read. Throws `vanished`, `noPermission`, or `malformed` above 1 GiB.
    public mutating func read(_ ranges: [RemoteRange], of memory: RemoteMemory) throws(ProcessError) -> [Slice] {
        var total = 0
        var slices: [Slice] = []
        slices.reserveCapacity(ranges.count)
        for range in ranges {
            guard range.count <= UInt64(RemoteMemory.maximumCount - total) else { throw .malformed("range \(range)") }
            slices.append(Slice(offset: total, count: Int(range.count)))
            total += Int(range.count)
        }
        if total > capacity { grow(to: total) }
        var first = 0
        while first < ranges.count { first = try readBatch(from: first, ranges, &slices, memory) }
        return slices
    }

    /// One system call; returns the index of the first range that is not yet dealt with.
    private func readBatch(
        from first: Int, _ ranges: [RemoteRange], _ slices: inout [Slice], _ memory: RemoteMemory
    ) throws(ProcessError) -> Int {
        let end = min(first + 1024, ranges.count)
        let local = UInt64(UInt(bitPattern: base))
        let transfers = (first..<end).map { index in
            lp_transfer(
                remote: ranges[index].start.rawValue, local: local + UInt64(slices[index].offset),
                length: UInt64(slices[index].count))
        }
        let count = memory.transfer(transfers)
        if count < 0, count != -Int(EFAULT) { throw processError(count, "process_vm_readv", pid: memory.pid) }
        var left = max(count, 0)
        for index in first..<end {
            if left >= slices[index].count {
                left -= slices[index].count
                continue
            }
            // The kernel stops at the first fault: this range is read again alone, up to the fault.
            let buffer = UnsafeMutableRawBufferPointer(start: base + slices[index].offset, count: slices[index].count)
            slices[index].count = try memory.readPrefix(ranges[index].start, into: buffer)
            return index + 1
        }
        return end
    }

    private mutating func grow(to count: Int) {
        base.deallocate()
        base = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 4096)
        capacity = count
    }
}
