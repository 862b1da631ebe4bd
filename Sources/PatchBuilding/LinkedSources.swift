import Diagnostics
import ObjectFiles

/// The sources that a target was linked from, as far as it tells. The programs of one build have functions of the same
/// names (`main`, `usage`), so that a unit of another one looks like a unit of this one that was compiled otherwise; or,
/// worse, like the same.
struct LinkedSources {
    /// Last components of the names in the debug information; nil without it.
    private let described: Set<String>?
    private let debugInfo: DebugInfo?
    private let target: TargetImage
    /// Those of the `FILE` symbols: of units that had local symbols.
    private let named: Set<String>

    init(_ target: TargetImage, _ debugInfo: DebugInfo?) {
        // Split debug information keeps the names elsewhere, and link-time optimisation has none.
        let names = debugInfo.map { Set($0.units.map { baseName($0.name) }) }
        described = names.flatMap { $0.contains("") || $0.contains("<artificial>") ? nil : $0 }
        named = Set(target.sourceFiles.values.map { baseName($0) })
        self.debugInfo = debugInfo
        self.target = target
    }

    /// Every function that the symbol table names, the C runtime's aside, is one of the debug information's. A file that has
    /// lost its local symbols can't be asked. Looked for only where a source could not be compiled.
    private var isWhole: Bool {
        guard let info = debugInfo else { return false }
        let ranges = info.units.flatMap { $0.functions.flatMap(\.ranges) }.sorted { $0.start < $1.start }
        let file = target.symbolFile
        let code = file.symbols.filter { symbol in
            guard let index = symbol.sectionIndex, index < file.sections.count, file.sections[index].isExecutable,
                [.function, .indirect, .none].contains(symbol.kind), !symbol.name.isEmpty
            else { return false }
            return !Self.runtimeNames.contains(symbol.name) && !file.sections[index].name.hasPrefix(".plt")
        }
        return !target.sourceFiles.isEmpty
            && code.allSatisfy { symbol in
                let after = lowerBound(of: symbol.value &+ 1, in: ranges, by: \.start)
                return after > 0 && symbol.value - ranges[after - 1].start < ranges[after - 1].size
            }
    }

    /// What `crt1.o`, `crti.o`, `crtbegin.o` and `libc_nonshared.a` bring along.
    private static let runtimeNames: Set<String> = [
        "_start", "_init", "_fini", "_dl_relocate_static_pie", "deregister_tm_clones", "register_tm_clones",
        "__do_global_dtors_aux", "frame_dummy", "atexit", "at_quick_exit", "pthread_atfork", "__pthread_atfork",
        "__stack_chk_fail_local", "__x86.get_pc_thunk.bx", "__start", "_etext", "etext", "__etext",
    ]

    /// The names of all units that the target was linked from are known.
    var knowsUnits: Bool { described != nil && isWhole }

    /// Whether the target was surely linked without a source of this path.
    /// - Parameter isDescribed: where the target has it, it has debug information.
    func lack(source path: String, isDescribed: Bool = false) -> Bool {
        let name = baseName(path)
        guard let described, !described.contains(name), !named.contains(name) else { return false }
        return isDescribed || isWhole
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
    /// Its command asks for debug information, or all that is known of the build do, which a target that has it bears then.
    public var isDescribed = false
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
            source.reach == .readers
                ? target.knowsUnits : target.lack(source: source.path, isDescribed: source.isDescribed)
        }
    }
    if !open.isEmpty { throw Refusals(open.map(\.refusal)) }
    return uncompiled.map { "\($0.refusal.subject): not compiled, and part of no target" }
}
