import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import Targets

/// Takes `main` out of what changes, where an engineer has decided that it may stay as it is.
///
/// A program enters `main` once and leaves it when it ends, so that a patch that replaces it finds every process busy. What
/// changes there has often run already: options, limits, the set-up.
///
/// - Returns: the units, and what the reader should know where nobody has decided.
package func leaveOutMain(
    _ units: [ComparedUnit], of targets: [TargetImage], allowed: [AllowedRule]
) -> (units: [ComparedUnit], notes: [String]) {
    guard targets.contains(where: \.isExecutable) else { return (units, []) }
    var (units, notes) = (units, [String]())
    for index in units.indices {
        let view = units[index].unit.new
        guard let main = view.entityNamed["main"], view.entities[main].isGlobal,
            units[index].changes.functions[main] != nil
        else { continue }
        let subject = "main (\(units[index].unit.name))"
        if allowed.contains(where: { $0.covers(Rule.neverReturns.rawValue, subject) }) {
            units[index].changes.functions[main] = nil
            units[index].changes.leftOut.append(main)
        } else {
            notes.append(
                "\(subject) changes, and every process of the program is in it until it ends: `livepatch apply` will be busy."
                    + " If what changes there has run already, leave it as it is with"
                    + " --allow '\(Rule.neverReturns.rawValue)=\(subject)'")
        }
    }
    return (units, notes)
}

/// What engineers have decided to leave as it is, and why that may not do: old code goes on calling what changes with it.
func guardLeftOut(_ patch: GuardedPatch) -> [Finding] {
    let units = patch.targets.flatMap(\.compared).filter { !$0.changes.leftOut.isEmpty }
    guard !units.isEmpty else { return [] }
    let signatures = Dictionary(patch.debug.changedSignatures().map { ($0.linkageName, $0.words) }) { first, _ in first
    }
    return units.flatMap { unit in
        unit.changes.leftOut.compactMap { unit.correlation.originalOf[$0] }.flatMap { number -> [Finding] in
            let subject = "\(unit.unit.original.entities[number].name) (\(unit.unit.name))"
            let stays = Finding(
                subject: subject,
                why: "it stays as it is, with what is inlined into it, and the rest of the fix is applied")
            guard let why = unit.conflict(of: number, signatures) else { return [stays] }
            return [
                Finding(
                    subject: subject, why: "it can't stay as it is: \(why)",
                    remedy: "restart, or leave out of the fix what changes with it", isFinal: true)
            ]
        }
    }
}

extension ComparedUnit {
    /// What an original function calls, and can't go on calling.
    fileprivate func conflict(of number: EntityIndex, _ signatures: [String: String]) -> String? {
        let view = unit.original
        let parts = [number] + view.coldHalves[view.entities[number].name, default: []]
        for part in parts.map({ view.entities[$0] }) {
            let section = view.file.sections[part.section]
            for relocation in view.relocations(section: part.section, from: part.offset, to: part.end) {
                switch view.referent(of: relocation, in: section) {
                case .undefined(let name, _):
                    if let words = signatures[name] { return "it calls \(name), and \(words)" }
                case .entity(let other, _) where !parts.contains(other) && view.entities[other].kind == .function:
                    let name = view.entities[other].name
                    guard let new = correlation.newOf[other] else { return "it calls \(name), which the fix removes" }
                    // Within a unit, compilers fit a function to its callers.
                    if changes.functions[new] != nil { return "it calls \(name), which changes with it" }
                default: break
                }
            }
        }
        return nil
    }
}
