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

/// A variable that some function or the unit itself declares, and defines.
public struct DeclaredVariable: Hashable, Sendable {
    public var name: String
    /// The innermost function around it; empty for the unit's own.
    public var function: String
    public var line: SourceLine?
    /// Where it lies in a relocatable object.
    public var variable: StaticVariable?
    /// It lives as long as the program or a thread. Of a local variable that a compiler has left out, nothing tells.
    public var isStatic: Bool
    /// Its type, or its elements', is `const`.
    public var isConstant: Bool
}

extension DebugInfo {
    /// The variables at fixed addresses of a relocatable object, those of functions and blocks included; thread-locals not.
    public static func staticVariables(path: String) throws(ObjectFileError) -> [StaticVariable] {
        try declaredVariables(path: path).compactMap(\.variable)
    }

    /// All variables that a relocatable object's source defines.
    public static func declaredVariables(path: String) throws(ObjectFileError) -> [DeclaredVariable] {
        guard let handle = try DwarfHandle.open(ElfHandle.open(path: path), path: path) else { return [] }
        var found: [DeclaredVariable] = []
        var unit: OpaquePointer?
        var raw = Dwarf_Die()
        while dwarf_get_units(handle.dwarf, unit, &unit, nil, nil, &raw, nil) == 0 {
            collect(DwarfEntry(raw), handle, function: "", depth: 0, &found)
        }
        return found
    }

    /// The files that a relocatable object was compiled from, as the compiler was given them, behind the unit's directory where
    /// that is relative.
    public static func sourceFiles(path: String) throws(ObjectFileError) -> Set<String> {
        guard let handle = try DwarfHandle.open(ElfHandle.open(path: path), path: path) else { return [] }
        var found: Set<String> = []
        var unit: OpaquePointer?
        var raw = Dwarf_Die()
        while dwarf_get_units(handle.dwarf, unit, &unit, nil, nil, &raw, nil) == 0 {
            var files: OpaquePointer?
            var count = 0
            guard dwarf_getsrcfiles(&raw, &files, &count) == 0 else { continue }
            for index in 0..<count {
                guard let name = dwarf_filesrc(files, index, nil, nil) else { continue }
                found.insert(String(cString: name))
            }
        }
        return found
    }

    private static func collect(
        _ parent: DwarfEntry, _ handle: borrowing DwarfHandle, function: String, depth: Int,
        _ found: inout [DeclaredVariable]
    ) {
        // Compilers nest no deeper; a file that does would exhaust the stack.
        guard depth < 200 else { return }
        for entry in parent.children {
            switch entry.tag {
            case DW_TAG_variable:
                if let variable = declared(entry, handle, function) { found.append(variable) }
            case DW_TAG_subprogram, DW_TAG_inlined_subroutine:
                collect(entry, handle, function: entry.name ?? function, depth: depth + 1, &found)
            case DW_TAG_lexical_block, DW_TAG_namespace, DW_TAG_structure_type, DW_TAG_class_type, DW_TAG_union_type:
                collect(entry, handle, function: function, depth: depth + 1, &found)
            default: break
            }
        }
    }

    private static func declared(
        _ entry: DwarfEntry, _ handle: borrowing DwarfHandle, _ function: String
    ) -> DeclaredVariable? {
        guard let name = entry.name, !entry.flag(DW_AT_declaration) else { return nil }
        var variable: StaticVariable?
        let line = entry.declarationLine
        if let address = entry.staticAddress, let line {
            let place = handle.place(address, size: 0)
            variable = place.section.map { StaticVariable(section: $0, offset: place.start, line: line) }
        }
        return DeclaredVariable(
            name: name, function: function, line: line, variable: variable, isStatic: entry.isStatic || variable != nil,
            isConstant: entry.isConstant)
    }
}
