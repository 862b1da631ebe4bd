import CElfutils
import Glibc

/// An owned libelf handle that writes a relocatable object to memory, and the buffers it refers to until then.
struct ElfOutput: ~Copyable {
    static let path = "object being written"

    private let elf: OpaquePointer
    private let fd: Int32
    private var buffers: [UnsafeMutableRawBufferPointer] = []
    private var names = StringTable()

    private init(elf: OpaquePointer, fd: Int32) {
        self.elf = elf
        self.fd = fd
    }

    deinit {
        elf_end(elf)
        close(fd)
        for buffer in buffers { buffer.deallocate() }
    }

    static func open() throws(ObjectFileError) -> ElfOutput {
        let fd = elfutils_memory_file()
        guard fd >= 0 else {
            throw ObjectFileError(path: path, reason: .unwritable, detail: String(cString: strerror(errno)))
        }
        guard libelfIsReady, let elf = elf_begin(fd, ELF_C_WRITE, nil) else {
            close(fd)
            throw libelfFault()
        }
        let output = ElfOutput(elf: elf, fd: fd)
        guard gelf_newehdr(elf, ELFCLASS64) != nil else { throw libelfFault() }
        return output
    }

    private static func libelfFault() -> ObjectFileError {
        ObjectFileError(path: path, reason: .unwritable, detail: libelfMessage())
    }

    /// Appends a section; `link` and `info` are written as they are.
    mutating func add(_ section: Section) throws(ObjectFileError) {
        guard let scn = elf_newscn(elf), let data = elf_newdata(scn) else { throw Self.libelfFault() }
        let alignment = max(section.alignment, 1)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: section.data.count, alignment: 16)
        buffer.copyBytes(from: section.data)
        buffers.append(buffer)
        data.pointee.d_buf = section.isNoBits ? nil : buffer.baseAddress
        data.pointee.d_size = Int(section.size)
        data.pointee.d_align = Int(alignment)
        data.pointee.d_type = ELF_T_BYTE
        data.pointee.d_version = UInt32(EV_CURRENT)
        var header = GElf_Shdr()
        header.sh_name = names.offset(of: section.name)
        header.sh_type = section.type
        header.sh_flags = section.flags & ~UInt64(SHF_GROUP)
        header.sh_addralign = alignment
        header.sh_entsize = section.entrySize
        header.sh_link = section.link
        header.sh_info = section.type == SHT_RELA || section.type == SHT_SYMTAB ? section.info : 0
        guard gelf_update_shdr(scn, &header) != 0 else { throw Self.libelfFault() }
    }

    /// Lays the file out and gives its bytes.
    consuming func finish() throws(ObjectFileError) -> [UInt8] {
        _ = names.offset(of: ".shstrtab")
        let table = Section(
            index: 0, name: ".shstrtab", type: UInt32(SHT_STRTAB), flags: 0, size: UInt64(names.bytes.count),
            data: names.bytes)
        try add(table)
        var count = 0
        var header = GElf_Ehdr()
        guard elf_getshdrnum(elf, &count) == 0, gelf_getehdr(elf, &header) != nil else { throw Self.libelfFault() }
        header.e_ident.5 = UInt8(ELFDATA2LSB)
        header.e_type = UInt16(ET_REL)
        header.e_machine = UInt16(EM_X86_64)
        header.e_version = UInt32(EV_CURRENT)
        header.e_shstrndx = UInt16(count - 1)
        guard gelf_update_ehdr(elf, &header) != 0 else { throw Self.libelfFault() }
        let size = elf_update(elf, ELF_C_WRITE)
        guard size >= 0 else { throw Self.libelfFault() }
        return try readBack(Int(size))
    }

    private func readBack(_ size: Int) throws(ObjectFileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        var filled = 0
        while filled < size {
            let count = bytes.withUnsafeMutableBytes {
                pread(fd, $0.baseAddress! + filled, size - filled, off_t(filled))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw ObjectFileError(path: Self.path, reason: .unwritable, detail: "can't be read back")
            }
            filled += count
        }
        return bytes
    }
}
