import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessControl

extension Session {
    /// Makes the calls that a load needs; the patch is loaded afterwards.
    ///
    /// - Throws: with the load taken back when no call was begun; else `Failure`, and the registry says how far it came.
    mutating func initialise(_ reference: PatchReference) throws {
        guard let calls = records.patch(reference)?.calls else { return }
        try records.update(reference) { $0.state = .initialising }
        do {
            try makeCalls(of: reference, calls, at: calls.load, count: calls.loadCount)
        } catch let error where !(error is Failure) {
            try records.update(reference) { $0.state = .loading }
            try? takeBackLoading(reference)
            throw error
        }
        try endInitialising(reference, calls)
    }

    /// The calls of a load have been made.
    ///
    /// - Throws: `Failure` when one of them gave what can't be used.
    mutating func endInitialising(_ reference: PatchReference, _ calls: RegisteredCalls) throws {
        guard let wrong = try CallRunner(calls, in: process, limits).wrongChoice() else {
            return try records.update(reference) { $0.state = .loaded }
        }
        try giveUp(reference, wrong)
        throw Failure("\(reference.id): \(wrong)")
    }

    /// The module stays mapped, and is never used.
    private mutating func giveUp(_ reference: PatchReference, _ why: String) throws {
        try records.update(reference) {
            $0.state = .failed
            $0.calls?.failure = why
        }
    }

    /// Makes what is left of a list of calls, on a thread at a safe point.
    ///
    /// - Throws: `Failure` when a call was begun and did not return; any other error means that none was made.
    private mutating func makeCalls(
        of reference: PatchReference, _ calls: RegisteredCalls, at list: UInt64, count: Int
    ) throws {
        var runner = CallRunner(calls, in: process, limits)
        defer { process = runner.process }
        switch try runner.run(list, count) {
        case .done: return
        case .incomplete: throw Failure("\(reference.id): not every call was made")
        case .broken(let what, let isThreadInside):
            if !isThreadInside { try giveUp(reference, what) }
            throw Failure("\(reference.id): \(what)")
        }
    }

    /// Completes the calls of a load or an unload that a command did not finish, once nobody is at them any more.
    mutating func completeCalls(_ patch: RegisteredPatch, at list: UInt64, count: Int) throws {
        guard let calls = patch.calls else { return }
        let runner = CallRunner(calls, in: process, limits)
        while try !runner.progress(list, count).isDone, try runner.isAnyoneInside() {
            guard limits.timeIsLeft else {
                throw Busy(
                    "\(process.subject): a thread is still in a call that an interrupted command has begun; "
                        + "try again when it has returned; if it never does, restart the process")
            }
            pauseMicroseconds(20_000)
        }
        let reached = try runner.progress(list, count)
        if reached.isDone { return }
        guard reached.isOpen || reached.returned > UInt64(count) else {
            return try makeCalls(of: patch.reference, calls, at: list, count: count)
        }
        // A fork's child has no such thread; a crash ends the program unless we are there.
        let what = "call \(reached.begun) of \(count) was begun, and no thread is in it any more"
        try giveUp(patch.reference, what)
        notes.append("\(patch.id): \(what); the module stays mapped and is not used")
    }

    /// Tells the unwinder to forget the patch's functions, before they are unmapped.
    /// - Returns: why it could not be done, nothing having changed; nil when the unwinder knows them no more.
    mutating func deregister(_ patch: RegisteredPatch) throws -> String? {
        guard let calls = patch.calls, calls.registrations > 0 else { return nil }
        try process.refresh()
        let runner = CallRunner(calls, in: process, limits)
        // It has taken its tables along.
        guard runner.hasUnwinder else { return nil }
        // libgcc ends the program when it is told to forget what it does not know.
        guard try runner.isKnownToUnwinder(except: records.ownRanges) else {
            return "the unwinder can't be seen to know its unwind data"
        }
        let before = patch.state
        try records.update(patch.reference) { $0.state = .retiring }
        do {
            try makeCalls(of: patch.reference, calls, at: calls.unload, count: calls.registrations)
        } catch let error where !(error is Failure) {
            try records.update(patch.reference) { $0.state = before }
            return "the unwinder could not be told to forget it: \(error)"
        }
        return nil
    }
}
