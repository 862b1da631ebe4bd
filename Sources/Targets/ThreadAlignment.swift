import ObjectFiles

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
