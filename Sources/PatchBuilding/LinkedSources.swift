import Diagnostics
import ObjectFiles

/// The sources that a target was linked from, as far as it tells. The programs of one build have functions of the same
/// names (`main`, `usage`), so that a unit of another one looks like a unit of this one that was compiled otherwise; or,
/// worse, like the same.
struct LinkedSources {
    /// Last components of the names in the debug information; nil without it.
    private let described: Set<String>?
    /// Those of the `FILE` symbols: of units that had local symbols.
    private let named: Set<String>

    init(_ target: TargetImage, _ debugInfo: DebugInfo?) {
        // Split debug information keeps the names elsewhere, and link-time optimisation has none.
        let names = debugInfo.map { Set($0.units.map { baseName($0.name) }) }
        described = names.flatMap { $0.contains("") || $0.contains("<artificial>") ? nil : $0 }
        named = Set(target.sourceFiles.values.map { baseName($0) })
    }

    /// The names of all units that the target was linked from are known.
    var knowsUnits: Bool { described != nil }

    /// Whether the target was surely linked without a source of this path.
    func lack(source path: String) -> Bool {
        let name = baseName(path)
        return described.map { !$0.contains(name) && !named.contains(name) } ?? false
    }

    /// Whether the target was linked without the unit.
    func lack(_ item: ChangedUnit, _ matched: MatchedUnit) -> Bool {
        let plain = item.unit.plain
        let own = Set(plain.file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map { baseName($0.name) })
        if let described, plain.file.section(named: ".debug_info") != nil {
            return described.isDisjoint(with: own.union([baseName(item.unit.source)]))
        }
        // Assembler sources have no such symbol unless they say so.
        if own.isEmpty { return false }
        let hasLocals = plain.entities.contains { !$0.isGlobal && !$0.name.hasPrefix(".L") && $0.kind != .threadLocal }
        guard hasLocals, !named.isEmpty, named.isDisjoint(with: own) else { return false }
        // The linker may have thrown all local functions away (`--gc-sections`): then the global ones decide, of which
        // only `main` is in every program.
        return item.changes.functions.keys.allSatisfy { number in
            let entity = item.unit.new.entities[number]
            if !entity.isGlobal { return true }
            return entity.names.allSatisfy {
                !matched.matched.contains($0) && ($0 == "main" || matched.mismatches[$0] == nil)
            }
        }
    }
}

/// A source that the diff touches and that can't be compiled again: it matters to the programs that are linked from it.
public struct UncompiledSource: Sendable, Hashable {
    public enum Reach: Sendable {
        /// It is a unit of its own.
        case unit
        /// It is a header that no recorded unit reads: a unit that was not recorded may.
        case readers
    }

    public var path: String
    /// What is said when a target may be such a program.
    public var refusal: Refusal
    public var reach = Reach.unit
}

/// Lets those sources pass that no target is linked from.
///
/// - Returns: notes about them.
/// - Throws: `Refusals` with the others.
func requireForeign(_ uncompiled: [UncompiledSource], to targets: [LoadedTarget]) throws -> [String] {
    let linked = targets.map { LinkedSources($0.image, $0.debugInfo) }
    let open = uncompiled.filter { source in
        !linked.allSatisfy { target in
            // All units of the target are known by name; `guardUnrecorded` looks at those that were not recorded.
            source.reach == .readers ? target.knowsUnits : target.lack(source: source.path)
        }
    }
    if !open.isEmpty { throw Refusals(open.map(\.refusal)) }
    return uncompiled.map { "\($0.refusal.subject): not compiled, and part of no target" }
}
