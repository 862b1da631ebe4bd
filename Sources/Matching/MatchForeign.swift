import CodeModel
import Comparing
import ObjectFiles
import Targets
import Toolchain

extension LinkedSources {
    /// Whether the target was linked without the unit.
    package func lack(_ item: ComparedUnit, _ matched: UnitMatch) -> Bool {
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
