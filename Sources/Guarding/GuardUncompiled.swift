import Diagnostics
import Recompiling
import Targets

/// Lets those sources pass that no target is linked from.
///
/// - Returns: notes about them.
/// - Throws: `Refusals` with the others.
package func requireForeign(_ uncompiled: [UncompiledSource], to targets: [LoadedTarget]) throws -> [String] {
    let linked = targets.map { LinkedSources($0.image, $0.debugInfo) }
    let open = uncompiled.filter { source in
        !linked.allSatisfy { target in
            // All units of the target are known by name; `guardUnrecorded` looks at those that were not recorded.
            source.reach == .readers
                ? target.knowsUnits : target.lack(source: source.path, isDescribed: source.isDescribed)
        }
    }
    if !open.isEmpty { throw Refusals(open.map(\.refusal)) }
    return uncompiled.map { "\($0.refusal.subject): not compiled, and part of no target" }
}
