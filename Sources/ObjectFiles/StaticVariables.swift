import CElfutils

/// A line of a source file.
public struct SourceLine: Hashable, Sendable {
    /// As the compiler was given it, behind the unit's directory where that is relative.
    public var file: String
    /// From 1.
    public var number: Int
}

/// Where the source declares a variable that lives as long as the program.
public struct StaticVariable: Hashable, Sendable {
    /// In a relocatable object.
    public var section: SectionIndex
    public var offset: UInt64
    public var line: SourceLine
}

extension DebugInfo {
    /// The variables at fixed addresses of a relocatable object, those of functions and blocks included; thread-locals not.
    public static func staticVariables(path: String) throws(ObjectFileError) -> [StaticVariable] {
        guard let handle = try DwarfHandle.open(ElfHandle.open(path: path), path: path) else { return [] }
        var found: [StaticVariable] = []
        var unit: OpaquePointer?
        var raw = Dwarf_Die()
        while dwarf_get_units(handle.dwarf, unit, &unit, nil, nil, &raw, nil) == 0 {
            collect(DwarfEntry(raw), handle, depth: 0, &found)
        }
        return found
    }

    private static func collect(
        _ parent: DwarfEntry, _ handle: borrowing DwarfHandle, depth: Int, _ found: inout [StaticVariable]
    ) {
        // Compilers nest no deeper; a file that does would exhaust the stack.
        guard depth < 200 else { return }
        for entry in parent.children {
            switch entry.tag {
            case DW_TAG_variable:
                guard let address = entry.staticAddress, let line = entry.declarationLine else { continue }
                let place = handle.place(address, size: 0)
                if let section = place.section {
                    found.append(StaticVariable(section: section, offset: place.start, line: line))
                }
            case DW_TAG_subprogram, DW_TAG_lexical_block, DW_TAG_inlined_subroutine, DW_TAG_namespace,
                DW_TAG_structure_type, DW_TAG_class_type, DW_TAG_union_type:
                collect(entry, handle, depth: depth + 1, &found)
            default: break
            }
        }
    }
}
