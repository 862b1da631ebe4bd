import Diagnostics
import ObjectFiles
import PatchFormat

/// A target with the changed units it holds.
struct HeldTarget {
    var target: LoadedTarget
    var units: [ComparedUnit]
}

/// Asks every rule about the whole patch; `plans` are those of `held`, in order.
///
/// - Returns: the decisions that an engineer gave for what a rule found, for the manifest.
/// - Throws: `Refusals` with all that nobody allowed.
func guardPatch(
    _ held: [HeldTarget], plans: [ModulePlan], debug: DebugFacts, sources: CompiledInput, homeless: [ChangedUnit],
    constants: [ConstantChange], allowed: [AllowedRule]
) throws -> [Decision] {
    var refusals: [Refusal] = []
    for (target, plan) in zip(held, plans) {
        for (unit, unitPlan) in zip(target.units, plan.units) {
            refusals += guardUnit(unit, plan: unitPlan)
        }
    }
    refusals += debug.layoutRefusals() + debug.signatureRefusals(homeless: homeless)
    refusals += constants.compactMap(\.refusal)
    for target in held { refusals += try guardUnrecorded(target.target, sources: sources) }
    return try decide(refusals, allowed)
}

private func decide(_ refusals: [Refusal], _ allowed: [AllowedRule]) throws -> [Decision] {
    var seen: Set<Refusal> = []
    let distinct = refusals.filter { seen.insert($0).inserted }
    let open = distinct.filter { refusal in !allowed.contains { $0.covers(refusal) } }
    if !open.isEmpty { throw Refusals(open) }
    return distinct.map { Decision(rule: $0.rule, subject: $0.subject, why: $0.why) }
}
