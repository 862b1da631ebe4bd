import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Recompiling
import Targets

/// All that the manifest says beyond the modules.
///
/// - Throws: as `describeRequest`; `Failure` where a tool can't be asked for its version.
func describePatch(
    _ options: BuildOptions, _ compiled: CompiledInput, _ targets: [LoadedTarget], _ planned: PlannedPatch
) async throws -> PatchMetadata {
    var metadata = try describeRequest(
        options, decisions: planned.decisions, compiled: compiled, matched: planned.matched)
    try await addTools(
        to: &metadata.provenance, targets: targets, compilers: planned.debug.producers,
        root: compiled.change?.root)
    metadata.review =
        options.remarks + reviewNotes(planned.matched.flatMap { $0 }, constants: planned.constants)
        + planned.debug.layoutRemarks
    // A process takes each group of targets that it maps as a whole.
    metadata.groups = groupTargets(
        groupMembers(
            planned.targets, decisions: planned.decisions, debug: planned.debug, constants: planned.constants))
    return metadata
}

/// What the manifest says beyond the modules: the request, its decisions, and its relation to other bundles.
///
/// - Throws: `Refusal` when a bundle named by `--requires` or `--supersedes` can't be read, or does not fit.
private func describeRequest(
    _ options: BuildOptions, decisions: [Decision], compiled: CompiledInput, matched: [[MatchedUnit]]
) throws -> PatchMetadata {
    var metadata = PatchMetadata()
    metadata.created = options.created
    metadata.expires = options.expires
    metadata.sequence = options.sequence
    metadata.cves = options.cves
    metadata.decisions = decisions
    metadata.provenance = compiled.provenance
    let names = Set(
        matched.joined().flatMap { unit in
            unit.changes.functions.keys.flatMap { unit.new.entities[$0].names }
        })
    for path in options.requires {
        let bundle = try Bundle.read(path: path)
        try requireBuiltOn(bundle, path: path, names: names, compiled: compiled)
        metadata.requires.append(PatchReference(id: bundle.manifest.id, manifestDigest: bundle.manifestDigest))
    }
    for path in options.supersedes {
        let bundle = try Bundle.read(path: path)
        try requireCovered(bundle, path: path, names: names)
        metadata.supersedes.append(PatchReference(id: bundle.manifest.id, manifestDigest: bundle.manifestDigest))
    }
    return metadata
}

/// A patch on top of another that changes the same function must hold the other's fix: it is built with the same diffs
/// first (trap patches-undo-each-other).
private func requireBuiltOn(_ bundle: Bundle, path: String, names: Set<String>, compiled: CompiledInput) throws {
    let theirs = bundle.manifest.targets.flatMap(\.functions).filter { $0.change == .changed }.map(\.name)
    guard let shared = theirs.first(where: { names.contains($0) }) else { return }
    let required = bundle.manifest.provenance.diffDigests
    guard compiled.provenance.diffDigests.starts(with: required), !required.isEmpty else {
        throw Refusal(
            .overlap, subject: shared,
            why: "\(path) changes it too, and this patch is not built on that one's diffs, so it would undo it",
            remedy: "give the diffs of \(path) first, in their order, then the new ones")
    }
}

/// What replaces another patch must replace every function of it, or a part of it would be left behind.
private func requireCovered(_ bundle: Bundle, path: String, names: Set<String>) throws {
    let theirs = bundle.manifest.targets.flatMap(\.functions).filter { $0.change == .changed }.map(\.name)
    guard let left = theirs.first(where: { !names.contains($0) }) else { return }
    throw Refusal(
        .overlap, subject: left, why: "\(path) changes it, and this patch, which supersedes that one, does not",
        remedy: "include that patch's diffs, or use --requires")
}
