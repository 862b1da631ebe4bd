import PatchRegistry
import ProcessControl

extension Session {
    /// Completes or takes back what a command that did not finish has left, before anything else is done.
    ///
    /// The intent in the registry says what was under way, the switch byte which side of the commit was reached.
    mutating func recover() throws {
        for patch in records.patches where patch.state.isIntent { try recover(patch) }
    }

    private mutating func recover(_ patch: RegisteredPatch) throws {
        switch patch.state {
        case .loading:
            try takeBackLoading(patch.reference)
            notes.append("\(patch.id): an interrupted load was taken back")
        case .unloading:
            try finishUnloading(patch.reference)
            notes.append("\(patch.id): an interrupted unload was completed")
        case .activating, .deactivating: try recoverSwitch(patch)
        case .initialising:
            guard let calls = patch.calls else { return }
            try completeCalls(patch, at: calls.load, count: calls.loadCount)
            guard records.patch(patch.reference)?.state == .initialising else { return }
            try endInitialising(patch.reference, calls)
            notes.append("\(patch.id): an interrupted load was completed")
        case .retiring:
            guard let calls = patch.calls else { return }
            try completeCalls(patch, at: calls.unload, count: calls.registrations)
            guard records.patch(patch.reference)?.state == .retiring else { return }
            try records.update(patch.reference) { $0.state = .unloading }
            try finishUnloading(patch.reference)
            notes.append("\(patch.id): an interrupted unload was completed")
        case .loaded, .active, .resident, .superseded, .failed: return
        }
    }

    private mutating func recoverSwitch(_ patch: RegisteredPatch) throws {
        let reference = patch.reference
        if try process.view.read(patch.switchAddress, 1).bytes == [1] {
            // Committed (or not yet taken back): all entries stand. What it supersedes may still have its byte set.
            for old in patch.supersedes {
                guard let lower = records.patch(old), lower.state == .active else { continue }
                try process.memory.write([0], at: RemoteAddress(lower.switchAddress))
            }
            // Of the values, some may be written and some not.
            let outcomes = patch.values.isEmpty ? [:] : try makeSwitch(try completionPlan(reference), .entry)
            try records.update { $0.markActive(reference, outcomes) }
            notes += records.patch(reference)?.valueNotes() ?? []
            notes.append("\(patch.id): an interrupted command was completed: it is active")
            return
        }
        // Every entry, written or not, leads to the original code: they are restored as in a deactivation.
        // Values are written only while the switch is on: what memory holds now is the program's.
        _ = try makeSwitch(try deactivationPlan(reference, .entry).withoutValues, .entry)
        try records.update { $0.markInactive(reference) }
        notes.append("\(patch.id): an interrupted command was taken back: it is loaded, not active")
    }
}
