import CElfutils

/// What a function takes and gives in general registers, as its type tells (System V AMD64 psABI, 3.2.3).
public struct Prototype: Hashable, Sendable {
    /// How many of the six registers of arguments it may take, in their order.
    public var arguments: Int
    /// Whether its result may lie in rax and rdx.
    public var mayReturnPair: Bool
}

extension DebugInfo {
    /// The types of a relocatable object's functions, and of those that it calls as far as the compiler describes them, by the symbol's
    /// name. A function with arguments without number or types (`f(…)`, `f()` of old C) is left out.
    public static func prototypes(path: String) throws(ObjectFileError) -> [String: Prototype] {
        guard let handle = try DwarfHandle.open(ElfHandle.open(path: path), path: path) else { return [:] }
        var reader = PrototypeReader()
        var unit: OpaquePointer?
        var raw = Dwarf_Die()
        while dwarf_get_units(handle.dwarf, unit, &unit, nil, nil, &raw, nil) == 0 {
            let entry = DwarfEntry(raw)
            reader.isCPlusPlus = entry.isCPlusPlus
            reader.walk(entry, depth: 0)
        }
        return reader.found.filter { !reader.unknown.contains($0.key) }
    }
}

private struct PrototypeReader {
    var found: [String: Prototype] = [:]
    var unknown: Set<String> = []
    var isCPlusPlus = false

    mutating func walk(_ parent: DwarfEntry, depth: Int) {
        guard depth < 200 else { return }
        for entry in parent.children {
            switch entry.tag {
            case DW_TAG_subprogram: add(entry)
            case DW_TAG_namespace, DW_TAG_structure_type, DW_TAG_class_type, DW_TAG_union_type:
                walk(entry, depth: depth + 1)
            default: break
            }
        }
    }

    private mutating func add(_ entry: DwarfEntry) {
        // What it is an instance of is described by itself.
        guard !entry.has(DW_AT_abstract_origin), let name = entry.linkageName ?? entry.name else { return }
        let declaration = entry.reference(DW_AT_specification) ?? entry
        guard isCPlusPlus || entry.flag(DW_AT_prototyped), !entry.has(DW_AT_static_link) else {
            unknown.insert(name)
            return
        }
        let children = entry.children.isEmpty ? declaration.children : entry.children
        guard !children.contains(where: { $0.tag == DW_TAG_unspecified_parameters }) else {
            unknown.insert(name)
            return
        }
        let result = declaration.reference(DW_AT_type)
        let registers = children.filter { $0.tag == DW_TAG_formal_parameter }.map {
            $0.reference(DW_AT_type, integrate: true).map(Self.registers) ?? 2
        }
        // A large result is written to where the first argument says.
        let pair = result.map { Self.registers($0) > 1 } ?? false
        let prototype = Prototype(
            arguments: min(6, registers.reduce(pair ? 1 : 0, +)), mayReturnPair: pair)
        if let other = found[name], other != prototype { unknown.insert(name) }
        found[name] = prototype
    }

    /// At most.
    private static func registers(_ type: DwarfEntry) -> Int {
        var entry = type
        for _ in 0..<100 {
            switch entry.tag {
            case DW_TAG_typedef, DW_TAG_const_type, DW_TAG_volatile_type, DW_TAG_atomic_type, DW_TAG_restrict_type:
                guard let inner = entry.reference(DW_AT_type) else { return 2 }
                entry = inner
            case DW_TAG_pointer_type, DW_TAG_reference_type, DW_TAG_rvalue_reference_type, DW_TAG_enumeration_type:
                return 1
            case DW_TAG_base_type: return entry.unsigned(DW_AT_byte_size).map { $0 > 8 ? 2 : 1 } ?? 2
            default: return 2
            }
        }
        return 2
    }
}

extension DwarfEntry {
    fileprivate var isCPlusPlus: Bool {
        let language = unsigned(DW_AT_language).flatMap { Int(exactly: $0) }
        // 0x2a and 0x2b: C++17 and C++20, which older headers don't name.
        return [
            DW_LANG_C_plus_plus, DW_LANG_C_plus_plus_03, DW_LANG_C_plus_plus_11, DW_LANG_C_plus_plus_14, 0x2a, 0x2b,
        ].contains { Int($0) == language }
    }
}
