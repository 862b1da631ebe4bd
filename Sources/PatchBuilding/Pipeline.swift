import Closing
import Comparing
import Diagnostics
import Guarding
import Matching
import ModuleLinking
import ObjectFiles
import PatchFormat
import Recompiling
import Releasing
import SourceChanges
import Targets
import Toolchain

/// What a build gives back.
package struct BuiltBundle: Sendable {
    package var manifest: Manifest
    package var bytes: [UInt8]
    package var stages: [StageClock.Stage]
    /// What the reader should know, though nothing was refused.
    package var notes: [String]
}

/// Builds a bundle, by the passes of the design in their order; each takes the value of the one before.
///
///     affected units → compile twice → match → compare → close → guard → extract, link → describe, pack
///
/// - Throws: `Refusals` when the patch could be wrong, `Failure` when the machine failed.
package func buildBundle(_ options: BuildOptions) async throws -> BuiltBundle {
    var clock = StageClock()
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }

    // The targets are read while the compiler runs.
    async let reading = readTargets(options.targets, needsDebugInfo: options.input.isSource)

    // From here on there are objects: an original and a new one of every unit that the change can reach.
    let compiled = try await compileInput(
        options.input, launcher: options.launcher, scratch: scratch.path, &clock)
    let targets = try await reading
    clock.lap("read targets")
    let foreign = try requireForeign(compiled.uncompiled + compiled.broken, to: targets)
    let units = try loadUnits(compiled.units)
    clock.lap("read objects")

    // What differs does not depend on the target.
    let changed = units.map { ComparedUnit($0) }
    clock.lap("compare")
    if changed.allSatisfy(\.changes.isEmpty) {
        throw Refusals(
            .nothingToPatch, subject: compiled.summary,
            why: units.isEmpty
                ? "no recorded command of a target's units reads any of it"
                : "the units that were compiled again (\(units.count)) have the same code and data as before")
    }

    // Each target gets the units that it holds, proved by its bytes.
    let matched = try targets.map { try matchUnits(changed, in: $0.image, debugInfo: $0.debugInfo) }
    let homeless = try requireHome(for: changed, in: matched)
    try requireNoEffect(ofNew: changed, in: zip(targets.map(\.image), matched).filter { !$0.1.isEmpty })
    clock.lap("match")

    // From here on a patch exists; the guard decides whether it is safe.
    let held = zip(targets, matched).filter { !$0.1.isEmpty }
    let plans = try held.map { try close($0.1, target: $0.0.image, sharesSwitch: held.count > 1) }
    clock.lap("close")
    let debug = DebugFacts(units: held.flatMap(\.1))
    let constants =
        held.contains { $0.1.contains { !$0.changes.functions.isEmpty } }
        ? constantChanges(compiled, constants: debug.constants) : []
    let guarded = held.map { target, units in
        HeldTarget(target: target, units: units, uncovered: guardCoverage(changed, held: units, in: target))
    }
    let verdict = try guardPatch(
        guarded, plans: plans, debug: debug, sources: compiled, homeless: homeless, constants: constants,
        allowed: options.allowed)
    clock.lap("guard")

    // Targets in which the patch does nothing are left out.
    let patched = try requireEffect(of: plans, values: verdict.values)
    var linked: [(plan: ModulePlan, linked: LinkedModule)] = []
    for index in patched {
        var plan = plans[index]
        plan.values = verdict.values[index]
        plan.sharesSwitch = patched.count > 1
        linked.append((plan, try await link(plan)))
    }
    clock.lap("extract and link")

    var metadata = try describeRequest(options, decisions: verdict.decisions, compiled: compiled, matched: matched)
    try await addTools(
        to: &metadata.provenance, targets: targets, compilers: debug.producers, root: compiled.change?.root)
    metadata.review = reviewNotes(held.flatMap(\.1), constants: constants) + debug.layoutRemarks
    // A process takes each group of targets that it maps as a whole.
    metadata.groups = groupTargets(
        groupMembers(
            patched.map { guarded[$0] }, plans: linked.map(\.plan), decisions: verdict.decisions, debug: debug,
            constants: constants))
    let review = try makeReview(
        compiled, loaded: units, held: patched.map { held[$0] }, linked: linked, scratch: scratch.path)
    clock.lap("review")
    let (manifest, bytes) = try makeBundle(id: options.bundleID, targets: linked, metadata: metadata, review: review)
    clock.lap("pack")
    let notes =
        compiled.notes + foreign + homeless.map { "\($0.unit.name): changes, but is not part of any given target" }
        + noteTargets(held.map(\.0.image), patched: patched) + describeGroups(manifest) + metadata.review
    return BuiltBundle(manifest: manifest, bytes: bytes, stages: clock.stages, notes: notes)
}
