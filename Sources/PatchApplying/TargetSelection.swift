import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessImage

/// A bundle as one process takes it.
struct TakenBundle: Sendable {
    /// With the targets that the process takes, and no others; its identity is that of the whole.
    var bundle: Bundle
    /// The bundle's other targets.
    var leftOut: [RegisteredTarget]
}

/// Which of a bundle's targets a process takes: by build-id, never by name.
struct TargetSelection {
    let process: LoadedProcess

    private var subject: String { process.subject }

    /// Chooses the targets of every group that the process maps wholly. What is mapped is taken, or the process is
    /// refused: code that relies on a change never runs beside code without it.
    ///
    /// - Throws: `Refusal` target-not-mapped or wrong-build, which names what is missing.
    func take(_ whole: Bundle) throws -> TakenBundle {
        let manifest = whole.manifest
        let mapped = Set(manifest.targets.map(\.buildID).filter(process.isMapped))
        let taken = manifest.taken(byMapping: mapped)
        let ids = Set(taken.map(\.buildID))
        if let alone = manifest.targets.first(where: { mapped.contains($0.buildID) && !ids.contains($0.buildID) }) {
            throw incomplete(alone, manifest, mapped)
        }
        guard !taken.isEmpty else { throw nothingMapped(manifest) }
        let leftOut = manifest.targets.filter { !ids.contains($0.buildID) }
        return TakenBundle(bundle: whole.taking(taken), leftOut: leftOut.map(RegisteredTarget.init))
    }

    /// Why the process does not have a target.
    func missing(_ target: ManifestTarget, of manifest: Manifest? = nil) -> Refusal {
        if let other = otherBuild(of: target, manifest) {
            return Refusal(
                .wrongBuild, subject: "\(target.file) in \(subject)",
                why: "the process runs build-id \(other.buildID ?? "(none)"), the bundle is for \(target.buildID)")
        }
        return Refusal(
            .notMapped, subject: "\(target.file) in \(subject)", why: "no mapped file has build-id \(target.buildID)")
    }

    /// A mapped file of a target's name that the bundle is not for.
    private func otherBuild(of target: ManifestTarget, _ manifest: Manifest?) -> LoadedObject? {
        process.objects.first { object in
            object.file == target.file && !(manifest?.targets.contains { $0.buildID == object.buildID } ?? false)
        }
    }

    private func nothingMapped(_ manifest: Manifest) -> Refusal {
        let refusals = manifest.targets.map { missing($0, of: manifest) }
        if refusals.count == 1 || manifest.targetGroups.count == 1 { return refusals[0] }
        if let wrong = refusals.first(where: { $0.rule == Rule.wrongBuild.rawValue }) { return wrong }
        return Refusal(
            .notMapped, subject: subject,
            why: "no mapped file has the build-id of any of \(manifest.targets.map(\.file).joined(separator: ", "))")
    }

    /// The process maps a target, and of each of its groups something is missing.
    private func incomplete(_ alone: ManifestTarget, _ manifest: Manifest, _ mapped: Set<String>) -> Refusal {
        let lacking = manifest.targetGroups.filter { $0.contains { $0.buildID == alone.buildID } }.map { group in
            group.filter { !mapped.contains($0.buildID) }
        }
        let nearest = lacking.min { $0.count < $1.count } ?? []
        guard let first = nearest.first else { return missing(alone, of: manifest) }
        var refusal = missing(first, of: manifest)
        let choices = lacking.map { $0.map(\.file).joined(separator: " and ") }
        refusal.why +=
            "; \(alone.file) is mapped, and is only patched together with \(choices.joined(separator: ", or with ")): "
            + "their changes rely on each other"
        if refusal.rule == Rule.notMapped.rawValue {
            refusal.remedy = "restart the process with the fixed files; `patchbuild show` says what is patched together"
        }
        return refusal
    }

    /// Mapped files of a target's name that the bundle has no patch for.
    func noteOtherBuilds(_ whole: Bundle, _ taken: TakenBundle) -> [String] {
        let ids = Set(taken.leftOut.map(\.buildID))
        return whole.manifest.targets.filter { ids.contains($0.buildID) }.compactMap { target in
            otherBuild(of: target, whole.manifest).map {
                "\(target.file) is not patched: the process runs build-id \($0.buildID ?? "(none)"), the bundle is for "
                    + target.buildID
            }
        }
    }

    /// The mapped object that the manifest's target speaks of: by build-id, never by name.
    func object(for target: ManifestTarget) throws -> LoadedObject {
        let matching = process.objects.filter { $0.buildID == target.buildID }
        guard matching.count < 2 else {
            throw Refusal(
                .unsupportedProcess, subject: "\(target.file) in \(subject)",
                why: "it is mapped \(matching.count) times, and one patch can't tell which copy is meant")
        }
        if let found = matching.first { return found }
        throw missing(target)
    }
}
