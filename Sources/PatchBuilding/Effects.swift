import Closing
import Comparing
import Diagnostics
import FoundationEssentials
import PatchFormat
import Recompiling
import Targets
import Toolchain

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

/// The units that may be in a target: of one that the recorded build linked, those that it was linked from. Another may have an
/// object with the same bytes (trap archive-twin).
func unitsOf(_ target: TargetImage, among units: [ComparedUnit], linked: Set<LinkedFile>) -> [ComparedUnit] {
    guard !linked.isEmpty, let bytes = FileManager.default.contents(atPath: target.symbolFile.path) else {
        return units
    }
    let file = LinkedFile(path: resolvedPath(target.symbolFile.path), digest: Digest.sha256([UInt8](bytes)))
    // Two programs may be equal, too; of a copy it is not known which of them it is.
    let possible = linked.contains(file) ? [file] : linked.filter { $0.digest == file.digest }
    if possible.isEmpty { return units }
    return units.filter { $0.unit.linkedInto.map { !$0.isDisjoint(with: possible) } ?? true }
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
