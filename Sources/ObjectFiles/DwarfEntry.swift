import CElfutils

/// One debugging information entry. libdw's calls take a pointer to it, to cache its abbreviation.
struct DwarfEntry {
    private var die: Dwarf_Die
    let tag: Int

    init(_ raw: Dwarf_Die) {
        die = raw
        tag = Int(dwarf_tag(&die))
    }

    /// The same for every reference to this entry, in whatever section or file it lies.
    var identity: UInt { UInt(bitPattern: die.addr) }

    private func attribute(_ name: Int, integrate: Bool = false) -> Dwarf_Attribute? {
        var die = die
        var result = Dwarf_Attribute()
        let found =
            integrate
            ? dwarf_attr_integrate(&die, UInt32(name), &result) : dwarf_attr(&die, UInt32(name), &result)
        return found == nil ? nil : result
    }

    func has(_ name: Int) -> Bool { attribute(name) != nil }

    /// With `integrate`, also where an abstract origin or a specification has it.
    func string(_ name: Int, integrate: Bool = false) -> String? {
        guard var attribute = attribute(name, integrate: integrate), let text = dwarf_formstring(&attribute) else {
            return nil
        }
        return String(cString: text)
    }

    var name: String? { string(DW_AT_name, integrate: true) }

    var linkageName: String? {
        string(DW_AT_linkage_name, integrate: true) ?? string(DW_AT_MIPS_linkage_name, integrate: true)
    }

    func unsigned(_ name: Int) -> UInt64? {
        guard var attribute = attribute(name) else { return nil }
        var value: Dwarf_Word = 0
        return dwarf_formudata(&attribute, &value) == 0 ? value : nil
    }

    /// A constant that may be negative. Forms of fixed size say nothing of their sign: GCC uses them for what fits
    /// unsigned.
    func signed(_ name: Int) -> Int64? {
        guard var attribute = attribute(name) else { return nil }
        let form = Int(dwarf_whatform(&attribute))
        if form == DW_FORM_sdata || form == DW_FORM_implicit_const {
            var value: Dwarf_Sword = 0
            return dwarf_formsdata(&attribute, &value) == 0 ? value : nil
        }
        var value: Dwarf_Word = 0
        return dwarf_formudata(&attribute, &value) == 0 ? Int64(bitPattern: value) : nil
    }

    func flag(_ name: Int) -> Bool {
        guard var attribute = attribute(name) else { return false }
        var value = false
        return dwarf_formflag(&attribute, &value) == 0 && value
    }

    /// The entry that a reference attribute names; nil where it has none, or what it names can't be reached.
    func reference(_ name: Int, integrate: Bool = false) -> DwarfEntry? {
        guard var attribute = attribute(name, integrate: integrate) else { return nil }
        var target = Dwarf_Die()
        return dwarf_formref_die(&attribute, &target) == nil ? nil : DwarfEntry(target)
    }

    /// The file of its declaration, where an abstract origin has it too.
    var declarationFile: String? {
        var die = die
        return (dwarf_decl_file(&die) ?? primaryFile).map { String(cString: $0) }
    }

    /// The unit's own source, which DWARF 5 may give the number 0 (clang does); `dwarf_decl_file` takes that for none.
    private var primaryFile: UnsafePointer<CChar>? {
        var unit = Dwarf_Die()
        var die = die
        var files: OpaquePointer?
        var count = 0
        guard var attribute = attribute(DW_AT_decl_file, integrate: true) else { return nil }
        var number: Dwarf_Word = 1
        guard dwarf_formudata(&attribute, &number) == 0, number == 0, dwarf_diecu(&die, &unit, nil, nil) != nil,
            dwarf_getsrcfiles(&unit, &files, &count) == 0, count > 0
        else { return nil }
        return dwarf_filesrc(files, 0, nil, nil)
    }

    /// Where it is declared, where an abstract origin has it too.
    var declarationLine: SourceLine? {
        var die = die
        var line: Int32 = 0
        guard let file = declarationFile, dwarf_decl_line(&die, &line) == 0 else { return nil }
        return SourceLine(file: file, number: Int(line))
    }

