import CLinuxPtrace

/// The part of a thread's stack that is in use, as copied while the process stood still.
public struct ThreadStack: Sendable {
    public let tid: Int32
    public let registers: Registers
    /// Address of the copy's first byte: the stack pointer less the red zone.
    public let start: RemoteAddress
    /// False when the thread is on no stack we know as its own: a coroutine's, an alternate signal stack (trap
    /// foreign-stacks).
    public let isOwn: Bool
    /// Not everything up to the end of the mapping could be copied: what is missing may hold anything.
    public let isIncomplete: Bool
    fileprivate let slice: RemoteArena.Slice
}

/// Copies all stacks of a stopped process in a few system calls, into memory that was prepared before the stop.
public struct StackReader: ~Copyable {
    private let pid: Int32
    private var map: MemoryMap
    private var arena: RemoteArena
    /// Per thread, in bytes.
    private let limit: UInt64
    private static let redZone: UInt64 = 128

    /// To be called before the stop, and again before each further attempt: takes the map, and touches what will be
    /// read, so that no page must be fetched while everything stands still (trap blocked-read).
    ///
    /// - Parameter limit: bytes copied per thread at most; a stack that is deeper is marked `isIncomplete`.
    public static func prepare(pid: Int32, limit: Int = 8 << 20) throws(ProcessError) -> StackReader {
        let map = try MemoryMap.read(pid: pid)
        var ranges: [RemoteRange] = []
        let threads = try threadIDs(of: pid)
        for tid in threads {
            guard let pointer = SleepingCall.read(pid: pid, tid: tid)?.stackPointer,
                let mapping = map.mapping(containing: RemoteAddress(pointer)), mapping.isReadable
            else { continue }
            ranges.append(used(RemoteAddress(pointer), mapping, limit: UInt64(limit)))
        }
        let known = ranges.reduce(0) { $0 + $1.count }
        let room = min(known + known / 4 + UInt64(threads.count) * 16384, 256 << 20)
        var reader = StackReader(pid: pid, map: map, capacity: Int(room), limit: UInt64(limit))
        _ = try reader.arena.read(ranges, of: RemoteMemory(pid: pid))
        return reader
    }

    private init(pid: Int32, map: MemoryMap, capacity: Int, limit: UInt64) {
        self.pid = pid
        self.map = map
        self.limit = limit
        arena = RemoteArena(capacity: capacity)
    }

    /// One element per thread. What an earlier call returned is lost.
    public mutating func read(_ process: borrowing StoppedProcess) throws(ProcessError) -> [ThreadStack] {
        let threads = process.threads
        if threads.contains(where: { map.index(containing: $0.stackPointer) == nil }) {
            map = try process.memory.map()
        }
        let mappings = threads.map { map.mapping(containing: $0.stackPointer) }
        let ranges = zip(threads, mappings).map { thread, mapping in
            mapping.map { StackReader.used(thread.stackPointer, $0, limit: limit) }
                ?? RemoteRange(start: thread.stackPointer, count: 0)
        }
        let slices = try arena.readStacks(ranges, of: process)
        return threads.indices.map { index in
            describe(threads[index], mappings[index], ranges[index], slices[index])
        }
    }

    /// The copy of one stack.
    public borrowing func bytes(_ stack: ThreadStack) -> UnsafeRawBufferPointer { arena.bytes(stack.slice) }

    private func describe(
        _ thread: StoppedThread, _ mapping: MemoryMapping?, _ range: RemoteRange, _ slice: RemoteArena.Slice
    ) -> ThreadStack {
        let own = mapping.map { isOwnStack($0, of: thread) } ?? false
        let complete = mapping.map { range.end == $0.end && UInt64(slice.count) == range.count } ?? false
        return ThreadStack(
            tid: thread.tid, registers: thread.registers, start: range.start, isOwn: own, isIncomplete: !complete,
            slice: slice)
    }

    /// The main thread's, or the one with the thread's control block at its end (glibc and musl put it there).
    private func isOwnStack(_ mapping: MemoryMapping, of thread: StoppedThread) -> Bool {
        if mapping.kind == .stack { return thread.tid == pid }
        return mapping.kind == .anonymous && mapping.range.contains(RemoteAddress(thread.registers.fs_base))
    }

    private static func used(_ pointer: RemoteAddress, _ mapping: MemoryMapping, limit: UInt64) -> RemoteRange {
        let start = max(pointer - min(redZone, pointer.rawValue), mapping.start)
        let whole = RemoteRange(start: start, end: mapping.end)
        return whole.count > limit ? RemoteRange(start: start, count: limit) : whole
    }
}
