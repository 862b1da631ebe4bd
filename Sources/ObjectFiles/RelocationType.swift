/// Names and field sizes of the x86-64 psABI (version 1.0, tables 4.10 and 4.11).
extension RelocationType: CustomStringConvertible {
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

    /// By number: name without `R_X86_64_`, and bytes written at the relocation's offset.
    private static let table: [(name: String, fieldSize: Int)] = [
        ("NONE", 0), ("64", 8), ("PC32", 4), ("GOT32", 4), ("PLT32", 4), ("COPY", 0), ("GLOB_DAT", 8),
        ("JUMP_SLOT", 8), ("RELATIVE", 8), ("GOTPCREL", 4), ("32", 4), ("32S", 4), ("16", 2), ("PC16", 2),
        ("8", 1), ("PC8", 1), ("DTPMOD64", 8), ("DTPOFF64", 8), ("TPOFF64", 8), ("TLSGD", 4), ("TLSLD", 4),
        ("DTPOFF32", 4), ("GOTTPOFF", 4), ("TPOFF32", 4), ("PC64", 8), ("GOTOFF64", 8), ("GOTPC32", 4),
        ("GOT64", 8), ("GOTPCREL64", 8), ("GOTPC64", 8), ("GOTPLT64", 8), ("PLTOFF64", 8), ("SIZE32", 4),
        ("SIZE64", 8), ("GOTPC32_TLSDESC", 4), ("TLSDESC_CALL", 0), ("TLSDESC", 16), ("IRELATIVE", 8),
        ("RELATIVE64", 8), ("PC32_BND", 4), ("PLT32_BND", 4), ("GOTPCRELX", 4), ("REX_GOTPCRELX", 4),
    ]

    /// Whether the number is one of the psABI's that this table holds.
    public var isKnown: Bool { rawValue < Self.table.count }

    /// Bytes written at the relocation's offset; 0 for `NONE`, `TLSDESC_CALL`, `COPY` (as long as its symbol) and
    /// for unknown types.
    public var fieldSize: Int { isKnown ? Self.table[Int(rawValue)].fieldSize : 0 }

    /// `R_X86_64_PC32`; `R_X86_64_(200)` for a number that is not known.
    public var description: String {
        isKnown ? "R_X86_64_\(Self.table[Int(rawValue)].name)" : "R_X86_64_(\(rawValue))"
    }
}
