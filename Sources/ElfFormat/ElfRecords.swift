/// One entry of a program header table.
package struct ProgramHeader: Sendable, Hashable {
    package static let size: UInt64 = 56
    package var type: UInt32
    package var flags: UInt32
    package var offset: UInt64
    package var address: UInt64
    package var fileSize: UInt64
    package var memorySize: UInt64
    package var alignment: UInt64

    package init<Fault>(_ bytes: ByteReader<Fault>, at place: UInt64) throws(Fault) {
        type = try bytes.u32(place)
        flags = try bytes.u32(place &+ 4)
        offset = try bytes.u64(place &+ 8)
        address = try bytes.u64(place &+ 16)
        fileSize = try bytes.u64(place &+ 32)
        memorySize = try bytes.u64(place &+ 40)
        alignment = try bytes.u64(place &+ 48)
    }

    package var isWritable: Bool { flags & PF.write != 0 }
    package var isExecutable: Bool { flags & PF.execute != 0 }
}

/// What a loader needs of an ELF header.
package struct ElfHeader: Sendable, Hashable {
    package static let size: UInt64 = 64
    /// The first bytes of a file that the tools know.
    package static let magic = ELF.magic + [ELF.class64, ELF.littleEndian]
    package var type: UInt16
    package var programHeaderOffset: UInt64
    package var programHeaderCount: Int

    /// Refuses anything but a 64-bit little-endian x86-64 executable or shared object.
    package init<Fault>(_ bytes: ByteReader<Fault>) throws(Fault) {
        guard try bytes.slice(0, 6) == ElfHeader.magic, try bytes.u16(18) == ELF.machine,
            try bytes.u16(54) == ProgramHeader.size
        else { throw bytes.fault("it is not an x86-64 ELF file") }
        type = try bytes.u16(16)
        programHeaderOffset = try bytes.u64(32)
        programHeaderCount = Int(try bytes.u16(56))
        guard type == ELF.executable || type == ELF.sharedObject, programHeaderCount > 0, programHeaderCount < 256
        else {
            throw bytes.fault("it is neither an executable nor a shared object")
        }
    }
}

/// One entry of a RELA table.
@usableFromInline
package struct DynamicRelocation: Sendable, Hashable {
    @usableFromInline package static let size: UInt64 = 24
    package var offset: UInt64
    package var type: RelocationType
    package var symbol: Int
    package var addend: Int64

    @inlinable package init<Fault>(_ bytes: ByteReader<Fault>, at place: UInt64) throws(Fault) {
        self.init(offset: try bytes.u64(place), info: try bytes.u64(place &+ 8), addend: try bytes.i64(place &+ 16))
    }

    @usableFromInline
    package init(offset: UInt64, info: UInt64, addend: Int64) {
        self.offset = offset
        type = RelocationType(rawValue: UInt32(truncatingIfNeeded: info))
        symbol = Int(info >> 32)
        self.addend = addend
    }

    @inlinable package static func table<Fault>(_ bytes: ByteReader<Fault>) throws(Fault) -> [DynamicRelocation] {
        guard bytes.count % size == 0 else { throw bytes.fault("its relocation table has an odd size") }
        var relocations: [DynamicRelocation] = []
        for index in 0..<bytes.count / size { relocations.append(try DynamicRelocation(bytes, at: index * size)) }
        return relocations
    }
}

/// One entry of a dynamic symbol table.
@usableFromInline
package struct DynamicSymbol: Sendable, Hashable {
    package static let size: UInt64 = 24
    package var nameOffset: UInt32
    package var info: UInt8
    package var other: UInt8
    package var section: UInt16
    package var value: UInt64
    package var size: UInt64

    @inlinable package init<Fault>(_ bytes: ByteReader<Fault>, at place: UInt64) throws(Fault) {
        self.init(head: try bytes.u64(place), value: try bytes.u64(place &+ 8), size: try bytes.u64(place &+ 16))
    }

    /// - Parameter head: name, info, other and section, in this order from the lowest bit on.
    @usableFromInline
    package init(head: UInt64, value: UInt64, size: UInt64) {
        nameOffset = UInt32(truncatingIfNeeded: head)
        info = UInt8(truncatingIfNeeded: head >> 32)
        other = UInt8(truncatingIfNeeded: head >> 40)
        section = UInt16(truncatingIfNeeded: head >> 48)
        self.value = value
        self.size = size
    }

    package var kind: UInt8 { info & 15 }
    package var binding: UInt8 { info >> 4 }
    package var isDefined: Bool { section != 0 }
    package static let absoluteSection: UInt16 = 0xfff1
}
