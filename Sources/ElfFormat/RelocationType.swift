/// `R_X86_64_…`, by number: the names and the table of the x86-64 psABI (version 1.0, tables 4.10 and 4.11).
///
/// All that the tools know of a type stands in its row. The rest follows from the row, in RelocationProperties.swift.
public struct RelocationType: RawRepresentable, Sendable, Hashable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

extension RelocationType {
    public static let none = RelocationType(rawValue: 0)
    public static let abs64 = RelocationType(rawValue: 1)
    public static let pc32 = RelocationType(rawValue: 2)
    public static let got32 = RelocationType(rawValue: 3)
    public static let plt32 = RelocationType(rawValue: 4)
    public static let copy = RelocationType(rawValue: 5)
    public static let globDat = RelocationType(rawValue: 6)
    public static let jumpSlot = RelocationType(rawValue: 7)
    public static let relative = RelocationType(rawValue: 8)
    public static let gotpcrel = RelocationType(rawValue: 9)
    public static let abs32 = RelocationType(rawValue: 10)
    public static let abs32s = RelocationType(rawValue: 11)
    public static let abs16 = RelocationType(rawValue: 12)
    public static let pc16 = RelocationType(rawValue: 13)
    public static let abs8 = RelocationType(rawValue: 14)
    public static let pc8 = RelocationType(rawValue: 15)
    public static let dtpmod64 = RelocationType(rawValue: 16)
    public static let dtpoff64 = RelocationType(rawValue: 17)
    public static let tpoff64 = RelocationType(rawValue: 18)
    public static let tlsgd = RelocationType(rawValue: 19)
    public static let tlsld = RelocationType(rawValue: 20)
    public static let dtpoff32 = RelocationType(rawValue: 21)
    public static let gottpoff = RelocationType(rawValue: 22)
    public static let tpoff32 = RelocationType(rawValue: 23)
    public static let pc64 = RelocationType(rawValue: 24)
    public static let gotoff64 = RelocationType(rawValue: 25)
    public static let gotpc32 = RelocationType(rawValue: 26)
    public static let got64 = RelocationType(rawValue: 27)
    public static let gotpcrel64 = RelocationType(rawValue: 28)
    public static let gotpc64 = RelocationType(rawValue: 29)
    public static let gotplt64 = RelocationType(rawValue: 30)
    public static let pltoff64 = RelocationType(rawValue: 31)
    public static let size32 = RelocationType(rawValue: 32)
    public static let size64 = RelocationType(rawValue: 33)
    public static let gotpc32TLSDesc = RelocationType(rawValue: 34)
    public static let tlsDescCall = RelocationType(rawValue: 35)
    public static let tlsDesc = RelocationType(rawValue: 36)
    public static let irelative = RelocationType(rawValue: 37)
    public static let relative64 = RelocationType(rawValue: 38)
    public static let pc32BND = RelocationType(rawValue: 39)
    public static let plt32BND = RelocationType(rawValue: 40)
    public static let gotpcrelx = RelocationType(rawValue: 41)
    public static let rexGotpcrelx = RelocationType(rawValue: 42)

    /// What the field is computed from: S is the symbol, A the addend, P the field's own place, B the base address, L the
    /// symbol's PLT entry, G the offset of its slot in the GOT, Z its size.
    public enum Calculation: Sendable, Hashable {
        case nothing
        /// S + A
        case address
        /// S + A − P
        case distance
        /// L + A − P
        case callDistance
        /// G + GOT + A − P
        case slotDistance
        /// S: a slot that the dynamic linker fills.
        case symbol
        /// B + A
        case base
        /// What the function at B + A returns.
        case chosen
        /// The symbol's bytes.
        case copy
        /// Z + A
        case size
        /// From the GOT on, or to it: code of the large model.
        case tableOffset, tableDistance
        /// The number of the module that has the thread-local, or the two words by which `__tls_get_addr` finds it.
        case moduleNumber, modulePairDistance
        /// Offset in the block of thread-locals, or from the thread pointer, or the distance to a slot that holds the latter.
        case blockOffset, threadPointerOffset, threadPointerSlotDistance
        /// A descriptor of a thread-local, and the distance to one.
        case descriptor, descriptorDistance
    }

