import ProcessControl
import ProcessImage

/// Copies and lists that are made before the stop and filled in it.
struct StopWorkspace: ~Copyable {
    var arena: RemoteArena
    /// Mappings as they were just before the stop.
    var map: MemoryMap
    /// The program can switch stacks: suspended calls may lie anywhere in writable memory.
    var stackSwitching: StackSwitching.Ability
    /// Places outside the stacks that may belong to suspended calls, found before the stop.
    var candidates: [UInt64] = []
    /// What relocations put into some of these places, which is no suspended call as long as it stands there.
    var initialWords: InitialWords = [:]
    /// A search in a stop has found something.
    var searchesFirst = false
    /// How often in a row the search of the running program took longer than a stop may.
    var slowSearches = 0
    /// Modules and registry: not the program's memory.
    var excluded: [RemoteRange]
    var watch: SleeperWatch
    var mayLeaveSleepers = true
    /// The stacks of the last attempt; their bytes are in the arena.
    var copied: [CopiedStack] = []
    /// The alternate signal stacks that handlers ran on in the last attempt: what is in use of them was copied.
    var alternateStacks: [RemoteRange] = []
    /// Stacks whose hits are known to be stale.
    var proofs: [StaleProof] = []
}

extension StopWorkspace {
    /// Copies what is in use of every thread's stacks. A handler's alternate stack divides it: the interrupted code's
    /// part lies below, or elsewhere (trap altstack-within).
    /// - Returns: false where a thread stands on a stack of which nothing is known.
    mutating func copyStacks(of stopped: borrowing StoppedProcess) throws -> Bool {
        (copied, alternateStacks) = ([], [])
        if stopped.threads.isEmpty { return true }
        let pid = stopped.pid
        var stacks = OwnStack.ranges(of: stopped, map)
        if stacks.contains(where: { $0 == nil }) {
            // A mapping made since, or a foreign stack: look again.
            map = try stopped.memory.map()
            stacks = OwnStack.ranges(of: stopped, map)
        }
        var parts: [(thread: StoppedThread, range: RemoteRange)] = []
        var areAllKnown = true
        for (thread, stack) in zip(stopped.threads, stacks) {
            if let stack {
                parts.append((thread, stack))
            } else if let stack = try alternateStack(of: thread, stopped.memory) {
                parts.append((thread, stack))
            } else {
                areAllKnown = false
            }
        }
        for _ in 0..<8 {
            let slices = try arena.readStacks(parts.map(\.range), of: stopped)
            copied = zip(parts, slices).map {
                CopiedStack(tid: $0.thread.tid, registers: $0.thread.registers, range: $0.range, slice: $1)
            }
            var isDone = true
            for (index, slice) in slices.enumerated() {
                let thread = parts[index].thread
                for frame in HandlerFrame.find(in: arena.bytes(slice), at: parts[index].range.start) {
                    let place = frame.interrupted
                    let isCovered = parts.contains { $0.thread.tid == thread.tid && $0.range.contains(place) }
                    if isCovered { continue }
                    guard let below = OwnStack.range(of: thread, from: place, pid: pid, map) else {
                        areAllKnown = false
                        continue
                    }
                    isDone = false
                    if below.end == parts[index].range.end {
                        parts[index].range = below
                    } else {
                        parts.append((thread, below))
                    }
                }
            }
            if isDone { return areAllKnown }
        }
        return false
    }

    /// From the stack pointer of a thread to the end of the alternate signal stack that it stands on; nil when there is
    /// none.
    private mutating func alternateStack(of thread: StoppedThread, _ memory: RemoteMemory) throws -> RemoteRange? {
        let pointer = thread.stackPointer
        guard let mapping = map.mapping(containing: pointer), mapping.isReadable else { return nil }
        let room = Int(min(mapping.end.distance(from: pointer), 1 << 20))
        let copy = try memory.readPrefix(pointer, count: room)
        let frames = copy.withUnsafeBytes { HandlerFrame.find(in: $0, at: pointer) }
        guard let stack = frames.map(\.alternateStack).first(where: { $0.contains(pointer) }) else { return nil }
        alternateStacks.append(stack)
        return RemoteRange(start: pointer, end: stack.end)
    }

    /// The first word of a stack that counts as a call in progress: in a forbidden range, and not proven stale.
    borrowing func firstHit(in stack: CopiedStack, _ table: ScanTable) -> Int? {
        let bytes = arena.bytes(stack.slice)
        var from = 0
        while let hit = table.firstHit(in: bytes, from: from) {
            guard proofs.contains(where: { $0.covers(stack, bytes, count: (hit + 1) * 8) }) else { return hit }
            from = hit + 1
        }
        return nil
    }

    /// Unwinds every copied stack that had a hit, now that the process runs again.
    /// - Returns: what to say of the first call that is really in progress; nil when every hit is stale or unknown.
    mutating func examine(_ table: ScanTable, memory: RemoteMemory) -> String? {
        var unwinder = Unwinder(memory: memory, map: map)
        var found: String?
        for stack in copied {
            guard firstHit(in: stack, table) != nil else { continue }
            let bytes = arena.bytes(stack.slice)
            let unwound = unwinder.unwind(registers: stack.registers, stack: bytes, start: stack.range.start)
            let live = unwound.frames.lazy.compactMap { table.interval(holding: $0.pc.rawValue) }.first
            if let live {
                found = found ?? "thread \(stack.tid) is in \(live.name); \(SwitchObstacle.whatHelps(live.name))"
            } else if unwound.isComplete {
                proofs.removeAll { $0.tid == stack.tid }
                proofs.append(
                    StaleProof(
                        tid: stack.tid, registers: stack.registers, start: stack.range.start, bytes: Array(bytes)))
            }
        }
        copied = []
        return found
    }
}
