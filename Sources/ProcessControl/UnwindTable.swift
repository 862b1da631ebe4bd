import ElfFormat

/// The unwind information of one ELF file in a process, found as the C++ runtime finds it: through the program headers and
/// `.eh_frame_hdr`.
struct UnwindTable {
    private let memory: RemoteMemory
    /// Address of `.eh_frame_hdr`, which the table's values are relative to.
    private let header: UInt64
    /// Pairs of signed 32-bit values, sorted: start of a function, address of its description.
    private let entries: [UInt8]
    private let count: Int

    /// - Parameter base: where the ELF header lies in memory.
    init(base: RemoteAddress, memory: RemoteMemory) throws(UnwindFailure) {
        self.memory = memory
        let header = try UnwindTable.headerAddress(base: base, memory: memory)
        var reader = CFIReader(try fetch(memory, header, 64), at: header.rawValue)
        guard try reader.byte() == 1 else { throw UnwindFailure("unknown version of .eh_frame_hdr") }
        let (frame, number, table) = (try reader.byte(), try reader.byte(), try reader.byte())
        _ = try reader.pointer(encoding: frame, base: header.rawValue)
        // Every linker writes 32-bit values relative to the header.
        guard number != 0xff, table == 0x3b else { throw UnwindFailure("no sorted table in .eh_frame_hdr") }
        let count = try reader.pointer(encoding: number, base: header.rawValue)
        guard count > 0, count < 1 << 22 else { throw UnwindFailure("bad length of .eh_frame_hdr") }
        self.header = header.rawValue
        self.count = Int(count)
        entries = try fetch(memory, header + UInt64(reader.offset), Int(count) * 8)
        guard entries.count == self.count * 8 else { throw UnwindFailure("unreadable .eh_frame_hdr") }
    }

    /// Runtime address of PT_GNU_EH_FRAME.
    private static func headerAddress(base: RemoteAddress, memory: RemoteMemory) throws(UnwindFailure) -> RemoteAddress
    {
        let header = try ElfHeader(reader(try fetch(memory, base, Int(ElfHeader.size))))
        let table = reader(
            try fetch(
                memory, base + header.programHeaderOffset, header.programHeaderCount * Int(ProgramHeader.size)))
        var bias: UInt64?
        var place: UInt64?
        for index in 0..<UInt64(header.programHeaderCount) {
            let segment = try ProgramHeader(table, at: index * ProgramHeader.size)
            if segment.type == PT.load, bias == nil { bias = base.rawValue &- (segment.address &- segment.offset) }
            if segment.type == PT.gnuFrameHeader { place = segment.address }
        }
        guard let bias, let place else { throw UnwindFailure("no .eh_frame_hdr") }
        return RemoteAddress(bias &+ place)
    }

    /// The description of the function that holds `pc`.
    func description(for pc: UInt64) throws(UnwindFailure) -> FrameDescription {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if value(middle * 8) <= pc { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { throw UnwindFailure("no unwind data") }
        return try FrameDescription(at: RemoteAddress(value(low * 8 - 4)), pc: pc, memory: memory)
    }

    private func value(_ offset: Int) -> UInt64 {
        var raw: UInt32 = 0
        for index in 0..<4 { raw |= UInt32(entries[offset + index]) << UInt32(8 * index) }
        return header &+ UInt64(bitPattern: Int64(Int32(bitPattern: raw)))
    }
}

private func reader(_ bytes: [UInt8]) -> ByteReader<UnwindFailure> {
    ByteReader(bytes) { UnwindFailure("ELF headers: \($0)") }
}

private func fetch(_ memory: RemoteMemory, _ address: RemoteAddress, _ count: Int) throws(UnwindFailure) -> [UInt8] {
    do throws(ProcessError) {
        return try memory.readPrefix(address, count: count)
    } catch {
        throw UnwindFailure("\(error)")
    }
}

/// One FDE and the CIE it belongs to.
struct FrameDescription {
    let start: UInt64
    let end: UInt64
    /// Pushed by the kernel for a signal: the caller was interrupted, it did not call.
    let isSignalFrame: Bool
    let codeAlignment: UInt64
    let dataAlignment: Int64
    let returnRegister: Int
    let pointerEncoding: UInt8
    /// Instructions of the CIE and of the FDE.
    let initial: CFIReader
    let instructions: CFIReader

    /// No real entry is longer, in bytes.
    private static let limit = 1 << 16

    init(at address: RemoteAddress, pc: UInt64, memory: RemoteMemory) throws(UnwindFailure) {
        var entry = try FrameDescription.entry(at: address, memory: memory)
        let place = address.rawValue &+ UInt64(entry.offset)
        let back = try entry.unsigned(4)
        guard back != 0 else { throw UnwindFailure("bad unwind entry") }
        var cie = try FrameDescription.entry(at: RemoteAddress(place &- back), memory: memory)
        guard try cie.unsigned(4) == 0 else { throw UnwindFailure("bad unwind entry") }

        let version = try cie.byte()
        guard version == 1 || version == 3 else { throw UnwindFailure("unknown version of unwind entry") }
        let augmentation = try cie.string()
        guard augmentation.isEmpty || augmentation.first == "z" else { throw UnwindFailure("unknown augmentation") }
        codeAlignment = try cie.uleb()
        dataAlignment = try cie.sleb()
        returnRegister = version == 1 ? Int(try cie.byte()) : Int(clamping: try cie.uleb())
        var encoding: UInt8 = 0
        if !augmentation.isEmpty {
            let data = try cie.block()
            var reader = CFIReader(Array(data), at: cie.address &+ UInt64(data.startIndex))
            for letter in augmentation.dropFirst() {
                switch letter {
                case "R": encoding = try reader.byte()
                case "L": _ = try reader.byte()
                case "P": _ = try reader.pointer(encoding: try reader.byte() & 0x7f)
                case "S", "B": break
                default: throw UnwindFailure("unknown augmentation")
                }
            }
        }
        isSignalFrame = augmentation.contains("S")
        pointerEncoding = encoding & 0x7f
        start = try entry.pointer(encoding: pointerEncoding)
        end = start &+ (try entry.pointer(encoding: pointerEncoding & 0x0f))
        guard pc >= start, pc < end else { throw UnwindFailure("no unwind data") }
        if !augmentation.isEmpty { _ = try entry.block() }
        initial = cie
        instructions = entry
    }

    /// A reader over one entry, behind its length.
    private static func entry(at address: RemoteAddress, memory: RemoteMemory) throws(UnwindFailure) -> CFIReader {
        var head = CFIReader(try fetch(memory, address, 4), at: address.rawValue)
        let length = try head.unsigned(4)
        guard length >= 4, length < limit else { throw UnwindFailure("bad length of unwind entry") }
        let bytes = try fetch(memory, address, Int(length) + 4)
        guard bytes.count == Int(length) + 4 else { throw UnwindFailure("unreadable unwind entry") }
        var reader = CFIReader(bytes, at: address.rawValue)
        reader.offset = 4
        return reader
    }
}
