import Closing
import Diagnostics
import PatchFormat
import Targets

/// The targets in which a patch does something, by their indices.
///
/// A target may hold units that read a touched file, and come out as they were or gain what nothing in it uses.
/// - Throws: `Refusals` nothing-to-patch when it does nothing in any.
func requireEffect(of plans: [ModulePlan], values: [[ValuePatch]]) throws -> [Int] {
    let patched = plans.indices.filter { !plans[$0].isEmpty || !values[$0].isEmpty }
    if patched.isEmpty {
        throw Refusals(
            .nothingToPatch, subject: plans.map(\.file).joined(separator: ", "),
            why: "what is new in the units that change is used by no code that is replaced")
    }
    return patched
}

/// Targets without a patch, and what the symbols of another link were worth.
func noteTargets(_ targets: [TargetImage], patched: [Int]) -> [String] {
    let idle = targets.indices.filter { !patched.contains($0) }.map {
        "\(targets[$0].name): left out of the bundle, since none of its code changes"
    }
    let targets = patched.map { targets[$0] }
    let translations = targets.compactMap { target in
        target.translated.map { translated in
            "\(target.name): --symbols is another link of it; \(translated.functions.found) of"
                + " \(translated.functions.all) functions and \(translated.objects.found) of \(translated.objects.all)"
                + " data objects were found by their bytes and references"
                + (translated.firstUnknown.map { " (the first that was not: \($0))" } ?? "")
        }
    }
    return idle + translations
}
