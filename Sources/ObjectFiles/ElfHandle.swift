import CElfutils
import ElfFormat
import Glibc

/// Calling `elf_version` is libelf's initialisation; it must precede every other call.
let libelfIsReady = elf_version(UInt32(EV_CURRENT)) != 0

/// What libelf says of the last failure on this thread.
func libelfMessage() -> String {
    elf_errmsg(elf_errno()).map { String(cString: $0) } ?? "no reason given"
}

/// An owned libelf handle over an owned copy of the file.
///
/// The file is read, not mapped: a mapped file that another process truncates ends the reader with SIGBUS.
struct ElfHandle: ~Copyable {
    let elf: OpaquePointer
    let image: UnsafeMutableRawBufferPointer

    private init(elf: OpaquePointer, image: UnsafeMutableRawBufferPointer) {
        self.elf = elf
        self.image = image
    }

    deinit {
        elf_end(elf)
        image.deallocate()
    }

    /// Opens a regular file of at least an ELF header's length.
    static func open(path: String) throws(ObjectFileError) -> ElfHandle {
        let fd = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else { throw systemError(path, errno) }
        defer { close(fd) }
        var status = stat()
        guard fstat(fd, &status) == 0 else { throw systemError(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ObjectFileError(path: path, reason: .unreadable, detail: "not a regular file")
        }
        let image = allocate(Int(status.st_size))
        var filled = 0
        while filled < image.count {
            let count = Glibc.read(fd, image.baseAddress! + filled, image.count - filled)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let failure = count < 0 ? errno : 0
                image.deallocate()
                if failure != 0 { throw systemError(path, failure) }
                throw ObjectFileError(path: path, reason: .truncated, detail: "the file shrank while it was read")
            }
            filled += count
        }
        return try begin(image, path: path)
    }

    /// Opens a copy of bytes; `name` is for messages.
    static func open(bytes: [UInt8], name: String) throws(ObjectFileError) -> ElfHandle {
        let image = allocate(bytes.count)
        image.copyBytes(from: bytes)
        return try begin(image, path: name)
    }

    /// Page alignment lets libelf hand out tables in place.
    private static func allocate(_ count: Int) -> UnsafeMutableRawBufferPointer {
        .allocate(byteCount: count, alignment: 4096)
    }

    private static func systemError(_ path: String, _ code: Int32) -> ObjectFileError {
        ObjectFileError(path: path, reason: .unreadable, detail: String(cString: strerror(code)))
    }

    private static func begin(_ image: UnsafeMutableRawBufferPointer, path: String) throws(ObjectFileError) -> ElfHandle
    {
        if let fault = identify(image, path: path) {
            image.deallocate()
            throw fault
        }
        let start = image.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard libelfIsReady, let elf = elf_memory(start, image.count) else {
            let message = libelfMessage()
            image.deallocate()
            throw ObjectFileError(path: path, reason: .malformed, detail: message)
        }
        return ElfHandle(elf: elf, image: image)
    }

    /// Everything but x86-64 ELF64 little-endian is turned down before libelf sees it.
    private static func identify(_ image: UnsafeMutableRawBufferPointer, path: String) -> ObjectFileError? {
        func fault(_ reason: ObjectFileError.Reason, _ offset: UInt64, _ detail: String) -> ObjectFileError {
            ObjectFileError(path: path, reason: reason, place: .offset(offset), detail: detail)
        }
        guard image.starts(with: ELF.magic) else { return fault(.notELF, 0, "not an ELF file") }
        guard image.count >= 64 else { return fault(.truncated, 0, "shorter than an ELF header") }
        guard image[4] == ELF.class64 else {
            return fault(.unsupported, 4, "ELF class \(image[4]); only 64-bit ELF is supported")
        }
        guard image[5] == ELF.littleEndian else { return fault(.unsupported, 5, "not little-endian") }
        guard image[6] == ELF.version else { return fault(.unsupported, 6, "ELF version \(image[6])") }
        let machine = UInt16(image[18]) | UInt16(image[19]) << 8
        guard machine == ELF.machine else {
            return fault(.unsupported, 18, "machine \(machine); only x86-64 (\(ELF.machine)) is supported")
        }
        return nil
    }
}
