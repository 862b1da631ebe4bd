import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Makes the switch to the new code.
    /// - Returns: false when the patch is active already.
    mutating func activate(_ reference: PatchReference) throws -> Bool {
        guard let patch = patch(reference) else { throw notLoaded(reference.id) }
        if patch.state == .active, try isInPlace(patch) {
            try refuseUnpatched(patch)
            return false
        }
        guard patch.state == .loaded || patch.state == .resident || patch.state == .active else {
            throw Refusal(
                .patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(subject), not loaded")
        }
        try checkBeforeActivation(patch)
        let consistency = try consistency(of: patch)
        var intent = patch
        intent.state = .activating
        markIntended(&intent)
        try update(reference) { $0 = intent }
        let outcomes: ValueOutcomes
        do {
            outcomes = try makeSwitch(consistency) { session in
                guard let registry = session.registry, let current = session.patch(reference) else {
                    throw session.notLoaded(reference.id)
                }
                return SwitchPlan.activation(
                    of: current, in: registry.state, consistency: consistency, registry: registry)
            }
        } catch let error where !(error is Failure) {
            // Nothing was written: every check comes before the first write.
            try? update(reference) { $0 = patch }
            throw error
        }
        try registry?.update { RegistryState.markActive(reference, outcomes, in: &$0) }
        noteValues(reference)
        noteUnpatched(reference)
        return true
    }

    private func checkBeforeActivation(_ patch: RegisteredPatch) throws {
        try refuseUnpatched(patch)
        if patch.state == .resident, let late = patch.leftOut?.first(where: { isMapped($0.buildID) }) {
            throw Refusal(
                .patchState, subject: "\(late.file) in \(subject)",
                why: "it was mapped after \(patch.id) was loaded, and is not patched", remedy: "apply the bundle again")
        }
        for needed in patch.requires where self.patch(needed)?.state != .active {
            throw Refusal(
                .missingRequirement, subject: patch.id,
                why: "it requires \(needed.id), which is not active in \(subject)")
        }
        let named = patch.requires + patch.supersedes
        for other in state.overlapping(patch.functions, except: patch.reference) where !named.contains(other.reference)
        {
            throw Refusal(
                .overlap, subject: patch.id,
                why: "\(other.id), which is active in \(subject), replaces the same functions, and \(patch.id) was not "
                    + "built on it")
        }
        try refuseToSupersedeValues(patch.supersedes, by: patch.id) { $0.state == .active }
        // A patch below that came or went since the load has changed where the old way must lead.
        for function in patch.functions {
            let below = state.holder(ofEntry: function.entry, except: patch.reference)?.0.manifestDigest
            guard below == nil || below == function.stackedOn else {
                throw Refusal(
                    .overlap, subject: function.name,
                    why: "another patch has taken its entry since \(patch.id) was loaded",
                    remedy: "unload and load it again")
            }
        }
        for module in patch.modules where !isPresent(module) {
            throw Refusal(
                .notMapped, subject: "\(module.file) in \(subject)",
                why: "the file that \(patch.id) was loaded for is not mapped any more (trap dlclosed)")
        }
    }

    /// Whether every entry of an active patch holds a jump: a library that was closed and opened again has none (trap
    /// dlclosed).
    private func isInPlace(_ patch: RegisteredPatch) throws -> Bool {
        for module in patch.modules where !isPresent(module) {
            guard linkMap.objects.contains(where: { $0.buildID == module.buildID }) else { continue }
            throw Refusal(
                .patchState, subject: "\(module.file) in \(subject)",
                why: "it was closed and opened again at another address since \(patch.id) was applied",
                remedy: "revert the patch and apply it again")
        }
        return try patch.modules.filter(isPresent).flatMap(\.functions).allSatisfy { function in
            let expected = state.holder(ofEntry: function.entry)?.1.jump ?? function.saved
            let found = try view.read(function.entry, UInt64(Entry.jumpLength)).bytes
            return Digest.hexadecimal(found) == expected
        }
    }

    /// Whether the very target still lies where the module was made for.
    func isPresent(_ module: RegisteredModule) -> Bool {
        linkMap.objects.contains { $0.bias == module.targetBias && $0.buildID == module.buildID }
    }

    func notLoaded(_ id: String) -> Refusal {
        Refusal(.notLoaded, subject: id, why: "it is not loaded in \(subject)")
    }

    /// The command line's consistency, or the manifest's.
    func consistency(of patch: RegisteredPatch) throws -> Consistency {
        let consistency = options.consistency ?? patch.consistency
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
        guard let patch = patch(reference) else { throw notLoaded(reference.id) }
        guard patch.state == .active else {
            guard patch.state == .loaded || patch.state == .resident else {
                throw Refusal(.patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(subject)")
            }
            return false
        }
        try refuseDependents(of: patch)
        let consistency = try consistency(of: patch)
        try update(reference) { $0.state = .deactivating }
        let outcomes: ValueOutcomes
        do {
            outcomes = try makeSwitch(consistency) { try $0.deactivationPlan(reference, consistency) }
        } catch let error where !(error is Failure) {
            try? update(reference) { $0.state = .active }
            throw error
        }
        try registry?.update { RegistryState.markInactive(reference, in: &$0) }
        noteValues(reference, putBack: outcomes)
        return true
    }

    func deactivationPlan(_ reference: PatchReference, _ consistency: Consistency) throws -> SwitchPlan {
        guard let registry, let current = patch(reference) else { throw notLoaded(reference.id) }
        return SwitchPlan.deactivation(
            of: current, in: registry.state, consistency: consistency, registry: registry, present: isPresent)
    }
}

extension RegistryState {
    static func markActive(_ reference: PatchReference, _ outcomes: ValueOutcomes, in state: inout RegistryState) {
        guard let index = state.index(of: reference) else { return }
        state.patches[index].state = .active
        state.patches[index].wasActive = true
        state.patches[index].updateValues { outcomes[$0.address] ?? $0.outcome }
        for old in state.patches[index].supersedes {
            if let lower = state.index(of: old), state.patches[lower].state == .active {
                state.patches[lower].state = .superseded
            }
        }
    }

    /// Whatever it superseded is inactive too: the entries are the original's.
    static func markInactive(_ reference: PatchReference, in state: inout RegistryState) {
        guard let index = state.index(of: reference) else { return }
        state.patches[index].state = .loaded
        state.patches[index].updateValues { _ in nil }
        for old in state.patches[index].supersedes {
            if let lower = state.index(of: old), state.patches[lower].state == .superseded {
                state.patches[lower].state = .loaded
            }
        }
    }
}
