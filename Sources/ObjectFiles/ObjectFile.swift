import ElfFormat

/// What patchbuild reads of an ELF file, as plain values: a relocatable object, an executable or a shared library.
public struct ObjectFile: Sendable {
    public enum Kind: Sendable { case relocatable, executable, sharedObject }

    /// The path it was read from, for messages.
    public var path: String
    public var kind: Kind
    /// `sections[i]` is the ELF section with index i; `sections[0]` is the null section.
    public var sections: Indexed<Section>
    /// `.symtab`, in file order, with the null symbol at 0; empty when stripped.
    public var symbols: Indexed<Symbol>
    /// `.dynsym`, in file order, with the null symbol at 0.
    public var dynamicSymbols: Indexed<Symbol>
    public var segments: [Segment]
    /// Relocations of `.rela.dyn` and `.rela.plt`; symbol indices are into `dynamicSymbols`, offsets are addresses.
    public var dynamicRelocations: [Relocation]
    /// GNU build-id in lower-case hexadecimal.
    public var buildID: String?
    /// A linked file's bytes, which its segments are read from; empty for relocatable objects.
    var image: [UInt8] = []

    public init(
        path: String, kind: Kind, sections: Indexed<Section>, symbols: Indexed<Symbol>,
        dynamicSymbols: Indexed<Symbol> = [], segments: [Segment] = [],
        dynamicRelocations: [Relocation] = [], buildID: String? = nil
    ) {
        self.path = path
        self.kind = kind
        self.sections = sections
        self.symbols = symbols
        self.dynamicSymbols = dynamicSymbols
        self.segments = segments
        self.dynamicRelocations = dynamicRelocations
        self.buildID = buildID
    }

    init(
        path: String, kind: Kind, sections: Indexed<Section>, symbols: Indexed<Symbol>,
        dynamicSymbols: Indexed<Symbol>, segments: [Segment], dynamicRelocations: [Relocation], buildID: String?,
        image: [UInt8]
    ) {
        self.init(
            path: path, kind: kind, sections: sections, symbols: symbols, dynamicSymbols: dynamicSymbols,
            segments: segments, dynamicRelocations: dynamicRelocations, buildID: buildID)
        self.image = image
    }
}

public struct Section: Sendable {
    public var index: SectionIndex
    public var name: String
    /// `SHT_…`
    public var type: UInt32
    /// `SHF_…`
    public var flags: UInt64
    public var address: UInt64
    /// Offset in the file.
    public var fileOffset: UInt64
    /// Size in memory; `data` is empty for `SHT_NOBITS`.
    public var size: UInt64
    public var alignment: UInt64
    public var entrySize: UInt64
    public var link: UInt32
    public var info: UInt32
    public var data: [UInt8]
    /// Relocations that apply to this section (relocatable objects), sorted by offset.
    public var relocations: [Relocation]
    /// Signature symbol's name of the COMDAT group the section is in.
    public var comdat: String?

    public init(
        index: SectionIndex, name: String, type: UInt32, flags: UInt64, address: UInt64 = 0, fileOffset: UInt64 = 0,
        size: UInt64, alignment: UInt64 = 1, entrySize: UInt64 = 0, link: UInt32 = 0, info: UInt32 = 0,
        data: [UInt8], relocations: [Relocation] = [], comdat: String? = nil
    ) {
        self.index = index
        self.name = name
        self.type = type
        self.flags = flags
        self.address = address
        self.fileOffset = fileOffset
        self.size = size
        self.alignment = alignment
        self.entrySize = entrySize
        self.link = link
        self.info = info
        self.data = data
        self.relocations = relocations
        self.comdat = comdat
    }

    public var isAllocated: Bool { flags & SHF.allocated != 0 }
    public var isWritable: Bool { flags & SHF.write != 0 }
    public var isExecutable: Bool { flags & SHF.execute != 0 }
    public var isMergeable: Bool { flags & SHF.merge != 0 }
    public var isStrings: Bool { flags & SHF.strings != 0 }
    public var isThreadLocal: Bool { flags & SHF.threadLocal != 0 }
    public var isNoBits: Bool { type == SHT.noBits }
}

public struct Symbol: Sendable, Hashable {
    public enum Binding: UInt8, Sendable {
        case local = 0
        case global = 1
        case weak = 2
        case unique = 10
    }
    public enum Kind: UInt8, Sendable {
        case none = 0
        case object = 1
        case function = 2
        case section = 3
        case file = 4
        case common = 5
        case threadLocal = 6
        case indirect = 10
    }
    public enum Visibility: UInt8, Sendable {
        case `default` = 0
        case `internal` = 1
        case hidden = 2
        case protected = 3
    }
    public enum Place: Sendable, Hashable {
        case undefined, absolute, common
        case section(SectionIndex)
    }

    public var index: SymbolIndex
    public var name: String
    /// Offset in the section (relocatable) or address; alignment for common symbols.
    public var value: UInt64
    public var size: UInt64
    public var binding: Binding
    public var kind: Kind
    public var visibility: Visibility
    public var place: Place
    /// Symbol version of a dynamic symbol, without `@`: `GLIBC_2.14`.
    public var version: String?
    /// The library that the version table of an undefined dynamic symbol names.
    public var versionLibrary: String?
    /// The dynamic symbol's version is a hidden (`name@VERSION`, not the default) one.
    public var versionHidden = false

    public init(
        index: SymbolIndex, name: String, value: UInt64, size: UInt64, binding: Binding, kind: Kind,
        visibility: Visibility = .default, place: Place
    ) {
        self.index = index
        self.name = name
        self.value = value
        self.size = size
        self.binding = binding
        self.kind = kind
        self.visibility = visibility
        self.place = place
    }

    public var isDefined: Bool { place != .undefined }
    public var sectionIndex: SectionIndex? { if case .section(let index) = place { index } else { nil } }
}

public struct Relocation: Sendable, Hashable {
    /// Offset in the section (relocatable), or address.
    public var offset: UInt64
    /// `R_X86_64_…`
    public var type: RelocationType
    public var symbol: SymbolIndex
    public var addend: Int64
    public init(offset: UInt64, type: RelocationType, symbol: SymbolIndex, addend: Int64) {
        self.offset = offset
        self.type = type
        self.symbol = symbol
        self.addend = addend
    }
}

public struct Segment: Sendable, Hashable {
    /// `PT_…`
    public var type: UInt32
    /// `PF_…`
    public var flags: UInt32
    public var fileOffset: UInt64
    public var address: UInt64
    public var fileSize: UInt64
    public var memorySize: UInt64
    public var alignment: UInt64
    public init(
        type: UInt32, flags: UInt32, fileOffset: UInt64, address: UInt64, fileSize: UInt64, memorySize: UInt64,
        alignment: UInt64
    ) {
        self.type = type
        self.flags = flags
        self.fileOffset = fileOffset
        self.address = address
        self.fileSize = fileSize
        self.memorySize = memorySize
        self.alignment = alignment
    }
}
