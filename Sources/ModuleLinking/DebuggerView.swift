import Diagnostics
import ElfFormat
import ObjectFiles

/// Makes a module's own memory tell debuggers what its file would: a process, and a core dump of it, hold nothing else of
/// the module, since it is mapped from no file.
///
/// The file that is returned is the memory from the module's first byte on, byte by byte: each offset in it is the address.
/// elfutils takes the memory in a core dump for the file (trap core-as-file). What `ld` leaves outside of what is loaded, the names
/// of functions and the section headers, becomes one more segment; gdb reads it with `add-symbol-file-from-memory`. A
/// program header leads to the unwind data, under the name that debuggers know it by (`ld` itself must not see that name).
///
/// Two program headers that `ld` always makes and that nobody reads of a module (of the stack, and of what the dynamic
/// linker protects after relocation) give their places.
/// - Throws: `Failure` when `ld` has left out what is needed.
func showToDebuggers(_ bytes: [UInt8], _ module: ObjectFile) throws -> [UInt8] {
    let file = ByteReader(bytes) { Failure("\(module.path): ld made something unexpected: \($0)") }
    var image = try MemoryImage(file, module)
    try image.moveSections()
    try image.moveSegments()
    try image.rename(".livepatch.frames", to: ".eh_frame")
    try image.rename(".livepatch.framehdr", to: ".eh_frame_hdr")
    return image.file.bytes
}

/// Variables that begin as zeros take no room in a file, but in this one. A module with more of them than this, in bytes,
/// keeps its names to its file.
private let mostZeros: UInt64 = 1 << 20

/// The file laid out like the memory; its headers are corrected step by step.
private struct MemoryImage {
    var file: ByteReader<Failure>
    private let module: ObjectFile
    /// What is not loaded: where it begins in the old file, and in the new one.
    private let oldTail: UInt64
    private let tail: UInt64
    /// Whether the tail is loaded too.
    private let showsTail: Bool

    init(_ old: ByteReader<Failure>, _ module: ObjectFile) throws {
        let unloaded = module.sections.filter { !$0.isAllocated && $0.fileOffset > 0 }.map(\.fileOffset)
        let loads = module.segments.filter { $0.type == PT.load }
        guard let first = unloaded.min(),
            let end = roundUp(loads.map { $0.address &+ $0.memorySize }.max() ?? 0, pageSize),
            loads.allSatisfy({ $0.fileOffset &+ $0.fileSize <= first }), try first < old.u64(40), end < 1 << 32
        else { throw old.fault("what is not loaded does not follow what is") }
        self.module = module
        oldTail = first
        showsTail = end <= old.count &+ mostZeros
        tail = showsTail ? end : first
        file = old
        guard showsTail else { return }
        file.bytes = [UInt8](repeating: 0, count: Int(end)) + old.bytes[Int(first)...]
        for load in loads {
            let contents = try old.slice(load.fileOffset, load.fileSize)
            file.bytes.replaceSubrange(try file.range(load.address, load.fileSize), with: contents)
        }
    }

    /// The section headers, and where they say that the sections are.
    mutating func moveSections() throws {
        guard showsTail else { return }
        let table = try file.u64(40) &- oldTail &+ tail
        try file.store(table, size: 8, at: 40)
        for (number, section) in zip(UInt64(0)..., module.sections) where number > 0 {
            let place = section.isAllocated ? section.address : section.fileOffset &- oldTail &+ tail
            try file.store(place, size: 8, at: table &+ number &* 64 &+ 24)
        }
    }

    mutating func moveSegments() throws {
        let header = try ElfHeader(file)
        for number in 0..<UInt64(header.programHeaderCount) {
            let place = header.programHeaderOffset &+ number &* ProgramHeader.size
            let segment = try ProgramHeader(file, at: place)
            switch segment.type {
            case PT.gnuStack:
                guard let frames = module.section(named: ".livepatch.framehdr") else { break }
                let offset = showsTail ? frames.address : frames.fileOffset
                try setHeader(
                    PT.gnuFrameHeader, at: place, offset, frames.address, frames.size, alignment: frames.alignment)
            case PT.gnuRelro where showsTail:
                try setHeader(PT.load, at: place, tail, tail, file.count &- tail, alignment: pageSize)
            case _ where showsTail:
                try file.store(segment.address, size: 8, at: place &+ 8)
                try file.store(segment.memorySize, size: 8, at: place &+ 32)
            default: break
            }
        }
    }

    private mutating func setHeader(
        _ type: UInt32, at place: UInt64, _ offset: UInt64, _ address: UInt64, _ size: UInt64, alignment: UInt64
    ) throws {
        let words = [offset, address, address, size, size, alignment]
        let bytes = littleEndian(UInt64(PF.read) << 32 | UInt64(type)) + words.flatMap(littleEndian)
        file.bytes.replaceSubrange(try file.range(place, ProgramHeader.size), with: bytes)
    }

    /// Gives a section a name that is not longer, where the old one stands.
    mutating func rename(_ old: String, to new: String) throws {
        guard let names = module.section(named: ".shstrtab") else { throw file.fault("it names no sections") }
        let text = [0] + Array(old.utf8) + [0]
        guard let place = names.data.firstRange(of: text)?.lowerBound, new.utf8.count <= old.utf8.count else { return }
        let offset = names.fileOffset &- oldTail &+ tail &+ UInt64(place + 1)
        let padding = [UInt8](repeating: 0, count: old.utf8.count - new.utf8.count)
        file.bytes.replaceSubrange(
            try file.range(offset, UInt64(old.utf8.count)), with: Array(new.utf8) + padding)
    }
}
