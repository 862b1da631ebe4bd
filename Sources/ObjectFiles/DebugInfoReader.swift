import CElfutils

extension DebugInfo {
    /// Reads the DWARF (2 to 5) of an object, a linked file, or a separate `.debug` file.
    ///
    /// No other file is looked for, but for the alternate file that a file compressed by dwz names. A file without
    /// debug info has no units.
    public static func read(path: String, parts: Parts = .all) throws(ObjectFileError) -> DebugInfo {
        try read(ElfHandle.open(path: path), path: path, parts)
    }

    /// The same from memory; `name` stands for the path.
    public static func parse(bytes: [UInt8], name: String, parts: Parts = .all) throws(ObjectFileError) -> DebugInfo {
        try read(ElfHandle.open(bytes: bytes, name: name), path: name, parts)
    }

    private static func read(
        _ file: consuming ElfHandle, path: String, _ parts: Parts
    ) throws(ObjectFileError) -> DebugInfo {
        guard let handle = try DwarfHandle.open(file, path: path) else { return DebugInfo(path: path, units: []) }
        let lacksAlternate = handle.namesAlternate && handle.alternate == nil
        var reader = DebugInfoReader(handle: handle, path: path, parts: parts)
        try reader.walkUnits()
        return DebugInfo(path: path, units: reader.finishedUnits(), lacksAlternate: lacksAlternate)
    }
}

/// Two passes: the first walks every entry, naming types and collecting functions; the second lays types out, whose
/// members may refer to any entry the first has named.
struct DebugInfoReader: ~Copyable {
    /// What the first pass found in a unit (also a partial one, which dwz makes for others to import).
    struct Found {
        var unit: DebugUnit
        var isPartial: Bool
        var types: [DwarfEntry] = []
        var variables: [(name: String, entry: DwarfEntry)] = []
        var typedefs: [(name: String, entry: DwarfEntry)] = []
        /// By index in the unit's functions.
        var signatures: [Int: DwarfEntry] = [:]
        var closures: [(scope: String, entry: DwarfEntry, call: DwarfEntry)] = []
        var imports: [UInt] = []
        var inlined: Set<InlinedCopy> = []
    }

    let handle: DwarfHandle
    let path: String
    let parts: DebugInfo.Parts
    /// Keys of `DebugUnit.types` by entry.
    var typeNames: [UInt: String] = [:]
    var shapes: [UInt: TypeShape] = [:]
    private var found: [Found] = []
    /// Index in `found` by the unit's own entry.
    private var unitIndices: [UInt: Int] = [:]

    init(handle: consuming DwarfHandle, path: String, parts: DebugInfo.Parts) {
        self.handle = handle
        self.path = path
        self.parts = parts
    }

    private func fault(_ detail: String) -> ObjectFileError {
        ObjectFileError(path: path, reason: .malformed, detail: "debug info: \(detail)")
    }

    mutating func walkUnits() throws(ObjectFileError) {
        if let alternate = handle.alternate { try walkUnits(of: alternate) }
        try walkUnits(of: handle.dwarf)
    }

    private mutating func walkUnits(of dwarf: OpaquePointer) throws(ObjectFileError) {
        var unit: OpaquePointer?
        while true {
            var raw = Dwarf_Die()
            let result = dwarf_get_units(dwarf, unit, &unit, nil, nil, &raw, nil)
            if result == 1 { return }
            guard result == 0 else { throw fault(dwarf_errmsg(-1).map { String(cString: $0) } ?? "bad unit") }
            let entry = DwarfEntry(raw)
            var record = Found(unit: header(entry), isPartial: entry.tag != DW_TAG_compile_unit)
            try walk(entry, into: &record, Context())
            unitIndices[entry.identity] = found.count
            found.append(record)
        }
    }

    private func header(_ entry: DwarfEntry) -> DebugUnit {
        DebugUnit(
            name: entry.name ?? "", compilationDirectory: entry.string(DW_AT_comp_dir) ?? "",
            producer: entry.string(DW_AT_producer) ?? "",
            language: entry.unsigned(DW_AT_language).flatMap { Int(exactly: $0) } ?? 0)
    }

