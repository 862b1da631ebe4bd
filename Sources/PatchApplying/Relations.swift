import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Identity is id and manifest digest: another bundle of the same id must go first (trap same-id).
    func checkIdentity(_ bundle: Bundle) throws {
        let manifest = bundle.manifest
        for patch in state.patches where patch.id == manifest.id && !patch.state.isLeftOver {
            guard patch.manifestDigest == bundle.manifestDigest else {
                throw Refusal(
                    .overlap, subject: manifest.id,
                    why:
                        "another bundle with this id is \(patch.state.rawValue) in \(subject), with the manifest digest "
                        + patch.manifestDigest.prefix(16),
                    remedy: "revert that one first, or give the new bundle another id")
            }
        }
    }

    /// Requirements are there, and nothing that is active is undone (trap patches-undo-each-other).
    func checkRelations(_ bundle: Bundle, _ objects: [LoadedObject]) throws {
        let manifest = bundle.manifest
        var refusals: [Refusal] = []
        for needed in manifest.requires where patch(needed)?.state != .active {
            refusals.append(
                Refusal(
                    .missingRequirement, subject: manifest.id,
                    why:
                        "it requires \(needed.id) (\(needed.manifestDigest.prefix(16))), which is not active in \(subject)"
                ))
        }
        refusals += manifest.requires.compactMap { partial($0, for: manifest.id) }
        for other in state.patches where !other.state.isLeftOver && manifest.conflicts.contains(other.id) {
            refusals.append(
                Refusal(
                    .overlap, subject: manifest.id, why: "it conflicts with \(other.id), which is loaded in \(subject)")
            )
        }
        let named = manifest.requires + manifest.supersedes
        for other in state.patches where other.mayHoldEntries && !named.contains(other.reference) {
            guard let function = firstOverlap(manifest, objects, other) else { continue }
            refusals.append(
                Refusal(
                    .overlap, subject: function,
                    why: "\(other.id), which is \(other.state.rawValue) in \(subject), replaces it too, and "
                        + "\(manifest.id) was not built on that patch"))
        }
        refusals += manifest.supersedes.compactMap { uncovered(manifest, objects, $0) }
        for old in manifest.supersedes.compactMap({ patch($0) }) where old.state == .active {
            let left = dependents(of: old).filter { !manifest.supersedes.contains($0.reference) }
            guard let other = left.first else { continue }
            refusals.append(
                Refusal(
                    .requiredByOthers, subject: old.id,
                    why: "\(manifest.id) would supersede it, but \(other.id) in \(subject) was built on it"))
        }
        if !refusals.isEmpty { throw Refusals(refusals) }
    }

    /// What a patch is built on must be all there: a target that was mapped after it was loaded has nothing of it.
    private func partial(_ needed: PatchReference, for id: String) -> Refusal? {
        guard let lower = patch(needed), lower.state == .active, let late = unpatched(lower).first else { return nil }
        return Refusal(
            .missingRequirement, subject: "\(late.file) in \(subject)",
            why: "\(id) requires \(needed.id), but it was mapped after that patch was loaded, and is not patched",
            remedy: "revert \(needed.id) and apply it again first")
    }

    private func firstOverlap(_ manifest: Manifest, _ objects: [LoadedObject], _ other: RegisteredPatch) -> String? {
        let theirs = other.functions.flatMap { $0.ranges + [$0.entryRange] }
        for (target, object) in zip(manifest.targets, objects) {
            for function in target.functions {
                guard let original = function.original else { continue }
                let ours = ([original.range] + original.coldRanges).map {
                    AddressRange(address: object.bias &+ $0.address, size: $0.size)
                }
                if ours.contains(where: { range in theirs.contains { $0.overlaps(range) } }) { return function.name }
            }
        }
        return nil
    }

    /// What supersedes a patch replaces all that it replaced: else a fix would be lost.
    private func uncovered(_ manifest: Manifest, _ objects: [LoadedObject], _ reference: PatchReference) -> Refusal? {
        guard let old = patch(reference), old.state == .active else { return nil }
        var ours: Set<UInt64> = []
        for (target, object) in zip(manifest.targets, objects) {
            for original in target.functions.compactMap(\.original) {
                ours.insert(
                    object.bias &+ original.range.address &+ UInt64(bitPattern: Int64(original.entry.jumpOffset)))
            }
        }
        guard let missing = old.functions.first(where: { !ours.contains($0.entry) }) else { return nil }
        return Refusal(
            .overlap, subject: missing.name,
            why: "\(manifest.id) supersedes \(old.id) but does not replace \(missing.name), which that patch fixed")
    }

    /// What the registry says of a loaded patch must agree with the bundle (trap hostile-registry).
    func checkAgainstBundle(_ patch: RegisteredPatch, _ bundle: Bundle) throws {
        func refuse(_ why: String) -> Refusal {
            Refusal(
                .hostileMemory, subject: "\(patch.id) in \(subject)",
                why: "its registry does not fit the bundle: \(why)")
        }
        let taken = patch.modules.map(\.buildID)
        guard bundle.manifest.canTake(taken) else { throw refuse("no process takes exactly these targets") }
        let targets = bundle.manifest.targets.filter { taken.contains($0.buildID) }
        let others = bundle.manifest.targets.filter { !taken.contains($0.buildID) }
        guard (patch.leftOut ?? []) == others.map(RegisteredTarget.init) else { throw refuse("other targets left out") }
        for (module, target) in zip(patch.modules, targets) {
            let functions = target.functions.filter { $0.original != nil }
            guard module.functions.map(\.name) == functions.map(\.name),
                module.functions.map(\.digest) == functions.compactMap(\.original?.digest)
            else { throw refuse("other functions") }
            let values = (module.values ?? []).map {
                ValuePatch(name: $0.name, address: $0.address &- module.targetBias, original: $0.original, new: $0.new)
            }
            guard values == target.values else { throw refuse("other values") }
            guard let object = linkMap.objects.first(where: { $0.bias == module.targetBias }) else { continue }
            for (registered, function) in zip(module.functions, functions) {
                guard let original = function.original else { continue }
                let offset = UInt64(bitPattern: Int64(original.entry.jumpOffset))
                guard registered.entry == object.bias &+ original.range.address &+ offset else {
                    throw refuse("the entry of \(function.name)")
                }
            }
            // With the saved bytes put back, memory must have the manifest's digests.
            try checkDigests(of: target, in: object)
        }
    }

    /// The patches that must go before this one may.
    func dependents(of patch: RegisteredPatch) -> [RegisteredPatch] {
        state.patches.filter { other in
            other.reference != patch.reference && !other.state.isLeftOver
                && other.requires.contains(patch.reference)
        }
    }

    /// Patches whose old way leads through this one's stubs: it must stay mapped.
    func stackedUpon(_ patch: RegisteredPatch) -> [RegisteredPatch] {
        state.patches.filter { other in
            other.reference != patch.reference && other.functions.contains { $0.stackedOn == patch.manifestDigest }
        }
    }

    func refuseDependents(of patch: RegisteredPatch) throws {
        let others = dependents(of: patch)
        if others.isEmpty { return }
        throw Refusal(
            .requiredByOthers, subject: patch.id,
            why: "\(others.map(\.id).joined(separator: ", ")) in \(subject) was built on it")
    }
}
