/// The numbers of the ELF documents (gABI, GNU and x86-64 supplements) by their names.
package enum ELF {
    /// `ELFMAG`, `ELFCLASS64`, `ELFDATA2LSB`: how every file begins that the tools know.
    package static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
    package static let class64: UInt8 = 2
    package static let littleEndian: UInt8 = 1
    package static let version: UInt8 = 1
    /// `EM_X86_64`
    package static let machine: UInt16 = 62
    /// `ET_EXEC`, `ET_DYN`
    package static let executable: UInt16 = 2
    package static let sharedObject: UInt16 = 3
}

/// Types of segments.
package enum PT {
    package static let load: UInt32 = 1
    package static let dynamic: UInt32 = 2
    package static let interpreter: UInt32 = 3
    package static let note: UInt32 = 4
    package static let programHeaders: UInt32 = 6
    package static let tls: UInt32 = 7
    package static let gnuFrameHeader: UInt32 = 0x6474_e550
    package static let gnuStack: UInt32 = 0x6474_e551
    package static let gnuRelro: UInt32 = 0x6474_e552
}

/// Flags of segments.
package enum PF {
    package static let execute: UInt32 = 1
    package static let write: UInt32 = 2
    package static let read: UInt32 = 4
}

/// Tags of the dynamic section.
package enum DT {
    package static let needed: UInt64 = 1
    package static let pltRelSize: UInt64 = 2
    package static let hash: UInt64 = 4
    package static let stringTable: UInt64 = 5
    package static let symbolTable: UInt64 = 6
    package static let rela: UInt64 = 7
    package static let relaSize: UInt64 = 8
    package static let relaEntrySize: UInt64 = 9
    package static let stringSize: UInt64 = 10
    package static let symbolEntrySize: UInt64 = 11
    package static let initialiser: UInt64 = 12
    package static let finaliser: UInt64 = 13
    package static let soname: UInt64 = 14
    package static let libraryPath: UInt64 = 15
    package static let debug: UInt64 = 21
    package static let textRelocations: UInt64 = 22
    package static let jumpRelocations: UInt64 = 23
    package static let initArray: UInt64 = 25
    package static let finiArray: UInt64 = 26
    package static let initArraySize: UInt64 = 27
    package static let finiArraySize: UInt64 = 28
    package static let runPath: UInt64 = 29
    package static let flags: UInt64 = 30
    package static let preinitArraySize: UInt64 = 33
    package static let relrSize: UInt64 = 35
    package static let gnuHash: UInt64 = 0x6fff_fef5
    package static let versionSymbols: UInt64 = 0x6fff_fff0
    package static let versionDefinitions: UInt64 = 0x6fff_fffc
    package static let versionDefinitionCount: UInt64 = 0x6fff_fffd
    package static let versionNeeds: UInt64 = 0x6fff_fffe
    package static let versionNeedCount: UInt64 = 0x6fff_ffff
}

/// Types of sections.
package enum SHT {
    /// `SHT_PROGBITS`
    package static let contents: UInt32 = 1
    package static let symbolTable: UInt32 = 2
    package static let stringTable: UInt32 = 3
    package static let rela: UInt32 = 4
    package static let note: UInt32 = 7
    package static let noBits: UInt32 = 8
}

/// Flags of sections.
package enum SHF {
    package static let write: UInt64 = 0x1
    package static let allocated: UInt64 = 0x2
    package static let execute: UInt64 = 0x4
    package static let merge: UInt64 = 0x10
    package static let strings: UInt64 = 0x20
    package static let threadLocal: UInt64 = 0x400
}

/// Kinds of symbols.
package enum STT {
    package static let object: UInt8 = 1
    package static let function: UInt8 = 2
    package static let common: UInt8 = 5
    package static let threadLocal: UInt8 = 6
    package static let indirect: UInt8 = 10
}

/// Bindings of symbols.
package enum STB {
    package static let local: UInt8 = 0
    package static let weak: UInt8 = 2
}
