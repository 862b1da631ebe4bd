import ObjectFiles

/// How a linked file's code reaches its own thread-locals, which are known by their offsets in its block.
struct ThreadLocals: Sendable {
    /// Of the block, up to where the thread pointer points in a program: offsets from it count back from there.
    private(set) var size: UInt64 = 0
    /// By the address of a slot or of a pair of slots: the offset that code reads there.
    private(set) var slots: [UInt64: UInt64] = [:]
    /// Those slots that may be for the block as a whole, from which code counts on.
    private(set) var blockSlots: Set<UInt64> = []

    init(_ file: ObjectFile) {
        guard let block = file.segments.first(where: { $0.type == 7 }), block.memorySize < 1 << 40,
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

    func offset(_ place: ThreadPlace) -> UInt64? {
        switch place {
        case .fromPointer(let distance): offset(fromPointer: distance)
        case .inBlock(let offset): offset < size ? offset : nil
        case .slot(let address): slots[address]
        }
    }
}

/// Where linked code takes a thread-local's place from.
enum ThreadPlace {
    /// Distance from the thread pointer.
    case fromPointer(Int64)
    case inBlock(UInt64)
    /// What the slot, pair of slots or descriptor at an address holds.
    case slot(UInt64)
}

/// What the code and the dynamic symbols of two links tell of their thread-locals: offset in the rebuilt file's block, offset
/// in the official one's.
struct ThreadAlignment {
    private var pairs: [(from: UInt64, to: UInt64)] = []

    init(_ alignment: BuildAlignment, rebuilt: ObjectFile, official: ObjectFile) {
        let (ours, theirs) = (ThreadLocals(rebuilt), ThreadLocals(official))
        guard ours.size > 0, theirs.size > 0 else { return }
        for reference in alignment.references where !ours.blockSlots.contains(reference.from) {
            guard let from = ours.slots[reference.from], let to = theirs.slots[reference.to] else { continue }
            pairs.append((from, to))
        }
        // The same distances, since the code is equal.
        let distances = alignment.functions.indices.filter { alignment.isLocated[$0] }.flatMap {
            alignment.functions[$0].threadAccesses
        }
        for distance in Set(distances) {
            guard let from = ours.offset(fromPointer: Int64(distance)),
                let to = theirs.offset(fromPointer: Int64(distance))
            else { continue }
            pairs.append((from, to))
        }
        let (before, after) = (exports(rebuilt), exports(official))
        pairs += before.compactMap { name, from in after[name].map { (from, $0) } }
        pairs.sort { $0.from < $1.from }
    }

    private func exports(_ file: ObjectFile) -> [String: UInt64] {
        let symbols = file.dynamicSymbols.filter { $0.kind == .threadLocal && $0.isDefined }
        return Dictionary(grouping: symbols, by: \.name).filter { $0.value.count == 1 }.compactMapValues {
            $0.first?.value
        }
    }

    /// The official offset of what lies at `offset`, where all that refers to any byte of it agrees.
    func location(of offset: UInt64, size: UInt64) -> UInt64? {
        var shift: UInt64?
        var index = pairs.partitioningIndex { $0.from >= offset }
        while index < pairs.count, pairs[index].from - offset < max(1, size) {
            let other = pairs[index].to &- pairs[index].from
            if let shift, shift != other { return nil }
            shift = other
            index += 1
        }
        return shift.map { offset &+ $0 }
    }
}
