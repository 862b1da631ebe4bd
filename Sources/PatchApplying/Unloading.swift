import Diagnostics
import PatchFormat
import PatchRegistry

extension Session {
    /// Unmaps a patch that was never active. What was active stays, harmless, and is used again: its addresses may be anywhere,
    /// in packed structures, in pipes and sockets, in files, where no search finds them (trap pointer-anywhere).
    /// - Returns: why it stays; nil when it is gone.
    mutating func unload(_ reference: PatchReference) throws -> String? {
        let patch = try patch(reference)
        guard patch.state == .loaded || patch.state == .resident else {
            throw Refusal(
                .patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(process.subject)",
                remedy: patch.state == .active ? "deactivate it first" : nil)
        }
        try relations.refuseDependents(of: patch)
        if let why = try reasonToStay(patch) ?? deregister(patch) {
            try records.update(reference) { $0.state = .resident }
            return why
        }
        try records.update(reference) { $0.state = .unloading }
        try finishUnloading(reference)
        return nil
    }

    /// Why the module can't be unmapped; nil when it was never active.
    private func reasonToStay(_ patch: RegisteredPatch) throws -> String? {
        if let upper = records.state.stackedUpon(patch).first {
            if !upper.state.isLeftOver {
                throw Refusal(
                    .requiredByOthers, subject: patch.id, why: "\(upper.id) in \(process.subject) leads through it")
            }
            return "\(upper.id), which is resident, leads through it"
        }
        if let why = standingJump(of: patch) { return why }
        if let calls = patch.calls, calls.initialisers > 0 {
            return "its initialisers have run: what they made may point into it"
        }
        guard patch.wasActive else { return nil }
        let size = patch.modules.reduce(0) { $0 + $1.size } / 1024
        return "something may still point into it; its \(size) KiB are used again by the next load"
    }
}
