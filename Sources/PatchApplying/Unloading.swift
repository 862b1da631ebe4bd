import Diagnostics
import PatchFormat
import PatchRegistry
import PatchSwitching

extension Session {
    /// Unmaps an inactive patch if nothing can point into it; otherwise it stays, resident and harmless.
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

    /// Why the module can't be unmapped; nil when nothing points into it.
    private mutating func reasonToStay(_ patch: RegisteredPatch) throws -> String? {
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
        if let why = patch.resident { return why }
        try process.refreshMap()
        return try UnusedProof(of: patch, records, limits).run(in: process, &stop)
    }
}
