import ElfFormat
import ObjectFiles
import PatchFormat

/// The manifest's bindings of one target, each once, in the order of first use.
struct BindingList {
    private(set) var bindings: [Binding] = []
    private var known: [Binding: Int] = [:]
    private var imported: [String: Int] = [:]
    private(set) var modules: [(binding: Int, section: SectionIndex)] = []

    mutating func index(of binding: Binding) -> Int {
        if let index = known[binding] { return index }
        known[binding] = bindings.count
        bindings.append(binding)
        return bindings.count - 1
    }

    /// nil when the symbol is known with another version.
    mutating func indexOfImported(_ binding: Binding) -> Int? {
        guard let index = imported[binding.symbol] else {
            imported[binding.symbol] = bindings.count
            bindings.append(binding)
            return bindings.count - 1
        }
        // One strong reference makes the symbol a required one.
        bindings[index].weak = bindings[index].weak && binding.weak
        let isSame = bindings[index].version == binding.version && bindings[index].library == binding.library
        return isSame ? index : nil
    }

    /// The binding that stands for the first byte of a section of the module; its address is known after the link.
    mutating func module(section: SectionIndex, name: String) -> Int {
        if let known = modules.first(where: { $0.section == section }) { return known.binding }
        modules.append((bindings.count, section))
        bindings.append(Binding(kind: .module, symbol: name))
        return bindings.count - 1
    }

    mutating func setAddress(_ address: UInt64, of index: Int) { bindings[index].address = address }
}

/// A relocation that the applier resolves.
struct LiftedRecord {
    /// Section of the module's object.
    var section: SectionIndex
    var offset: UInt64
    var type: RelocationType
    var binding: Int
    var addend: Int64
}

/// What a slot of `.livepatch.got` holds.
enum SlotKey: Hashable {
    /// The value of a binding, and how far behind it.
    case address(Int, offset: Int64 = 0)
    /// The address of a byte of the module.
    case local(section: SectionIndex, offset: Int64)
    /// The thread-local's offset from the thread pointer.
    case threadOffset(Int)
    /// `tls_index` of a thread-local: module and offset.
    case threadPair(Int)
    /// `tls_index` of the target's TLS block: module and zero. All thread-locals of a module lie in its target's.
    case threadModule(Int)
    /// A copy of a TLS descriptor of the target: two words that its slots hold.
    case threadDescriptor(Int, Int)

    var size: UInt64 {
        switch self {
        case .address, .local, .threadOffset: 8
        case .threadPair, .threadModule, .threadDescriptor: 16
        }
    }
}

enum TablePart { case got, plt }

/// A reference from a travelling section to a table that is not written yet.
struct TableReference {
    var site: SectionIndex
    var relocation: Relocation
    var part: TablePart
    var offset: UInt64
}

/// The module's own tables while references to them are collected.
struct ModuleTables {
    var records: [LiftedRecord] = []
    var references: [TableReference] = []
    /// In the order of their places.
    private(set) var slots: [(key: SlotKey, offset: UInt64)] = []
    private var slotOffsets: [SlotKey: UInt64] = [:]
    private var threadModule: UInt64?
    private(set) var gotSize: UInt64 = 0
    /// Fields of 4 bytes that hold the address of a jump: section of the module's object, offset, type, and which.
    var jumpAddresses: [(section: SectionIndex, offset: UInt64, type: RelocationType, jump: UInt64)] = []
    /// Bindings that are jumped to.
    private(set) var jumps: [Int] = []

    /// Bytes of an entry of `.livepatch.plt`.
    static let jumpSize: UInt64 = 8

    /// Offset in `.livepatch.got` of the slot for `key`.
    mutating func slot(_ key: SlotKey) -> UInt64 {
        if case .threadModule = key, let threadModule { return threadModule }
        if let known = slotOffsets[key] { return known }
        let offset = gotSize
        slots.append((key, offset))
        slotOffsets[key] = offset
        if case .threadModule = key { threadModule = offset }
        gotSize += key.size
        return offset
    }

    /// Offset in `.livepatch.plt` of the jump to a binding's value.
    mutating func jump(to binding: Int) -> UInt64 {
        _ = slot(.address(binding))
        if let index = jumps.firstIndex(of: binding) { return UInt64(index) * Self.jumpSize }
        jumps.append(binding)
        return UInt64(jumps.count - 1) * Self.jumpSize
    }
}