    /// The address of a variable that lies at one, or whose value is computed from what lies there alone: Clang makes one byte of
    /// a flag (`addr, deref_size 1, …, stack_value`).
    var staticAddress: UInt64? {
        guard var attribute = attribute(DW_AT_location), let operations = Self.expression(&attribute),
            operations.count == 1 || Int(operations[operations.count - 1].atom) == DW_OP_stack_value,
            operations.dropFirst().allSatisfy({ ![DW_OP_addr, DW_OP_addrx].contains(Int($0.atom)) }),
            let first = operations.baseAddress
        else { return nil }
        if Int(operations[0].atom) == DW_OP_addr { return operations[0].number }
        var indirect = Dwarf_Attribute()
        var address: Dwarf_Addr = 0
        guard Int(operations[0].atom) == DW_OP_addrx,
            dwarf_getlocation_attr(&attribute, first, &indirect) == 0,
            dwarf_formaddr(&indirect, &address) == 0
        else { return nil }
        return address
    }

    /// The operations of a location, in memory that libdw keeps; nil when it is none, or has no operation.
    private static func expression(_ attribute: inout Dwarf_Attribute) -> UnsafeMutableBufferPointer<Dwarf_Op>? {
        var operations: UnsafeMutablePointer<Dwarf_Op>?
        var count = 0
        guard dwarf_getlocation(&attribute, &operations, &count) == 0, count > 0 else { return nil }
        return UnsafeMutableBufferPointer(start: operations, count: count)
    }

    /// The operand of a location that is this one operation.
    private func operand(of operation: Int, in name: Int) -> UInt64? {
        guard var attribute = attribute(name), let operations = Self.expression(&attribute), operations.count == 1,
            Int(operations[0].atom) == operation
        else { return nil }
        return operations[0].number
    }

    /// A variable at an address, or at an offset in each thread's memory.
    var isStatic: Bool {
        guard var attribute = attribute(DW_AT_location), let operations = Self.expression(&attribute) else {
            return false
        }
        let known = [DW_OP_addr, DW_OP_addrx, DW_OP_GNU_push_tls_address, DW_OP_form_tls_address]
        return known.contains(Int(operations[0].atom)) || known.contains(Int(operations[operations.count - 1].atom))
    }

    /// Of a variable: its type, or its elements', is `const`.
    var isConstant: Bool { qualifiers.contains("const") }

    /// Qualifiers of a member's type, through typedefs and arrays.
    var qualifiers: [String] {
        var found: [String] = []
        var type = reference(DW_AT_type, integrate: true)
        for _ in 0..<100 {
            guard let entry = type else { return found }
            switch entry.tag {
            case DW_TAG_const_type: found.append("const")
            case DW_TAG_volatile_type: found.append("volatile")
            case DW_TAG_atomic_type: found.append("_Atomic")
            case DW_TAG_reference_type: return found + ["reference"]
            case DW_TAG_rvalue_reference_type: return found + ["rvalue reference"]
            case DW_TAG_typedef, DW_TAG_array_type: break
            default: return found
            }
            type = entry.reference(DW_AT_type)
        }
        return found
    }

    /// Offset of a member: a constant, or (DWARF 2) an expression that adds one.
    var memberLocation: UInt64? {
        guard var attribute = attribute(DW_AT_data_member_location) else { return nil }
        var value: Dwarf_Word = 0
        if dwarf_formudata(&attribute, &value) == 0 { return value }
        return operand(of: DW_OP_plus_uconst, in: DW_AT_data_member_location)
    }

    /// Place of a virtual function in its class's table: `DW_OP_constu N`.
    var tablePlace: UInt64? { operand(of: DW_OP_constu, in: DW_AT_vtable_elem_location) }

    /// Address ranges of its code; none for a declaration or an abstract instance.
    var ranges: [(start: UInt64, end: UInt64)] {
        var die = die
        var ranges: [(start: UInt64, end: UInt64)] = []
        var base: Dwarf_Addr = 0
        var start: Dwarf_Addr = 0
        var end: Dwarf_Addr = 0
        var offset = dwarf_ranges(&die, 0, &base, &start, &end)
        while offset > 0 {
            if end > start { ranges.append((start, end)) }
            offset = dwarf_ranges(&die, offset, &base, &start, &end)
        }
        return ranges
    }

    /// Its children in order; a broken chain ends where it breaks.
    var children: [DwarfEntry] {
        var parent = die
        var child = Dwarf_Die()
        guard dwarf_child(&parent, &child) == 0 else { return [] }
        var entries: [DwarfEntry] = []
        while true {
            let entry = DwarfEntry(child)
            entries.append(entry)
            var current = entry.die
            var next = Dwarf_Die()
            // Entries only follow each other forwards: a sibling before this one would be a circle.
            guard dwarf_siblingof(&current, &next) == 0, UInt(bitPattern: next.addr) > entry.identity else { break }
            child = next
        }
        return entries
    }
}
