import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessImage

/// How a patch stands to the others of a process.
struct Relations {
    let process: LoadedProcess
    let state: RegistryState

    private var subject: String { process.subject }

    private func patch(_ reference: PatchReference) -> RegisteredPatch? {
        state.index(of: reference).map { state.patches[$0] }
    }

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
    func check(_ bundle: Bundle, _ objects: [LoadedObject]) throws {
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
            let left = state.dependents(of: old).filter { !manifest.supersedes.contains($0.reference) }
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
        guard let lower = patch(needed), lower.state == .active, let late = process.unpatched(lower).first else {
            return nil
        }
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

    func refuseDependents(of patch: RegisteredPatch) throws {
        let others = state.dependents(of: patch)
        if others.isEmpty { return }
        throw Refusal(
            .requiredByOthers, subject: patch.id,
            why: "\(others.map(\.id).joined(separator: ", ")) in \(subject) was built on it")
    }

    /// Whether a loaded patch may be switched on.
    func checkActivation(of patch: RegisteredPatch) throws {
        try LateTargets(process: process).refuse(patch)
        if patch.state == .resident, let late = patch.leftOut?.first(where: { process.isMapped($0.buildID) }) {
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
        try ValueChecks(process: process, state: state).refuseToSupersede(patch.supersedes, by: patch.id) {
            $0.state == .active
        }
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
        for module in patch.modules where !process.isPresent(module) {
            throw Refusal(
                .notMapped, subject: "\(module.file) in \(subject)",
                why: "the file that \(patch.id) was loaded for is not mapped any more (trap dlclosed)")
        }
    }
}
