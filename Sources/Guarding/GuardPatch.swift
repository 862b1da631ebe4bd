import Closing
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Recompiling
import Targets

/// A unit of a target, and what travels of it.
struct GuardedUnit {
    var unit: MatchedUnit
    var callees: UnitCallees
    var plan: UnitPlan
    var target: TargetImage
}

/// A target with the changed units that it holds.
package struct GuardedTarget {
    package var target: LoadedTarget
    package var units: [MatchedUnit]
    package var plan: ModulePlan
    /// All units that were compiled again, and where they come from.
    var compared: [ComparedUnit]
    var sources: CompiledInput
    /// What both checks of it share: it asks the file system for every recorded source.
    let unrecorded: UnrecordedUnits?
    private let shared: SharedAnswers

    package init(
        target: LoadedTarget, units: [MatchedUnit], plan: ModulePlan, compared: [ComparedUnit], sources: CompiledInput
    ) {
        self.target = target
        self.units = units
        self.plan = plan
        self.compared = compared
        self.sources = sources
        unrecorded = UnrecordedUnits(of: target, sources: sources)
        shared = SharedAnswers(target.image, units)
    }

    var calls: TargetCalls { shared.calls }

    /// The units that change.
    var changedUnits: [GuardedUnit] {
        zip(zip(units, shared.callees), plan.units).filter { !$0.0.0.changes.isEmpty }.map {
            GuardedUnit(unit: $0.0, callees: $0.1, plan: $1, target: target.image)
        }
    }
}

/// What several checks of a target ask for, and many patches don't need: found when the first of them asks.
private final class SharedAnswers {
    private let image: TargetImage
    let callees: [UnitCallees]
    private(set) lazy var calls = TargetCalls(image)

    init(_ image: TargetImage, _ units: [MatchedUnit]) {
        self.image = image
        callees = units.map(UnitCallees.init)
    }
}

extension GuardedTarget {
    /// A function changes: of a patch of data alone, constants don't matter.
    package var changesCode: Bool { units.contains { !$0.changes.functions.isEmpty } }
}

/// The whole patch, as the guard looks at it.
package struct GuardedPatch {
    var targets: [GuardedTarget]
    var debug: DebugFacts
    var sources: CompiledInput
    /// Units that change, and are in no target.
    var homeless: [ComparedUnit]
    var constants: [ConstantChange]
    /// Names of all targets.
    let exported: Set<String>
    let imported: Set<String>

    package init(
        targets: [GuardedTarget], debug: DebugFacts, sources: CompiledInput, homeless: [ComparedUnit],
        constants: [ConstantChange]
    ) {
        self.targets = targets
        self.debug = debug
        self.sources = sources
        self.homeless = homeless
        self.constants = constants
        exported = Set(targets.flatMap { $0.target.image.exports.keys })
        imported = Set(targets.flatMap { $0.target.image.imports.keys })
    }
}

/// What the guard lets pass.
package struct Verdict {
    /// What engineers have decided, for the manifest.
    package var decisions: [Decision]
    /// By target: words that the process gets by such decisions.
    package var values: [[ValuePatch]]
    /// Decisions that nothing asked for.
    package var notes: [String]
}

/// Asks every rule of the table about the whole patch.
///
/// - Throws: `Refusals` with all that nobody allowed.
package func guardPatch(_ patch: GuardedPatch, allowed: [AllowedRule]) throws -> Verdict {
    var (open, final): ([Refusal], [Refusal]) = (patch.targets.flatMap(\.plan.undecided), [])
    for row in guardRules {
        for found in try row.findings(in: patch) {
            let refusal = Refusal(
                row.rule, subject: found.subject, why: found.why, remedy: found.remedy, isFinal: found.isFinal)
            if found.isFinal { final.append(refusal) } else { open.append(refusal) }
        }
    }
    let decisions = try decide(open, final: final, allowed)
    let notes = allowed.filter { rule in !decisions.contains { rule.covers($0.rule, $0.subject) } }.map {
        "--allow \($0.rule.rawValue)=\($0.subject): nothing asks for this decision"
    }
    return Verdict(decisions: decisions, values: patch.targets.map(writtenValues), notes: notes)
}

extension GuardRule {
    fileprivate func findings(in patch: GuardedPatch) throws -> [Finding] {
        switch check {
        case .unit(let check):
            try patch.targets.flatMap { target in
                try target.changedUnits.flatMap(check)
            }
        case .target(let check): try patch.targets.flatMap(check)
        case .patch(let check): try check(patch)
        }
    }
}

/// - Parameter final: what no decision can take away.
/// - Throws: `Refusals` with what no decision covers.
private func decide(_ refusals: [Refusal], final: [Refusal], _ allowed: [AllowedRule]) throws -> [Decision] {
    var seen: Set<Refusal> = []
    let distinct = refusals.filter { seen.insert($0).inserted }
    let open = final + distinct.filter { refusal in !allowed.contains { $0.covers(refusal.rule, refusal.subject) } }
    if !open.isEmpty { throw Refusals(open) }
    return distinct.map { Decision(rule: $0.rule, subject: $0.subject, why: $0.why) }
}
