import Diagnostics
import ObjectFiles
import Toolchain

/// The sources that a target was linked from, as far as it tells. The programs of one build have functions of the same
/// names (`main`, `usage`), so that a unit of another one looks like a unit of this one that was compiled otherwise; or,
/// worse, like the same.
package struct LinkedSources {
    /// Last components of the names in the debug information; nil without it.
    package let described: Set<String>?
    private let debugInfo: DebugInfo?
    private let target: TargetImage
    /// Those of the `FILE` symbols: of units that had local symbols.
    package let named: Set<String>

    package init(_ target: TargetImage, _ debugInfo: DebugInfo?) {
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
            guard let index = symbol.sectionIndex, file.sections.indices.contains(index),
                file.sections[index].isExecutable,
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
    package var knowsUnits: Bool { described != nil && isWhole }

    /// Whether the target was surely linked without a source of this path.
    /// - Parameter isDescribed: where the target has it, it has debug information.
    package func lack(source path: String, isDescribed: Bool = false) -> Bool {
        let name = baseName(path)
        guard let described, !described.contains(name), !named.contains(name) else { return false }
        return isDescribed || isWhole
    }
}
