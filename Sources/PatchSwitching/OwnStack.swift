import ProcessControl

/// The part of each thread's own stack that is in use.
package enum OwnStack {
    /// One element a thread: from its stack pointer to the end of its own stack; nil when it stands on another one.
    package static func ranges(of stopped: borrowing StoppedProcess, _ map: MemoryMap) -> [RemoteRange?] {
        let pid = stopped.pid
        return stopped.threads.map { range(of: $0, from: $0.stackPointer, pid: pid, map) }
    }

    /// From a place on it, which may be another than its stack pointer.
    static func range(
        of thread: StoppedThread, from pointer: RemoteAddress, pid: Int32, _ map: MemoryMap
    ) -> RemoteRange? {
        guard let mapping = map.mapping(containing: pointer), mapping.isWritable else { return nil }
        if mapping.kind == .stack {
            return thread.tid == pid ? RemoteRange(start: pointer, end: mapping.end) : nil
        }
        // The thread's control block ends its stack, in glibc and musl alike; mappings of neighbours may be merged.
        let block = RemoteAddress(thread.registers.fs_base)
        guard mapping.kind == .anonymous, block > pointer, block <= mapping.end else { return nil }
        return RemoteRange(start: pointer, end: block)
    }

    /// Up to the control block; nil also where that is not known, or far.
    static func range(of thread: SleepingThread, pid: Int32, _ map: MemoryMap) -> RemoteRange? {
        let pointer = thread.stackPointer
        guard let mapping = map.mapping(containing: pointer), mapping.isWritable else { return nil }
        if mapping.kind == .stack {
            return thread.tid == pid ? RemoteRange(start: pointer, end: mapping.end) : nil
        }
        guard mapping.kind == .anonymous, let block = thread.controlBlock, block > pointer, block < mapping.end else {
            return nil
        }
        let range = RemoteRange(start: pointer, end: block)
        return range.count <= 1 << 20 ? range : nil
    }

    /// What lies below the stack pointers: left over from calls that have returned. Only where a guard below shows
    /// that the mapping is this stack and nothing else.
    package static func unused(_ live: [RemoteRange], _ map: MemoryMap) -> [RemoteRange] {
        live.compactMap { range in
            guard let index = map.index(containing: range.start) else { return nil }
            let mapping = map.mappings[index]
            let guarded =
                index > 0 && map.mappings[index - 1].end == mapping.start && !map.mappings[index - 1].isReadable
            guard mapping.kind == .stack || guarded else { return nil }
            // The red zone below the stack pointer is in use.
            let end = RemoteAddress(max(mapping.start.rawValue, range.start.rawValue &- 128))
            return RemoteRange(start: mapping.start, end: end)
        }
    }
}
