import Glibc
import ProcessControl

/// A thread's own stack as it was copied in a stop.
struct CopiedStack: Sendable {
    var tid: Int32
    var registers: Registers
    var range: RemoteRange
    var slice: RemoteArena.Slice
}

/// Proof by exact unwinding that no frame of a stack is in what is replaced, although words of it look like it.
///
/// The same slot with the same value can be stale, live, and stale again (trap stale-slot): the proof holds only while
/// the thread's registers and all bytes from its stack pointer to the slot are those of the copy that was unwound.
struct StaleProof: Sendable {
    var tid: Int32
    var registers: Registers
    var start: RemoteAddress
    var bytes: [UInt8]

    /// Whether the proof covers the first `count` bytes of this stack.
    func covers(_ stack: CopiedStack, _ bytes: UnsafeRawBufferPointer, count: Int) -> Bool {
        guard stack.tid == tid, stack.range.start == start, count <= self.bytes.count, count <= bytes.count,
            areEqual(stack.registers, registers), let base = bytes.baseAddress
        else { return false }
        return self.bytes.withUnsafeBytes { memcmp($0.baseAddress!, base, count) == 0 }
    }

    private func areEqual(_ a: Registers, _ b: Registers) -> Bool {
        withUnsafeBytes(of: a) { a in withUnsafeBytes(of: b) { b in a.elementsEqual(b) } }
    }
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