    /// Where the walk is.
    private struct Context {
        /// What goes before a type's name, `ns::` for example.
        var scope = ""
        /// The out-of-line function whose code the entries belong to.
        var function: DebugFunction?
        var depth = 0
    }

    private mutating func walk(
        _ parent: DwarfEntry, into record: inout Found, _ context: Context
    ) throws(ObjectFileError) {
        // Compilers nest no deeper; a file that does would exhaust the stack.
        guard context.depth < 200 else { throw fault("entries are nested too deeply") }
        var inner = context
        inner.depth += 1
        for entry in parent.children {
            switch entry.tag {
            case DW_TAG_structure_type, DW_TAG_union_type, DW_TAG_class_type, DW_TAG_enumeration_type:
                inner.scope = noteType(entry, &record, context.scope)
                try walk(entry, into: &record, inner)
                inner.scope = context.scope
            case DW_TAG_typedef:
                noteTypedef(entry, &record, context.scope)
            case DW_TAG_variable:
                noteVariable(entry, &record, context.scope)
            case DW_TAG_namespace:
                inner.scope = context.scope + (entry.name ?? "(anonymous)") + "::"
                try walk(entry, into: &record, inner)
                inner.scope = context.scope
            case DW_TAG_subprogram:
                try walkFunction(entry, &record, inner)
            case DW_TAG_inlined_subroutine:
                noteInlined(entry, &record, context)
                try walk(entry, into: &record, inner)
            case DW_TAG_lexical_block, DW_TAG_module:
                try walk(entry, into: &record, inner)
            case DW_TAG_imported_unit:
                if let unit = entry.reference(DW_AT_import) { record.imports.append(unit.identity) }
            default: break
            }
        }
    }

    private mutating func walkFunction(
        _ entry: DwarfEntry, _ record: inout Found, _ context: Context
    ) throws(ObjectFileError) {
        var context = context
        let name = entry.name ?? ""
        context.scope += "\(name)()::"
        context.function = nil
        let ranges = entry.ranges
        if !ranges.isEmpty, parts.contains(.functions) {
            let linkageName = entry.linkageName
            let function = DebugFunction(
                name: name, linkageName: linkageName == name ? nil : linkageName,
                ranges: ranges.map { handle.place($0.start, size: $0.end - $0.start) },
                declaredIn: entry.declarationFile)
            if parts.contains(.types) { record.signatures[record.unit.functions.count] = entry }
            record.unit.functions.append(function)
            context.function = function
        }
        try walk(entry, into: &record, context)
    }

    private func noteInlined(_ entry: DwarfEntry, _ record: inout Found, _ context: Context) {
        guard let container = context.function, let name = entry.name else { return }
        let linkageName = entry.linkageName
        record.inlined.insert(
            InlinedCopy(
                function: name, linkageName: linkageName == name ? nil : linkageName, container: container.name,
                containerStart: container.ranges.first, unit: record.unit.name, declaredIn: entry.declarationFile))
    }

    /// Names a type's entry; gives the scope of what is nested in it.
    private mutating func noteType(_ entry: DwarfEntry, _ record: inout Found, _ scope: String) -> String {
        guard parts.contains(.types) else { return scope }
        guard let name = entry.name else {
            if entry.tag == DW_TAG_enumeration_type {
                noteConstants(entry, &record)
            } else {
                noteClosure(entry, &record, scope)
            }
            return scope
        }
        typeNames[entry.identity] = "\(typeKind(entry).rawValue) \(scope)\(name)"
        if !entry.flag(DW_AT_declaration) { record.types.append(entry) }
        return "\(scope)\(name)::"
    }

    private func noteClosure(_ entry: DwarfEntry, _ record: inout Found, _ scope: String) {
        let call = entry.children.first { $0.tag == DW_TAG_subprogram && $0.name == "operator()" }
        if let call { record.closures.append((scope, entry, call)) }
    }

    /// A typedef names the anonymous type it stands for; the first one does where there are several.
    private mutating func noteTypedef(_ entry: DwarfEntry, _ record: inout Found, _ scope: String) {
        if parts.contains(.types), let name = entry.name {
            record.unit.alignments[scope + name] = entry.unsigned(DW_AT_alignment) ?? 0
            // Those of C++ templates have the same name in each instance.
            if !record.unit.isCPlusPlus { record.typedefs.append((scope + name, entry)) }
        }
        guard parts.contains(.types), let name = entry.name, let target = entry.reference(DW_AT_type),
            isAggregate(target), target.name == nil, typeNames[target.identity] == nil
        else { return }
        typeNames[target.identity] = scope + name
        record.types.append(target)
    }

