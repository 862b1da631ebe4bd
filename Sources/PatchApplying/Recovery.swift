import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Completes or takes back what a command that did not finish has left, before anything else is done.
    ///
    /// The intent in the registry says what was under way, the switch byte which side of the commit was reached.
    mutating func recover() throws {
        for patch in state.patches where patch.state.isIntent { try recover(patch) }
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
            guard self.patch(patch.reference)?.state == .initialising else { return }
            try endInitialising(patch.reference, calls)
            notes.append("\(patch.id): an interrupted load was completed")
        case .retiring:
            guard let calls = patch.calls else { return }
            try completeCalls(patch, at: calls.unload, count: calls.registrations)
            guard self.patch(patch.reference)?.state == .retiring else { return }
            try update(patch.reference) { $0.state = .unloading }
            try finishUnloading(patch.reference)
            notes.append("\(patch.id): an interrupted unload was completed")
        case .loaded, .active, .resident, .superseded, .failed: return
        }
    }

    private mutating func recoverSwitch(_ patch: RegisteredPatch) throws {
        let reference = patch.reference
        if try view.read(patch.switchAddress, 1).bytes == [1] {
            // Committed (or not yet taken back): all entries stand. What it supersedes may still have its byte set.
            for old in patch.supersedes {
                guard let lower = self.patch(old), lower.state == .active else { continue }
                try view.memory.write([0], at: RemoteAddress(lower.switchAddress))
            }
            let outcomes = patch.values.isEmpty ? [:] : try completeValues(reference)
            try registry?.update { RegistryState.markActive(reference, outcomes, in: &$0) }
            noteValues(reference)
            notes.append("\(patch.id): an interrupted command was completed: it is active")
            return
        }
        // Every entry, written or not, leads to the original code: they are restored as in a deactivation.
        try makeSwitch(.entry) { session in
            var plan = try session.deactivationPlan(reference, .entry)
            // Values are written only while the switch is on: what memory holds now is the program's.
            plan.values = []
            return plan
        }
        try registry?.update { RegistryState.markInactive(reference, in: &$0) }
        notes.append("\(patch.id): an interrupted command was taken back: it is loaded, not active")
    }

    /// The switch is on: of the values, some may be written and some not.
    private mutating func completeValues(_ reference: PatchReference) throws -> ValueOutcomes {
        try makeSwitch(.entry) { session in
            guard let registry = session.registry, let current = session.patch(reference) else {
                throw session.notLoaded(reference.id)
            }
            return SwitchPlan.completion(of: current, registry: registry, present: session.isPresent)
        }
    }
}
