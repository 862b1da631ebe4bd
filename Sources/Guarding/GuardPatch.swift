import Closing
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Recompiling
import Targets

/// A target with the changed units it holds.
package struct HeldTarget {
    package var target: LoadedTarget
    package var units: [MatchedUnit]
    /// What the target's own code, apart from the units', is refused for.
    package var uncovered: [Refusal] = []

    package init(target: LoadedTarget, units: [MatchedUnit], uncovered: [Refusal] = []) {
        self.target = target
        self.units = units
        self.uncovered = uncovered
    }
}

/// Asks every rule about the whole patch; `plans` are those of `held`, in order.
///
/// - Returns: the decisions that an engineer gave for what a rule found, for the manifest; and each target's values
///   that the process gets by such decisions.
/// - Throws: `Refusals` with all that nobody allowed.
package func guardPatch(
    _ held: [HeldTarget], plans: [ModulePlan], debug: DebugFacts, sources: CompiledInput, homeless: [ComparedUnit],
    constants: [ConstantChange], allowed: [AllowedRule]
) throws -> (decisions: [Decision], values: [[ValuePatch]]) {
    var (refusals, final): ([Refusal], [Refusal]) = ([], [])
    var values: [[ValuePatch]] = []
    for (target, plan) in zip(held, plans) {
        var patches: [ValuePatch] = []
        for (unit, unitPlan) in zip(target.units, plan.units) {
            let changes = valueChanges(unit, in: target.target.image)
            // Two variants of a unit may share their globals.
            patches += changes.patches.filter { !patches.contains($0) }
            final += changes.refusals
            refusals += guardUnit(unit, plan: unitPlan).filter { refusal in
                !changes.refusals.contains { $0.rule == refusal.rule && $0.subject == refusal.subject }
            }
        }
        final += target.uncovered + tooMany(patches, target.target.image)
        values.append(patches)
    }
    for target in held { refusals += guardVanishedGlobals(target.units, in: target.target.image) }
    let exported = Set(held.flatMap { $0.target.image.exports.keys })
    let imported = Set(held.flatMap { $0.target.image.imports.keys })
    refusals += debug.layoutRefusals() + debug.newTypeRefusals(sources) + debug.closureRefusals()
    refusals += debug.signatureRefusals(homeless: homeless, exported: exported)
    refusals += debug.callbackRefusals(homeless: homeless, exported: exported, imported: imported)
    refusals += meaningRefusals(constants)
    for target in held {
        refusals += try guardUnrecorded(target.target, sources: sources)
        refusals += guardRepeated(target.target, sources: sources)
    }
    return (try decide(refusals, final: final, allowed), values)
}

/// All are compared and written while the process stands still.
private func tooMany(_ patches: [ValuePatch], _ target: TargetImage) -> [Refusal] {
    guard patches.count > ValuePatch.maximumCount else { return [] }
    return [
        Refusal(
            .dataInitialValue, subject: target.name,
            why: "\(patches.count) words get another initial value; at most \(ValuePatch.maximumCount) can be written",
            remedy: "restart, or set the values from patched code")
    ]
}

/// - Parameter final: what no decision can take away.
private func decide(_ refusals: [Refusal], final: [Refusal], _ allowed: [AllowedRule]) throws -> [Decision] {
    var seen: Set<Refusal> = []
    let distinct = refusals.filter { seen.insert($0).inserted }
    let open = final + distinct.filter { refusal in !allowed.contains { $0.covers(refusal) } }
    if !open.isEmpty { throw Refusals(open) }
    return distinct.map { Decision(rule: $0.rule, subject: $0.subject, why: $0.why) }
}
