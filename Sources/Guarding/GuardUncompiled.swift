import Diagnostics
import FoundationEssentials
import PatchFormat
import Recompiling
import SourceChanges
import Targets

/// Lets those sources pass that no target is linked from.
///
/// - Parameter recorded: SHA-256 of the linked files whose making is recorded as a whole.
/// - Returns: notes about them.
/// - Throws: `Refusals` with the others.
package func requireForeign(
    _ uncompiled: [UncompiledSource], to targets: [LoadedTarget], recorded: Set<String> = []
) throws -> [String] {
    let linked = targets.map { LinkedSources($0.image, $0.debugInfo) }
    let asks = uncompiled.contains { $0.reach == .outsideOfRecord }
    let known = targets.map { asks && isRecorded($0.image.symbolFile.path, recorded) }
    let open = uncompiled.filter { source in
        !zip(linked, known).allSatisfy { target, isRecorded in
            switch source.reach {
            // All units of the target are known by name; `guardUnrecorded` looks at those that were not recorded.
            case .readers: target.knowsUnits
            case .unit: target.lack(source: source.path, isDescribed: source.isDescribed)
            case .outsideOfRecord:
                isRecorded
                    || (FileClass(path: source.path) == .source
                        && target.lack(source: source.path, isDescribed: source.isDescribed))
            }
        }
    }
    if !open.isEmpty { throw Refusals(open.map(\.refusal)) }
    return uncompiled.filter { $0.reach != .outsideOfRecord }.map {
        "\($0.refusal.subject): not compiled, and part of no target"
    }
}

/// A file of which all that it was made of is recorded.
func isRecorded(_ path: String, _ recorded: Set<String>) -> Bool {
    !recorded.isEmpty
        && FileManager.default.contents(atPath: path).map { recorded.contains(Digest.sha256([UInt8]($0))) } ?? false
}
