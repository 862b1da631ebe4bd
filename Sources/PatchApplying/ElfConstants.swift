/// Numbers of the ELF and psABI documents that the applier reads.
enum PT {
    static let load: UInt32 = 1
    static let dynamic: UInt32 = 2
    static let interpreter: UInt32 = 3
    static let note: UInt32 = 4
    static let programHeaders: UInt32 = 6
    static let tls: UInt32 = 7
    static let gnuStack: UInt32 = 0x6474_e551
    static let gnuRelro: UInt32 = 0x6474_e552
}

enum PF {
    static let execute: UInt32 = 1
    static let write: UInt32 = 2
    static let read: UInt32 = 4
}

enum DT {
    static let needed: UInt64 = 1
    static let pltRelSize: UInt64 = 2
    static let hash: UInt64 = 4
    static let stringTable: UInt64 = 5
    static let symbolTable: UInt64 = 6
    static let rela: UInt64 = 7
    static let relaSize: UInt64 = 8
    static let relaEntrySize: UInt64 = 9
    static let stringSize: UInt64 = 10
    static let symbolEntrySize: UInt64 = 11
    static let initialiser: UInt64 = 12
    static let finaliser: UInt64 = 13
    static let soname: UInt64 = 14
    static let debug: UInt64 = 21
    static let textRelocations: UInt64 = 22
    static let jumpRelocations: UInt64 = 23
    static let initArray: UInt64 = 25
    static let finiArray: UInt64 = 26
    static let initArraySize: UInt64 = 27
    static let finiArraySize: UInt64 = 28
    static let flags: UInt64 = 30
    static let preinitArraySize: UInt64 = 33
    static let relrSize: UInt64 = 35
    static let gnuHash: UInt64 = 0x6fff_fef5
    static let versionSymbols: UInt64 = 0x6fff_fff0
    static let versionDefinitions: UInt64 = 0x6fff_fffc
    static let versionDefinitionCount: UInt64 = 0x6fff_fffd
    static let versionNeeds: UInt64 = 0x6fff_fffe
    static let versionNeedCount: UInt64 = 0x6fff_ffff
}

enum R {
    static let none: UInt32 = 0
    static let abs64: UInt32 = 1
    static let pc32: UInt32 = 2
    static let plt32: UInt32 = 4
    static let copy: UInt32 = 5
    static let globDat: UInt32 = 6
    static let jumpSlot: UInt32 = 7
    static let relative: UInt32 = 8
    static let abs32: UInt32 = 10
    static let abs32S: UInt32 = 11
    static let dtpmod64: UInt32 = 16
    static let dtpoff64: UInt32 = 17
    static let tpoff64: UInt32 = 18
    static let dtpoff32: UInt32 = 21
    static let tpoff32: UInt32 = 23
    static let pc64: UInt32 = 24
    static let iRelative: UInt32 = 37
}

enum STT {
    static let threadLocal: UInt8 = 6
    static let indirect: UInt8 = 10
}

enum STB {
    static let local: UInt8 = 0
    static let weak: UInt8 = 2
}

/// One entry of a program header table.
struct ProgramHeader: Sendable, Hashable {
    static let size: UInt64 = 56
    var type: UInt32
    var flags: UInt32
    var offset: UInt64
    var address: UInt64
    var fileSize: UInt64
    var memorySize: UInt64
    var alignment: UInt64

    init(_ bytes: CheckedBytes, at place: UInt64) throws {
        type = try bytes.u32(place)
        flags = try bytes.u32(place &+ 4)
        offset = try bytes.u64(place &+ 8)
        address = try bytes.u64(place &+ 16)
        fileSize = try bytes.u64(place &+ 32)
        memorySize = try bytes.u64(place &+ 40)
        alignment = try bytes.u64(place &+ 48)
    }

    var isWritable: Bool { flags & PF.write != 0 }
    var isExecutable: Bool { flags & PF.execute != 0 }
}

/// What the applier needs of an ELF header.
struct ElfHeader: Sendable, Hashable {
    static let size: UInt64 = 64
    static let sharedObject: UInt16 = 3
    static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1]
    var type: UInt16
    var programHeaderOffset: UInt64
    var programHeaderCount: Int

    /// Refuses anything but a 64-bit little-endian x86-64 executable or shared object.
    init(_ bytes: CheckedBytes) throws {
        guard try bytes.slice(0, 6) == ElfHeader.magic, try bytes.u16(18) == 62, try bytes.u16(54) == 56 else {
            throw bytes.refusal("it is not an x86-64 ELF file")
        }
        type = try bytes.u16(16)
        programHeaderOffset = try bytes.u64(32)
        programHeaderCount = Int(try bytes.u16(56))
        guard type == 2 || type == 3, programHeaderCount > 0, programHeaderCount < 256 else {
            throw bytes.refusal("it is neither an executable nor a shared object")
        }
    }
}

/// One entry of a RELA table.
struct DynamicRelocation: Sendable, Hashable {
    static let size: UInt64 = 24
    var offset: UInt64
    var type: UInt32
    var symbol: Int
    var addend: Int64

    init(_ bytes: CheckedBytes, at place: UInt64) throws {
        offset = try bytes.u64(place)
        let info = try bytes.u64(place &+ 8)
        type = UInt32(truncatingIfNeeded: info)
        symbol = Int(info >> 32)
        addend = try bytes.i64(place &+ 16)
    }

    static func table(_ bytes: CheckedBytes) throws -> [DynamicRelocation] {
        guard bytes.count % size == 0 else { throw bytes.refusal("its relocation table has an odd size") }
        return try (0..<bytes.count / size).map { try DynamicRelocation(bytes, at: $0 * size) }
    }
}

/// One entry of a dynamic symbol table.
struct DynamicSymbol: Sendable, Hashable {
    static let size: UInt64 = 24
    var nameOffset: UInt32
    var info: UInt8
    var other: UInt8
    var section: UInt16
    var value: UInt64
    var size: UInt64

    init(_ bytes: CheckedBytes, at place: UInt64) throws {
        nameOffset = try bytes.u32(place)
        info = try bytes.integer(place &+ 4, as: UInt8.self)
        other = try bytes.integer(place &+ 5, as: UInt8.self)
        section = try bytes.u16(place &+ 6)
        value = try bytes.u64(place &+ 8)
        size = try bytes.u64(place &+ 16)
    }

    var kind: UInt8 { info & 15 }
    var binding: UInt8 { info >> 4 }
    var isDefined: Bool { section != 0 }
    static let absoluteSection: UInt16 = 0xfff1
}
