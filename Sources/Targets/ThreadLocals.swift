import ElfFormat
import ObjectFiles

/// How a linked file's code reaches its own thread-locals, which are known by their offsets in its block.
package struct ThreadLocals: Sendable {
    /// Of the block, up to where the thread pointer points in a program: offsets from it count back from there.
    private(set) var size: UInt64 = 0
    /// By the address of a slot or of a pair of slots: the offset that code reads there.
    private(set) var slots: [UInt64: UInt64] = [:]
    /// Those slots that may be for the block as a whole, from which code counts on.
    private(set) var blockSlots: Set<UInt64> = []

    init(_ file: ObjectFile) {
        guard let block = file.segments.first(where: { $0.type == PT.tls }), block.memorySize < 1 << 40,
            block.alignment < 1 << 32
        else { return }
        let alignment = max(1, block.alignment)
        size = (block.memorySize + alignment - 1) / alignment * alignment
        let relocations = file.dynamicRelocations
        let second = Dictionary(
            relocations.filter { $0.type == .dtpoff64 }.map { ($0.offset, $0) }, uniquingKeysWith: { first, _ in first }
        )
        for relocation in relocations {
            switch relocation.type {
            case .tpoff64, .tlsDesc: slots[relocation.offset] = offset(relocation, file)
            case .dtpmod64:
                if let other = second[relocation.offset &+ 8] {
                    slots[relocation.offset] = offset(other, file)
                } else if relocation.symbol == 0, let bytes = file.bytes(address: relocation.offset &+ 8, size: 8) {
                    let offset = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                    slots[relocation.offset] = offset
                    if offset == 0 { blockSlots.insert(relocation.offset) }
                }
            default: break
            }
        }
    }

    /// Nil for another object's thread-local.
    private func offset(_ relocation: Relocation, _ file: ObjectFile) -> UInt64? {
        let addend = UInt64(bitPattern: relocation.addend)
        guard relocation.symbol > 0 else { return addend }
        guard file.dynamicSymbols.indices.contains(relocation.symbol) else { return nil }
        let symbol = file.dynamicSymbols[relocation.symbol]
        return symbol.isDefined ? symbol.value &+ addend : nil
    }

    /// The offset in the block of what lies at a distance from the thread pointer; nil where that is not in the block.
    func offset(fromPointer distance: Int64) -> UInt64? {
        guard distance < 0, distance.magnitude <= size else { return nil }
        return size - distance.magnitude
    }

    package func offset(_ place: ThreadPlace) -> UInt64? {
        switch place {
        case .fromPointer(let distance): offset(fromPointer: distance)
        case .inBlock(let offset): offset < size ? offset : nil
        case .slot(let address): slots[address]
        }
    }
}

/// Where linked code takes a thread-local's place from.
package enum ThreadPlace {
    /// Distance from the thread pointer.
    case fromPointer(Int64)
    case inBlock(UInt64)
    /// What the slot, pair of slots or descriptor at an address holds.
    case slot(UInt64)
}