    /// How a thread-local is reached (psABI, "Thread-Local Storage").
    public enum TLSModel: Sendable, Hashable {
        case generalDynamic, localDynamic, initialExec, localExec, descriptor
    }

    /// What a linker may make of the code around the field (psABI, "Optimize GOTPCRELX", and the TLS document's
    /// "Linker Optimizations"): trap linker-relaxations.
    public enum Relaxation: Sendable, Hashable {
        /// A load from a slot becomes the address itself, a call or jump through it a direct one.
        case slotToAddress
        /// The call of `__tls_get_addr` becomes a load of the offset, or a constant.
        case generalDynamic, localDynamic
        /// The load of the offset becomes a constant.
        case initialExec
        /// The descriptor, and its call, become a load of the offset or a constant and a nop.
        case descriptor, descriptorCall
    }

    struct Row {
        /// Without `R_X86_64_`.
        var name: StaticString
        /// Bytes.
        var fieldSize: Int
        var calculation: Calculation
        var tlsModel: TLSModel?
        var relaxation: Relaxation?

        init(
            _ name: StaticString, _ fieldSize: Int, _ calculation: Calculation, _ tlsModel: TLSModel? = nil,
            relaxes relaxation: Relaxation? = nil
        ) {
            self.name = name
            self.fieldSize = fieldSize
            self.calculation = calculation
            self.tlsModel = tlsModel
            self.relaxation = relaxation
        }
    }

    /// By number.
    static let table: [Row] = [
        Row("NONE", 0, .nothing),
        Row("64", 8, .address),
        Row("PC32", 4, .distance),
        Row("GOT32", 4, .tableOffset),
        Row("PLT32", 4, .callDistance),
        Row("COPY", 0, .copy),
        Row("GLOB_DAT", 8, .symbol),
        Row("JUMP_SLOT", 8, .symbol),
        Row("RELATIVE", 8, .base),
        Row("GOTPCREL", 4, .slotDistance),
        Row("32", 4, .address),
        Row("32S", 4, .address),
        Row("16", 2, .address),
        Row("PC16", 2, .distance),
        Row("8", 1, .address),
        Row("PC8", 1, .distance),
        Row("DTPMOD64", 8, .moduleNumber, .generalDynamic),
        Row("DTPOFF64", 8, .blockOffset, .generalDynamic),
        Row("TPOFF64", 8, .threadPointerOffset, .initialExec),
        Row("TLSGD", 4, .modulePairDistance, .generalDynamic, relaxes: .generalDynamic),
        Row("TLSLD", 4, .modulePairDistance, .localDynamic, relaxes: .localDynamic),
        Row("DTPOFF32", 4, .blockOffset, .localDynamic),
        Row("GOTTPOFF", 4, .threadPointerSlotDistance, .initialExec, relaxes: .initialExec),
        Row("TPOFF32", 4, .threadPointerOffset, .localExec),
        Row("PC64", 8, .distance),
        Row("GOTOFF64", 8, .tableOffset),
        Row("GOTPC32", 4, .tableDistance),
        Row("GOT64", 8, .tableOffset),
        Row("GOTPCREL64", 8, .slotDistance),
        Row("GOTPC64", 8, .tableDistance),
        Row("GOTPLT64", 8, .tableOffset),
        Row("PLTOFF64", 8, .tableOffset),
        Row("SIZE32", 4, .size),
        Row("SIZE64", 8, .size),
        Row("GOTPC32_TLSDESC", 4, .descriptorDistance, .descriptor, relaxes: .descriptor),
        Row("TLSDESC_CALL", 0, .nothing, .descriptor, relaxes: .descriptorCall),
        Row("TLSDESC", 16, .descriptor, .descriptor),
        Row("IRELATIVE", 8, .chosen),
        Row("RELATIVE64", 8, .base),
        Row("PC32_BND", 4, .distance),
        Row("PLT32_BND", 4, .callDistance),
        Row("GOTPCRELX", 4, .slotDistance, relaxes: .slotToAddress),
        Row("REX_GOTPCRELX", 4, .slotDistance, relaxes: .slotToAddress),
    ]
}
