/// What follows from a type's row. Nothing here, and nothing outside, lists types by name to say what a field is.
extension RelocationType: CustomStringConvertible {
    private var row: Row? { isKnown ? Self.table[Int(rawValue)] : nil }

    /// Whether the number is one of the psABI's that the table holds.
    public var isKnown: Bool { rawValue < Self.table.count }

    /// `R_X86_64_PC32`; `R_X86_64_(200)` for a number that is not known.
    public var description: String { "R_X86_64_" + (row?.name.description ?? "(\(rawValue))") }

    /// Bytes written at the relocation's offset; 0 for `NONE`, `TLSDESC_CALL`, `COPY` (as long as its symbol) and
    /// for unknown types.
    public var fieldSize: Int { row?.fieldSize ?? 0 }

    public var calculation: Calculation { row?.calculation ?? .nothing }
    public var tlsModel: TLSModel? { row?.tlsModel }
    public var relaxation: Relaxation? { row?.relaxation }

    /// The field holds a distance from its own place.
    public var isPCRelative: Bool {
        switch calculation {
        case .distance, .callDistance, .slotDistance, .tableDistance: true
        case .modulePairDistance, .threadPointerSlotDistance, .descriptorDistance: true
        default: false
        }
    }

    /// The field, of 4 bytes, holds the distance to a slot of the GOT that holds the symbol's address.
    public var isNearSlot: Bool { fieldSize == 4 && calculation == .slotDistance }

    /// A slot of the GOT that the dynamic linker fills with a symbol's address: `GLOB_DAT`, `JUMP_SLOT`.
    public var isFilledSlot: Bool { calculation == .symbol }

    /// The field, of 4 bytes, holds the symbol's address or the distance to it, in code that takes it for the program's own.
    public var isDirect: Bool { fieldSize == 4 && (calculation == .address || calculation == .distance) }

    /// The field, of 4 bytes, holds the distance to the symbol or to its PLT entry.
    public var isNear: Bool { fieldSize == 4 && (calculation == .distance || calculation == .callDistance) }

    /// Through a slot or a PLT, or as a word that the dynamic linker fills: what a library's code uses for symbols that may
    /// be preempted.
    public var mayBePreempted: Bool {
        calculation == .callDistance || calculation == .slotDistance || self == .abs64
    }

    /// As assembly code writes it behind the symbol's name: `@tlsgd`; nil where it writes nothing.
    public var assemblySuffix: String? {
        switch (calculation, tlsModel) {
        case (.slotDistance, _): "@GOT"
        case (.modulePairDistance, .generalDynamic): "@tlsgd"
        case (.modulePairDistance, _): "@tlsld"
        case (.threadPointerSlotDistance, _): "@gottpoff"
        case (.threadPointerOffset, .localExec): "@tpoff"
        case (.blockOffset, .localDynamic): "@dtpoff"
        default: nil
        }
    }
}
