import CElfutils

func isAggregate(_ entry: DwarfEntry) -> Bool {
    [DW_TAG_structure_type, DW_TAG_union_type, DW_TAG_class_type, DW_TAG_enumeration_type].contains(entry.tag)
}

func typeKind(_ entry: DwarfEntry) -> TypeKind {
    switch entry.tag {
    case DW_TAG_union_type: .union
    case DW_TAG_class_type: .classType
    case DW_TAG_enumeration_type: .enumeration
    default: .structure
    }
}

/// Second pass: layouts and shapes of types, once every entry that has a name is known.
extension DebugInfoReader {
    /// Deeper types exist only in damaged files.
    private static var deepest: Int { 100 }

    mutating func layout(_ entry: DwarfEntry, name: String, depth: Int) -> TypeLayout {
        var layout = TypeLayout(kind: typeKind(entry), name: name, size: entry.unsigned(DW_AT_byte_size) ?? 0)
        layout.alignment = entry.unsigned(DW_AT_alignment) ?? 0
        for child in entry.children {
            switch child.tag {
            case DW_TAG_member, DW_TAG_inheritance:
                // Static members (DWARF 4) lie elsewhere.
                if child.flag(DW_AT_external) || child.flag(DW_AT_declaration) { continue }
                layout.members.append(member(child, depth: depth))
            case DW_TAG_enumerator:
                layout.enumerators.append(
                    Enumerator(name: child.name ?? "", value: child.signed(DW_AT_const_value) ?? 0))
            case DW_TAG_subprogram where child.unsigned(DW_AT_virtuality) ?? 0 != 0 && !child.flag(DW_AT_artificial):
                layout.virtualFunctions.append(
                    VirtualFunction(name: child.linkageName ?? child.name ?? "", slot: child.tablePlace))
            default: break
            }
        }
        return layout
    }

    private mutating func member(_ entry: DwarfEntry, depth: Int) -> Member {
        let type = shape(of: entry, depth: depth + 1)
        let location = entry.memberLocation ?? 0
        let name = entry.tag == DW_TAG_inheritance ? type.description : entry.name ?? ""
        guard let bitSize = entry.unsigned(DW_AT_bit_size) else {
            var member = Member(name: name, offset: location, type: type)
            member.qualifiers = entry.qualifiers
            return member
        }
        let start: UInt64
        if let offset = entry.unsigned(DW_AT_data_bit_offset) {
            start = offset
        } else {
            // Before DWARF 5: bits from the most significant end of the storage unit.
            let storage = (entry.unsigned(DW_AT_byte_size) ?? type.size ?? 0) &* 8
            let fromTop = entry.unsigned(DW_AT_bit_offset) ?? 0
            start = location &* 8 &+ storage &- fromTop &- bitSize
        }
        return Member(name: name, offset: start / 8, bitOffset: start % 8, bitSize: bitSize, type: type)
    }

    /// The shape of what `DW_AT_type` of an entry names; void where it has none.
    mutating func shape(of entry: DwarfEntry, depth: Int) -> TypeShape {
        guard let type = entry.reference(DW_AT_type, integrate: true) else {
            return entry.has(DW_AT_type) ? .unknown("a type in a file that is not here") : .void
        }
        if let known = shapes[type.identity] { return known }
        guard depth < Self.deepest else { return .unknown("a type nested too deeply") }
        let shape = makeShape(type, depth: depth)
        shapes[type.identity] = shape
        return shape
    }

    private mutating func makeShape(_ type: DwarfEntry, depth: Int) -> TypeShape {
        let size = type.unsigned(DW_AT_byte_size)
        switch type.tag {
        case DW_TAG_base_type:
            var encoding = encoding(type.unsigned(DW_AT_encoding) ?? 0)
            // `scalar_storage_order` of the other kind.
            if type.unsigned(DW_AT_endianity) == UInt64(DW_END_big) { encoding = .other(1 << 32) }
            return .base(name: type.name ?? "unnamed type", size: size ?? 0, encoding: encoding)
        case DW_TAG_typedef, DW_TAG_const_type, DW_TAG_volatile_type, DW_TAG_restrict_type, DW_TAG_atomic_type,
            DW_TAG_packed_type, DW_TAG_immutable_type, DW_TAG_shared_type:
            return shape(of: type, depth: depth + 1)
        case DW_TAG_pointer_type, DW_TAG_reference_type, DW_TAG_rvalue_reference_type:
            return .pointer(shape(of: type, depth: depth + 1), size: size ?? 8)
        case DW_TAG_structure_type, DW_TAG_union_type, DW_TAG_class_type, DW_TAG_enumeration_type:
            guard let key = typeNames[type.identity] else {
                return .anonymous(layout(type, name: "", depth: depth + 1))
            }
            return .named(key: key, kind: typeKind(type), size: type.flag(DW_AT_declaration) ? nil : size)
        case DW_TAG_array_type:
            return .array(shape(of: type, depth: depth + 1), counts: counts(of: type))
        case DW_TAG_subroutine_type:
            return function(type, depth: depth)
        case DW_TAG_ptr_to_member_type:
            // A function's holds its address and what is added to `this`.
            let isFunction = type.reference(DW_AT_type)?.tag == DW_TAG_subroutine_type
            return .pointer(
                .function(
                    returns: shape(of: type, depth: depth + 1),
                    parameters: [.base(name: "member", size: 0, encoding: .other(0))], variadic: false),
                size: size ?? (isFunction ? 16 : 8))
        default:
            return .unknown(type.name ?? "a type of kind \(type.tag)")
        }
    }

    /// - Parameter isMethod: the object it is called on, which the compiler adds, is not counted as a parameter.
    mutating func function(_ type: DwarfEntry, depth: Int, isMethod: Bool = false) -> TypeShape {
        var parameters: [TypeShape] = []
        var variadic = false
        for child in type.children {
            switch child.tag {
            case DW_TAG_formal_parameter where isMethod && child.flag(DW_AT_artificial): break
            case DW_TAG_formal_parameter: parameters.append(shape(of: child, depth: depth + 1))
            case DW_TAG_unspecified_parameters: variadic = true
            default: break
            }
        }
        return .function(returns: shape(of: type, depth: depth + 1), parameters: parameters, variadic: variadic)
    }

    /// Elements per dimension. Lower bounds are 0 in C and C++.
    private func counts(of array: DwarfEntry) -> [UInt64?] {
        array.children.filter { $0.tag == DW_TAG_subrange_type }.map { range in
            if let count = range.unsigned(DW_AT_count) { return count }
            // An upper bound of -1 is how GCC says `[0]`.
            return range.signed(DW_AT_upper_bound).map { UInt64(bitPattern: $0 &+ 1) }
        }
    }

    private func encoding(_ value: UInt64) -> TypeShape.Encoding {
        switch Int(truncatingIfNeeded: value) {
        case DW_ATE_signed, DW_ATE_signed_char: .signed
        case DW_ATE_unsigned, DW_ATE_unsigned_char, DW_ATE_UTF: .unsigned
        case DW_ATE_float: .float
        case DW_ATE_boolean: .boolean
        default: .other(value)
        }
    }
}
