import ProcessControl

/// What the kernel has put on an alternate signal stack to call a handler there (`struct rt_sigframe` of x86-64): it says
/// where the interrupted code's stack is. That may be the very stack within which the alternate one lies (trap
/// altstack-within).
struct HandlerFrame: Hashable, Sendable {
    var alternateStack: RemoteRange
    /// Of the code that was interrupted: on another stack.
    var interrupted: RemoteAddress

    // Words of `struct ucontext`.
    private static let (link, base, size, stackPointer, segments, count) = (1, 2, 4, 20, 23, 24)
    private static let largestFlags: UInt64 = 7
    private static let userCode: UInt64 = 0x33

    /// All that lie in the copy of a stack. Stale ones are found as well: they add to what is looked at.
    static func find(in bytes: UnsafeRawBufferPointer, at start: RemoteAddress) -> [HandlerFrame] {
        guard let memory = bytes.baseAddress else { return [] }
        var frames: [HandlerFrame] = []
        let words = bytes.count / 8
        var index = 0
        while index + count <= words {
            defer { index += 1 }
            func word(_ number: Int) -> UInt64 {
                memory.loadUnaligned(fromByteOffset: (index + number) * 8, as: UInt64.self)
            }
            guard word(0) <= largestFlags, word(link) == 0, word(size) > 0, word(size) < 1 << 32,
                word(segments) & 0xffff == userCode
            else { continue }
            let stack = RemoteRange(start: RemoteAddress(word(base)), count: word(size))
            let interrupted = RemoteAddress(word(stackPointer))
            guard stack.contains(start + UInt64(index) * 8), !stack.contains(interrupted) else { continue }
            frames.append(HandlerFrame(alternateStack: stack, interrupted: interrupted))
        }
        return frames
    }
}
