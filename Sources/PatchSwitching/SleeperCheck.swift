import ProcessControl
import ProcessImage

/// Looks at the threads that sleep, before anybody is stopped: which of them may be left alone, and which one is obviously in
/// the way (trap frozen-timeouts).
struct SleeperCheck {
    let plan: SwitchPlan
    let process: LoadedProcess

    /// - Returns: those whose stacks hold nothing of what is replaced. Of all others nothing can be said unless they are
    ///   stopped.
    /// - Throws: `SwitchObstacle.inUse` when one is in what is replaced: a stop now would be in vain.
    func undisturbed(_ threads: [SleepingThread]) throws -> [SleepingThread] {
        let stacks = threads.map { OwnStack.range(of: $0, pid: process.pid, process.map) }
        let known = zip(threads, stacks).compactMap { thread, stack in stack.map { (thread, $0) } }
        var arena = RemoteArena(capacity: 1 << 16)
        let copies = try arena.read(known.map(\.1), of: process.memory)
        var unwinder = Unwinder(memory: process.memory, map: process.map)
        var result: [SleepingThread] = []
        for ((thread, range), copy) in zip(known, copies) where UInt64(copy.count) == range.count {
            if try isClear(thread, arena.bytes(copy), &unwinder) { result.append(thread) }
        }
        return result
    }

    private func isClear(
        _ thread: SleepingThread, _ stack: UnsafeRawBufferPointer, _ unwinder: inout Unwinder
    ) throws -> Bool {
        let place = thread.instructionPointer.rawValue
        // A call that is made again begins two bytes before.
        for place in [place, place &- 2] {
            if let inside = plan.forbidden.interval(holding: place) { throw obstacle(thread, inside.name, place) }
        }
        // A handler on another stack: below it there is more.
        guard !plan.forbiddenInRegisters.contains(place),
            !thread.arguments.contains(where: plan.forbiddenInRegisters.contains),
            HandlerFrame.find(in: stack, at: thread.stackPointer).isEmpty
        else { return false }
        guard plan.forbidden.firstHit(in: stack) != nil else { return true }
        let unwound = unwinder.unwind(thread, stack: stack, start: thread.stackPointer)
        for frame in unwound.frames.dropFirst() {
            guard let inside = plan.forbidden.interval(holding: frame.pc.rawValue) else { continue }
            throw obstacle(thread, inside.name, frame.pc.rawValue)
        }
        // All words that look like calls are left over from former ones.
        return unwound.isComplete
    }

    private func obstacle(_ thread: SleepingThread, _ name: String, _ value: UInt64) -> SwitchObstacle {
        .inUse(tid: thread.tid, name: name, value: value, place: nil)
    }
}
