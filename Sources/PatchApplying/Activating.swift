import Diagnostics
import PatchFormat
import PatchRegistry
import PatchSwitching

extension Session {
    /// Makes the switch to the new code.
    /// - Returns: false when the patch is active already.
    mutating func activate(_ reference: PatchReference) throws -> Bool {
        let patch = try patch(reference)
        if patch.state == .active, try isInPlace(patch) {
            try LateTargets(process: process).refuse(patch)
            return false
        }
        guard patch.state == .loaded || patch.state == .resident || patch.state == .active else {
            throw Refusal(
                .patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(process.subject), not loaded")
        }
        try relations.checkActivation(of: patch)
        let consistency = try consistency(of: patch)
        var intent = patch
        intent.state = .activating
        // From the first entry on, threads may be in the module: the copy of the old code (trap intended-counts).
        intent.wasActive = true
        intent.markValuesIntended(process.view)
        try records.update(reference) { $0 = intent }
        let outcomes: ValueOutcomes
        do {
            outcomes = try makeSwitch(try activationPlan(reference, consistency), consistency)
        } catch let error where !(error is Failure) {
            // Nothing was written: every check comes before the first write.
            try? records.update(reference) { $0 = patch }
            throw error
        }
        try records.update { $0.markActive(reference, outcomes) }
        notes += records.patch(reference)?.valueNotes() ?? []
        // While ld.so is at work nothing can be told; `status` will.
        guard (try? process.refresh()) != nil else { return true }
        notes += records.patch(reference).map(LateTargets(process: process).notes) ?? []
        return true
    }

    /// Whether every entry of an active patch holds a jump: a library that was closed and opened again has none (trap
    /// dlclosed).
    private func isInPlace(_ patch: RegisteredPatch) throws -> Bool {
        for module in patch.modules where !process.isPresent(module) {
            guard process.isMapped(module.buildID) else { continue }
            throw Refusal(
                .patchState, subject: "\(module.file) in \(process.subject)",
                why: "it was closed and opened again at another address since \(patch.id) was applied",
                remedy: "revert the patch and apply it again")
        }
        return try patch.modules.filter(process.isPresent).flatMap(\.functions).allSatisfy { function in
            try process.entryBytes(of: function) == records.state.expectedEntry(of: function)
        }
    }

    /// The command line's consistency, or the manifest's.
    private func consistency(of patch: RegisteredPatch) throws -> Consistency {
        let consistency = consistency ?? patch.consistency
        if consistency == .entry, let coupled = patch.functions.first(where: \.abiCoupled) {
            throw Refusal(
                .patchState, subject: coupled.name,
                why:
                    "its callers changed with it and rely on its register use, so that old and new calls can't be mixed "
                    + "(trap ipa-contract)", remedy: "use --consistency stack")
        }
        return consistency
    }

    /// Makes the switch back to the original code and restores every entry.
    /// - Returns: false when the patch is not active.
    mutating func deactivate(_ reference: PatchReference) throws -> Bool {
        let patch = try patch(reference)
        guard patch.state == .active else {
            guard patch.state == .loaded || patch.state == .resident else {
                throw Refusal(
                    .patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(process.subject)")
            }
            return false
        }
        try relations.refuseDependents(of: patch)
        let consistency = try consistency(of: patch)
        try records.update(reference) { $0.state = .deactivating }
        let outcomes: ValueOutcomes
        do {
            outcomes = try makeSwitch(try deactivationPlan(reference, consistency), consistency)
        } catch let error where !(error is Failure) {
            try? records.update(reference) { $0.state = .active }
            throw error
        }
        try records.update { $0.markInactive(reference) }
        notes += records.patch(reference)?.valueNotes(putBack: outcomes) ?? []
        return true
    }

    // MARK: The switch

    mutating func makeSwitch(_ plan: SwitchPlan, _ consistency: Consistency) throws -> ValueOutcomes {
        let switcher = Switcher(plan, consistency, excluding: records.livepatchRanges, limits)
        return try switcher.run(in: &process, &stop)
    }

    private func activationPlan(_ reference: PatchReference, _ consistency: Consistency) throws -> SwitchPlan {
        let (patch, selector) = try planned(reference)
        return SwitchPlan.activation(of: patch, in: records.state, consistency: consistency, selector: selector)
    }

    func deactivationPlan(_ reference: PatchReference, _ consistency: Consistency) throws -> SwitchPlan {
        let (patch, selector) = try planned(reference)
        return SwitchPlan.deactivation(
            of: patch, in: records.state, consistency: consistency, selector: selector, present: process.isPresent)
    }

    func completionPlan(_ reference: PatchReference) throws -> SwitchPlan {
        let (patch, selector) = try planned(reference)
        return SwitchPlan.completion(of: patch, selector: selector, present: process.isPresent)
    }

    private func planned(_ reference: PatchReference) throws -> (RegisteredPatch, RegistrySelector) {
        guard let selector = records.selector else { throw notLoaded(reference.id, in: process) }
        return (try patch(reference), selector)
    }
}
