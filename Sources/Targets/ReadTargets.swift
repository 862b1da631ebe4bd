import Diagnostics
import ObjectFiles

/// A target with what the build needs to know of its other units.
package struct LoadedTarget: Sendable {
    package var image: TargetImage
    /// Units and inlined copies; nil when the symbols come without debug information.
    package var debugInfo: DebugInfo?
}

/// Reads all targets. Copies and links of one file (programs that look at their own name) are one target: a process's
/// mapping is known by the build-id.
///
/// - Throws: `Refusals` as `TargetImage.load`.
package func readTargets(_ targets: [TargetFiles], needsDebugInfo: Bool) async throws -> [LoadedTarget] {
    var refusals: [Refusal] = []
    var loaded: [LoadedTarget] = []
    for target in targets {
        do {
            let image = try TargetImage.load(path: target.path, symbolsPath: target.symbols)
            if loaded.contains(where: { $0.image.buildID == image.buildID }) { continue }
            let info = needsDebugInfo ? try? DebugInfo.read(path: image.symbolFile.path, parts: .functions) : nil
            // Without the alternate file that it refers to, debug information lacks the names.
            let isWhole = info.map { !$0.units.isEmpty && !$0.lacksAlternate } ?? false
            loaded.append(LoadedTarget(image: image, debugInfo: isWhole ? info : nil))
        } catch let error as Refusals { refusals += error.refusals }
    }
    if !refusals.isEmpty { throw Refusals(refusals) }
    return loaded
}
