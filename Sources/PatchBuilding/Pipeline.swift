import Closing
import Comparing
import Diagnostics
import Guarding
import Matching
import ModuleLinking
import PatchFormat
import Recompiling
import Releasing
import Targets
import Toolchain

/// What a build gives back.
package struct BuiltBundle: Sendable {
    package var manifest: Manifest
    package var bytes: [UInt8]
    package var stages: [StageClock.Stage]
    /// What the reader should know, though nothing was refused.
    package var notes: [String]
    /// Units that change and are not part of any given target.
    package var homeless: [String] = []
}

/// Builds a bundle, by the stages of the design in their order; each takes the values of those before it.
///
///     recompile → compare → match → close → guard → link → describe → pack
///
/// - Throws: `Refusals` when the patch could be wrong, `Failure` when the machine failed.
package func buildBundle(_ options: BuildOptions) async throws -> BuiltBundle {
    var clock = StageClock()
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }

    // The targets are read while the compiler runs.
    async let reading = readTargets(options.targets, needsDebugInfo: options.input.isSource)
    let compiled = try await compileInput(
        options.input, launcher: options.launcher, scratch: scratch.path, &clock)
    let targets = try await reading
    clock.lap("read targets")

    // From here on there are objects, an original and a new one of every unit that the change can reach; and nothing runs
    // but `ld`, at the end.
    let planned = try planPatch(compiled, targets, allowed: options.allowed, &clock)

    // From here on the patch is safe, by the rules or by decision.
    let modules = try await linkModules(planned, patch: options.bundleID)
    clock.lap("extract and link")

    // From here on the modules are what the processes get; what follows describes them.
    let metadata = try await describePatch(options, compiled, targets, planned)
    let review = try makeReview(compiled, planned, scratch: scratch.path)
    clock.lap("review")
    let (manifest, bytes) = try makeBundle(id: options.bundleID, modules: modules, metadata: metadata, review: review)
    clock.lap("pack")
    let strange = options.cves.filter { $0.wholeMatch(of: /CVE-[0-9]{4}-[0-9]{4,}/) == nil }.map {
        "--cve \($0): this is no CVE's number (CVE-2024-12345)"
    }
    let notes = strange + compiled.notes + planned.notes + describeGroups(manifest) + metadata.review
    return BuiltBundle(
        manifest: manifest, bytes: bytes, stages: clock.stages, notes: notes, homeless: planned.homeless)
}

/// A patch that the guard has let pass, before anything of it is linked.
struct PlannedPatch {
    /// All units that were compiled again.
    var compared: [ComparedUnit]
    /// The units of each target that holds any, whether the patch does something there or not.
    var matched: [[MatchedUnit]]
    /// The targets in which the patch does something; the next three in the same order.
    var targets: [GuardedTarget]
    /// Words of the target's data that decisions let be written.
    var values: [[ValuePatch]]
    var decisions: [Decision]
    var debug: DebugFacts
    var constants: [ConstantChange]
    var homeless: [String]
    var notes: [String]
}

/// The stages between the compiler and the linker: what differs, where it is in the targets, what must travel, and whether
/// that is safe.
///
/// - Throws: `Refusals`.
func planPatch(
    _ compiled: CompiledInput, _ targets: [LoadedTarget], allowed: [AllowedRule], _ clock: inout StageClock
) throws -> PlannedPatch {
    let foreign = try requireForeign(
        compiled.uncompiled + compiled.broken, to: targets, recorded: compiled.recordedFiles)
    let units = try loadUnits(compiled.units)
    clock.lap("read objects")

    // From here on it is known what differs, whatever target it is in.
    let (compared, remarks) = leaveOutMain(units.map(compareUnit), of: targets.map(\.image), allowed: allowed)
    try requireChange(in: compared, summary: compiled.summary)
    clock.lap("compare")

    // From here on each target has the units that it holds, proved by its bytes.
    let matched = try targets.map { target in
        let candidates = unitsOf(target.image, among: compared, linked: compiled.linkedFiles)
        return try matchUnits(candidates, in: target.image, debugInfo: target.debugInfo)
    }
    let homeless = try requireHome(for: compared, in: matched)
    let holders = zip(targets, matched).filter { !$0.1.isEmpty }
    try requireNoEffect(ofNew: compared, in: holders.map { ($0.0.image, $0.1) })
    clock.lap("match")

    // From here on it is known what must travel, and what each reference of it stands for.
    let held = try holders.map { target, units in
        GuardedTarget(
            target: target, units: units, plan: try close(units, target: target.image), compared: compared,
            sources: compiled)
    }
    clock.lap("close")

    // From here on the rules have been asked.
    let debug = readDebugFacts(of: held.flatMap(\.units))
    let constants = held.contains(where: \.changesCode) ? constantChanges(compiled, constants: debug.constants) : []
    let verdict = try guardPatch(
        GuardedPatch(targets: held, debug: debug, sources: compiled, homeless: homeless, constants: constants),
        allowed: allowed)
    clock.lap("guard")

    // Targets in which the patch does nothing are left out.
    let patched = try requireEffect(of: held.map(\.plan), values: verdict.values)
    return PlannedPatch(
        compared: compared, matched: matched, targets: patched.map { held[$0] },
        values: patched.map { verdict.values[$0] }, decisions: verdict.decisions, debug: debug, constants: constants,
        homeless: homeless.map(\.unit.name),
        notes: remarks + foreign + homeless.map { "\($0.unit.name): changes, but is not part of any given target" }
            + noteTargets(held.map(\.target.image), patched: patched) + verdict.notes)
}

/// A module with the plan that it was made by.
struct PatchedTarget {
    var plan: ModulePlan
    var values: [ValuePatch]
    var linked: LinkedModule
}

private func linkModules(_ planned: PlannedPatch, patch: String) async throws -> [PatchedTarget] {
    var modules: [PatchedTarget] = []
    for (target, values) in zip(planned.targets, planned.values) {
        let linked = try await link(target.plan, sharesSwitch: planned.targets.count > 1, patch: patch)
        modules.append(PatchedTarget(plan: target.plan, values: values, linked: linked))
    }
    return modules
}
