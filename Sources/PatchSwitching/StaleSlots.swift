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
