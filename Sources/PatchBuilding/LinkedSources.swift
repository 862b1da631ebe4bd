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
        described = debugInfo.map { Set($0.units.map { baseName($0.name) }) }
        named = Set(target.sourceFiles.values.map { baseName($0) })
    }

    /// Whether the target was linked without the unit.
    func lack(_ item: ChangedUnit, _ matched: MatchedUnit) -> Bool {
        let plain = item.unit.plain
        let own = Set(plain.file.symbols.filter { $0.kind == .file && !$0.name.isEmpty }.map { baseName($0.name) })
            .union([baseName(item.unit.source)])
        if let described, plain.file.section(named: ".debug_info") != nil { return described.isDisjoint(with: own) }
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
