import Diagnostics
import FoundationEssentials
import PatchFormat
import Toolchain

/// The outcome of `patchbuild build`, for `--json` and for people.
package struct BuildReport: Codable, Sendable {
    package var bundle: String
    package var id: String
    package var targets: [ManifestTarget]
    package var decisions: [Decision]
    package var notes: [String]
    package var stages: [StageClock.Stage]

    package init(_ built: BuiltBundle, output: String) {
        bundle = output
        id = built.manifest.id
        targets = built.manifest.targets
        decisions = built.manifest.decisions
        notes = built.notes
        stages = built.stages
    }

    /// Made for reading: what is replaced, what to know, where the time went.
    package static func text(_ built: BuiltBundle, output: String) -> String {
        var lines: [String] = []
        for target in built.manifest.targets {
            lines.append("\(target.file) (build-id \(target.buildID))")
            for function in target.functions {
                let kind = function.original.map { ", \($0.entry.kind.rawValue) entry" } ?? ""
                lines.append(
                    "  \(function.change.rawValue)  \(function.name)  \(function.object)\(kind): \(function.reason)")
            }
            lines.append("  \(target.bindings.count) bindings, \(target.data.count) data items travel")
        }
        lines += built.manifest.decisions.map { "decision: \($0.rule) does not apply to \($0.subject)" }
        lines += built.notes.map { "note: \($0)" }
        let stages = built.stages.map { "\($0.name) \(seconds($0.seconds))" }.joined(separator: ", ")
        let rest = built.stages.filter { $0.name != "compile" }.reduce(0) { $0 + $1.seconds }
        lines.append("time: \(stages)")
        lines.append("      everything but compiling \(seconds(rest))")
        lines.append("wrote \(output) (\(built.bytes.count) bytes)")
        return lines.joined(separator: "\n")
    }

    private static func seconds(_ value: Double) -> String {
        let milliseconds = Int((value * 1000).rounded())
        let digits = String(milliseconds % 1000)
        return "\(milliseconds / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits + " s"
    }
}
