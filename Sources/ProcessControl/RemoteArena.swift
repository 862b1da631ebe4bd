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

    /// Copies every range; what was in the arena before is lost. A range that faults is cut at the fault and the others
    /// are still read. Throws `vanished`, `executed`, `noPermission`, or `malformed` above 1 GiB.
    public mutating func read(_ ranges: [RemoteRange], of memory: RemoteMemory) throws(ProcessError) -> [Slice] {
        var slices = try makeRoom(for: ranges)
        for index in ranges.indices { try read(ranges[index], of: memory, into: &slices[index]) }
        return slices
    }

    /// The same for the stacks of a stopped process, 1,024 in a system call: half the time for many of them. They go by
    /// a thread's number, which is nobody else's as long as we hold it, and pages that a fork shares are copied (trap
    /// cow-unshare): of the used part of a stack there are few.
    public mutating func readStacks(
        _ ranges: [RemoteRange], of stopped: borrowing StoppedProcess
    ) throws(ProcessError) -> [Slice] {
        guard let thread = stopped.threads.first?.tid else { throw .vanished(pid: stopped.pid) }
        var slices = try makeRoom(for: ranges)
        var first = 0
        while first < ranges.count {
            first = try readBatch(from: first, ranges, &slices, thread: thread, stopped.memory)
        }
        return slices
    }

    private func read(
        _ range: RemoteRange, of memory: RemoteMemory, into slice: inout Slice
    ) throws(ProcessError) {
        let buffer = UnsafeMutableRawBufferPointer(start: base + slice.offset, count: slice.count)
        slice.count = try memory.readPrefix(range.start, into: buffer)
    }

    private mutating func makeRoom(for ranges: [RemoteRange]) throws(ProcessError) -> [Slice] {
        var total = 0
        var slices: [Slice] = []
        slices.reserveCapacity(ranges.count)
        for range in ranges {
            guard range.count <= UInt64(RemoteMemory.maximumCount - total) else { throw .malformed("range \(range)") }
            slices.append(Slice(offset: total, count: Int(range.count)))
            total += Int(range.count)
        }
        if total > capacity { grow(to: total) }
        return slices
    }

    /// One system call; returns the index of the first range that is not yet dealt with.
    private func readBatch(
        from first: Int, _ ranges: [RemoteRange], _ slices: inout [Slice], thread: Int32, _ memory: RemoteMemory
    ) throws(ProcessError) -> Int {
        let end = min(first + 1024, ranges.count)
        let local = UInt64(UInt(bitPattern: base))
        let transfers = (first..<end).map { index in
            lp_transfer(
                remote: ranges[index].start.rawValue, local: local + UInt64(slices[index].offset),
                length: UInt64(slices[index].count))
        }
        // Where the call is not allowed, or fails at once, every range is read alone.
        var left = max(lp_read_memory(thread, transfers, transfers.count), 0)
        for index in first..<end {
            if left >= slices[index].count {
                left -= slices[index].count
                continue
            }
            // The kernel stops at the first fault: this range is read again alone, up to the fault.
            try read(ranges[index], of: memory, into: &slices[index])
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