    private func noteConstants(_ enumeration: DwarfEntry, _ record: inout Found) {
        for entry in enumeration.children where entry.tag == DW_TAG_enumerator {
            guard let name = entry.name, let value = entry.signed(DW_AT_const_value) else { continue }
            record.unit.constants[name] = value
        }
    }

    /// A variable in static memory, or an integer constant that has none.
    private func noteVariable(_ entry: DwarfEntry, _ record: inout Found, _ scope: String) {
        guard parts.contains(.types), let name = entry.name else { return }
        if let value = entry.signed(DW_AT_const_value) {
            if !scope.contains("()") { record.unit.constants[scope + name] = value }
            return
        }
        guard entry.isStatic || (!scope.contains("()") && entry.flag(DW_AT_external)), !entry.isConstant else { return }
        record.variables.append((scope + name, entry))
    }

    /// Compile units with their types, those of the partial units they import included.
    mutating func finishedUnits() -> [DebugUnit] {
        var units: [DebugUnit] = []
        for index in found.indices where !found[index].isPartial {
            var unit = found[index].unit
            var counts: [String: Int] = [:]
            for record in imports(of: index) {
                for entry in found[record].types {
                    guard let name = typeNames[entry.identity] else { continue }
                    // Types of blocks and lambdas may share a name.
                    let count = counts[name, default: 0] + 1
                    counts[name] = count
                    let key = count == 1 ? name : "\(name) #\(count)"
                    unit.types[key] = layout(entry, name: key, depth: 0)
                }
            }
            addVariables(of: found[index], to: &unit)
            addTypedefs(of: imports(of: index), to: &unit)
            addClosures(of: found[index], to: &unit)
            unit.inlined = found[index].inlined.sorted {
                ($0.container, $0.function, $0.containerStart?.start ?? 0)
                    < ($1.container, $1.function, $1.containerStart?.start ?? 0)
            }
            units.append(unit)
        }
        return units
    }

    private mutating func addVariables(of record: Found, to unit: inout DebugUnit) {
        for (index, entry) in record.signatures { unit.functions[index].signature = function(entry, depth: 0) }
        var seen: [String: Int] = [:]
        for (name, entry) in record.variables {
            // A declaration, or an inlined function's own entry, may stand beside the definition.
            let shape = shape(of: entry, depth: 0)
            guard unit.variables[name] != shape else { continue }
            seen[name, default: 0] += 1
            unit.variables[seen[name] == 1 ? name : "\(name)#\(seen[name] ?? 0)"] = shape
        }
    }

    private mutating func addTypedefs(of records: [Int], to unit: inout DebugUnit) {
        var ambiguous: Set<String> = []
        for (name, entry) in records.flatMap({ found[$0].typedefs }) {
            let shape = shape(of: entry, depth: 0)
            if let other = unit.typedefs.updateValue(shape, forKey: name), other != shape { ambiguous.insert(name) }
        }
        for name in ambiguous { unit.typedefs[name] = nil }
    }

    private mutating func addClosures(of record: Found, to unit: inout DebugUnit) {
        for (scope, entry, call) in record.closures {
            unit.closures.append(
                DebugClosure(
                    scope: scope, line: entry.unsigned(DW_AT_decl_line) ?? 0,
                    column: entry.unsigned(DW_AT_decl_column) ?? 0, layout: layout(entry, name: "", depth: 0),
                    call: function(call, depth: 0, isMethod: true)))
        }
    }

    /// The unit itself and all it imports, however indirectly.
    private func imports(of index: Int) -> [Int] {
        var reached = [index]
        var seen: Set<Int> = [index]
        var next = 0
        while next < reached.count {
            for identity in found[reached[next]].imports {
                if let unit = unitIndices[identity], seen.insert(unit).inserted { reached.append(unit) }
            }
            next += 1
        }
        return reached
    }
}
