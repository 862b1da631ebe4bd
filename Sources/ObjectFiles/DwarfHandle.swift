import CElfutils

/// An owned libdw handle over an owned copy of the file.
///
/// The debug info of a relocatable object is itself relocated; libdwfl does that. A linked file's is read as it is.
struct DwarfHandle: ~Copyable {
    let dwarf: OpaquePointer
    /// The session and its one module, for a relocatable object.
    let session: OpaquePointer?
    let module: OpaquePointer?
    /// The alternate file's handle, where dwz moved what several files share.
    let alternate: OpaquePointer?
    private let file: ElfHandle
    private let alternateFile: ElfHandle?

    private init(
        dwarf: OpaquePointer, session: OpaquePointer?, module: OpaquePointer?, alternate: OpaquePointer?,
        file: consuming ElfHandle, alternateFile: consuming ElfHandle?
    ) {
        self.dwarf = dwarf
        self.session = session
        self.module = module
        self.alternate = alternate
        self.file = file
        self.alternateFile = alternateFile
    }

    deinit {
        if let session { dwfl_end(session) } else { dwarf_end(dwarf) }
        if let alternate, alternateFile != nil { dwarf_end(alternate) }
    }

    /// nil when the file has no debug info.
    static func open(_ file: consuming ElfHandle, path: String) throws(ObjectFileError) -> DwarfHandle? {
        var header = GElf_Ehdr()
        guard gelf_getehdr(file.elf, &header) != nil else { throw libdwFault(path, libelfMessage()) }
        guard hasSection(file, named: [".debug_info", ".zdebug_info", ".gnu.debuglto_.debug_info"]) else { return nil }
        // An alternate file of dwz says it is a relocatable object, and has no symbols.
        let isObject = header.e_type == ET_REL && hasSection(file, named: [".symtab"])
        return isObject ? try openObject(file, path: path) : try openLinked(file, path: path)
    }

    private static func libdwFault(_ path: String, _ message: String? = nil) -> ObjectFileError {
        let said = dwarf_errmsg(-1).map { String(cString: $0) }
        return ObjectFileError(
            path: path, reason: .malformed, detail: "debug info: \(message ?? said ?? "can't be read")")
    }

    private static func hasSection(_ file: borrowing ElfHandle, named wanted: Set<String>) -> Bool {
        var names = 0
        guard elf_getshdrstrndx(file.elf, &names) == 0 else { return false }
        var scn: OpaquePointer?
        while let next = elf_nextscn(file.elf, scn) {
            scn = next
            var header = GElf_Shdr()
            guard gelf_getshdr(next, &header) != nil, header.sh_type != SHT_NOBITS,
                let name = elf_strptr(file.elf, names, Int(header.sh_name))
            else { continue }
            if wanted.contains(String(cString: name)) { return true }
        }
        return false
    }

    private static func openLinked(_ file: consuming ElfHandle, path: String) throws(ObjectFileError) -> DwarfHandle {
        guard let dwarf = dwarf_begin_elf(file.elf, DWARF_C_READ, nil) else { throw libdwFault(path) }
        if let alternateFile = openAlternate(of: dwarf, path: path),
            let alternate = dwarf_begin_elf(alternateFile.elf, DWARF_C_READ, nil)
        {
            dwarf_setalt(dwarf, alternate)
            return DwarfHandle(
                dwarf: dwarf, session: nil, module: nil, alternate: alternate, file: file, alternateFile: alternateFile)
        }
        // libdw looks below /usr/lib/debug itself, and keeps what it finds.
        return DwarfHandle(
            dwarf: dwarf, session: nil, module: nil, alternate: dwarf_getalt(dwarf), file: file, alternateFile: nil)
    }

    /// The alternate file by the path that the debug file has for it.
    private static func openAlternate(of dwarf: OpaquePointer, path: String) -> ElfHandle? {
        var name: UnsafePointer<CChar>?
        var buildID: UnsafeRawPointer?
        let length = dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &buildID)
        guard length > 0, let name, let buildID else { return nil }
        let id = UnsafeRawBufferPointer(start: buildID, count: length)
        for candidate in alternatePaths(String(cString: name), of: path) {
            if let file = openAlternate(candidate, buildID: id) { return file }
        }
        return nil
    }

    /// Debug packages unpacked anywhere keep their inner layout: a relative path starts at the debug file, an absolute
    /// one at the directory that stands for the root.
    private static func alternatePaths(_ link: String, of path: String) -> [String] {
        guard link.hasPrefix("/") else { return [(path.lastIndex(of: "/").map { path[...$0] } ?? "") + link] }
        let root = path.firstRange(of: "/usr/lib/debug/").map { String(path[..<$0.lowerBound]) } ?? ""
        return root.isEmpty ? [link] : [root + link, link]
    }

    private static func openAlternate(_ path: String, buildID: UnsafeRawBufferPointer) -> ElfHandle? {
        guard let file = try? ElfHandle.open(path: path) else { return nil }
        var found: UnsafeRawPointer?
        guard dwelf_elf_gnu_build_id(file.elf, &found) == buildID.count, let found,
            UnsafeRawBufferPointer(start: found, count: buildID.count).elementsEqual(buildID)
        else { return nil }
        return file
    }

    private static func openObject(_ file: consuming ElfHandle, path: String) throws(ObjectFileError) -> DwarfHandle {
        guard let session = elfutils_begin_offline() else { throw libdwFault(path) }
        let image = file.image
        guard
            let module = dwfl_report_offline_memory(
                session, path, path, image.baseAddress?.assumingMemoryBound(to: CChar.self), image.count)
        else {
            let message = dwfl_errmsg(-1).map { String(cString: $0) }
            dwfl_end(session)
            throw libdwFault(path, message)
        }
        dwfl_report_end(session, nil, nil)
        var bias: Dwarf_Addr = 0
        guard let dwarf = dwfl_module_getdwarf(module, &bias) else {
            let message = dwfl_errmsg(-1).map { String(cString: $0) }
            dwfl_end(session)
            throw libdwFault(path, message)
        }
        return DwarfHandle(
            dwarf: dwarf, session: session, module: module, alternate: nil, file: file, alternateFile: nil)
    }

    /// Whether the debug info refers to an alternate file, found or not.
    var namesAlternate: Bool {
        var name: UnsafePointer<CChar>?
        var buildID: UnsafeRawPointer?
        return dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &buildID) > 0
    }

    /// A code address of the debug info as a place: in a relocatable object, section and offset.
    func place(_ start: UInt64, size: UInt64) -> CodeRange {
        guard let module else { return CodeRange(start: start, size: size) }
        var offset = start
        var section: GElf_Word = 0
        let index = dwfl_module_relocate_address(module, &offset)
        guard index >= 0, dwfl_module_relocation_info(module, UInt32(index), &section) != nil else {
            return CodeRange(start: start, size: size)
        }
        return CodeRange(section: SectionIndex(rawValue: Int(section)), start: offset, size: size)
    }
}
