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
    /// How often in a row the search of the running program took longer than a stop may.
    var slowSearches = 0
    /// Modules and registry: not the program's memory.
    var excluded: [RemoteRange]
    /// The stacks of the last attempt; their bytes are in the arena.
    var copied: [CopiedStack] = []
    /// Stacks whose hits are known to be stale.
    var proofs: [StaleProof] = []
}

extension StopWorkspace {
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
                found = found ?? "thread \(stack.tid) is in \(live.name)"
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
