import ObjectFiles

/// What one link's code or data refers to, and where the same place of the other link leads.
struct LinkedReference {
    var from: UInt64
    var to: UInt64
    /// An instruction that reads or writes there: its address lies in the object that is meant. A pointer need not: it may be
    /// to the end of the object before, or to a place that an index is added to.
    var isAccess: Bool

    var shift: UInt64 { to &- from }
}

/// The data of a rebuilt file, and where references say that it lies in the official one.
struct DataAlignment {
    private struct Datum {
        var address: UInt64
        var size: UInt64
        var section: SectionIndex
        /// Only a name for a place, whose size nobody knows: it reaches to the next one.
        var isLabel: Bool

        var end: UInt64 { address &+ size }
    }

    /// A section of both files: how far its start and its end are apart. Nil where the official file has none.
    private struct Anchor {
        var start: UInt64
        var end: UInt64
        /// Bytes that are the same in every process, where they are.
        var contents: (ours: Section, theirs: Section)?
    }

    /// What references say of a datum.
    private struct Evidence {
        /// Indices of the references.
        var references: Range<Int>
        /// How far apart both places are; nil where there are no references, or they contradict each other.
        var shift: UInt64?
    }

    /// In order of their addresses, each once.
    private var data: [Datum] = []
    private var anchors: [SectionIndex: Anchor] = [:]
    /// Pointers that the dynamic linker relocates, in order.
    private let pointers: [(place: UInt64, value: UInt64)]
    private let officialPointers: [UInt64: UInt64]
    /// By address in the rebuilt file: the proved one in the official file.
    private(set) var locations: [UInt64: UInt64] = [:]

    init(rebuilt: ObjectFile, official: ObjectFile) {
        pointers = relativeRelocations(rebuilt).sorted { $0.place < $1.place }
        officialPointers = Dictionary(
            relativeRelocations(official).map { ($0.place, $0.value) }, uniquingKeysWith: { first, _ in first })
        for section in rebuilt.sections where section.isAllocated && !section.isExecutable && !section.isThreadLocal {
            guard section.address < .max - section.size, let other = official.section(named: section.name),
                !other.isThreadLocal
            else { continue }
            let (end, otherEnd) = (section.address &+ section.size, other.address &+ other.size)
            anchors[section.index] = Anchor(
                start: other.address &- section.address, end: otherEnd &- end,
                contents: section.isWritable || other.isWritable ? nil : (section, other))
        }
        addData(rebuilt)
    }

    private mutating func addData(_ file: ObjectFile) {
        var sizes: [UInt64: (size: UInt64, section: SectionIndex)] = [:]
        for symbol in file.symbols {
            guard let section = symbol.sectionIndex, anchors[section] != nil, !symbol.name.isEmpty,
                symbol.kind != .section, symbol.kind != .file, symbol.kind != .threadLocal
            else { continue }
            sizes[symbol.value] = (max(sizes[symbol.value]?.size ?? 0, symbol.size), section)
        }
        let ordered = sizes.sorted { $0.key < $1.key }
        for (index, (address, datum)) in ordered.enumerated() {
            let section = file.sections[datum.section]
            let next = index + 1 < ordered.count ? ordered[index + 1].key : .max
            let room = min(next, section.address &+ section.size) &- address
            let size = datum.size > 0 ? datum.size : room
            guard size > 0, size < 1 << 48 else { continue }
            data.append(Datum(address: address, size: size, section: datum.section, isLabel: datum.size == 0))
        }
    }

    /// Finds what `references`, in order of their `from`, and then the pointers in the data that was found, tell.
    ///
    /// - Returns: the references that those pointers are.
    mutating func settle(_ references: [LinkedReference]) -> [LinkedReference] {
        var more: [LinkedReference] = []
        locations = weigh(references)
        for _ in 0..<8 {
            let found = pointersInLocated()
            if found.count == more.count { break }
            more = found
            locations = weigh((references + more).sorted { $0.from < $1.from })
        }
        return more
    }

    private func pointersInLocated() -> [LinkedReference] {
        var found: [LinkedReference] = []
        var next = 0
        for datum in data {
            while next < pointers.count, pointers[next].place < datum.address { next += 1 }
            guard next < pointers.count, pointers[next].place - datum.address < datum.size,
                let location = locations[datum.address]
            else { continue }
            var index = next
            while index < pointers.count, pointers[index].place - datum.address < datum.size {
                let (place, value) = pointers[index]
                if let other = officialPointers[place &- datum.address &+ location] {
                    found.append(LinkedReference(from: value, to: other, isAccess: false))
                }
                index += 1
            }
        }
        return found
    }

    // MARK: evidence

    private func weigh(_ references: [LinkedReference]) -> [UInt64: UInt64] {
        let evidence = evidence(references)
        var found: [UInt64: UInt64] = [:]
        for (index, datum) in data.enumerated() {
            guard let shift = evidence[index].shift else { continue }
            let isBetween = [-1, 1].allSatisfy { neighbour(of: index, by: $0, evidence) == shift }
            let isMeant = evidence[index].references.contains { number in
                let (reference, isElsewhere) = (references[number], references[number].shift != shift)
                return !isElsewhere && (reference.isAccess || !mayComeFromNeighbour(reference, index, evidence))
            }
            if isBetween || isMeant || isSameConstant(datum, shift) { found[datum.address] = datum.address &+ shift }
        }
        return found
    }

    private func evidence(_ references: [LinkedReference]) -> [Evidence] {
        var first = 0
        var found = data.map { datum in
            while first < references.count, references[first].from < datum.address { first += 1 }
            var last = first
            while last < references.count, references[last].from - datum.address < datum.size { last += 1 }
            let accesses = references[first..<last].lazy.filter(\.isAccess)
            let deciding = accesses.isEmpty ? references[first..<last] : Array(accesses)[...]
            let shift = deciding.first.flatMap { one in deciding.allSatisfy { $0.shift == one.shift } ? one.shift : nil
            }
            return Evidence(references: first..<last, shift: shift)
        }
        // Beside what reads it, only pointers that may be a neighbour's can lead elsewhere.
        for (index, one) in found.enumerated() {
            let isContradicted = one.references.contains { number in
                references[number].shift != one.shift && !mayComeFromNeighbour(references[number], index, found)
            }
            if isContradicted { found[index].shift = nil }
        }
        return found
    }

    /// A pointer may be to the end of the array before this datum, or to a member behind that end; or count from an element
    /// before the start of the next one: an element is half an array at most. It is not where that one is shifted
    /// otherwise.
    private func mayComeFromNeighbour(_ reference: LinkedReference, _ index: Int, _ evidence: [Evidence]) -> Bool {
        func isFit(_ other: Int, _ isNear: (Datum) -> Bool) -> Bool {
            guard data.indices.contains(other), !data[other].isLabel, isNear(data[other]) else { return false }
            return evidence[other].shift == nil || evidence[other].shift == reference.shift
        }
        if reference.isAccess { return false }
        return isFit(index - 1) { reference.from >= $0.end && reference.from - $0.end < ($0.size + 1) / 2 }
            || isFit(index + 1) {
                $0.address >= reference.from && $0.address - reference.from <= $0.size / 2
            }
    }

    /// How the nearest datum of the section that anything refers to, or the section's end, is shifted.
    private func neighbour(of index: Int, by step: Int, _ evidence: [Evidence]) -> UInt64? {
        var next = index + step
        while data.indices.contains(next), data[next].section == data[index].section {
            if let shift = evidence[next].shift { return shift }
            next += step
        }
        return anchors[data[index].section].map { step < 0 ? $0.start : $0.end }
    }

    /// A constant of the same value, without pointers, does as well as the one that is meant.
    private func isSameConstant(_ datum: Datum, _ shift: UInt64) -> Bool {
        guard let (ours, theirs) = anchors[datum.section]?.contents,
            let held = ours.bytes(at: datum.address, count: datum.size),
            let found = theirs.bytes(at: datum.address &+ shift, count: datum.size)
        else { return false }
        return held == found
    }
}

extension Section {
    fileprivate func bytes(at place: UInt64, count: UInt64) -> ArraySlice<UInt8>? {
        guard place >= address, place - address <= UInt64(data.count), count <= UInt64(data.count) - (place - address)
        else { return nil }
        let start = Int(place - address)
        return data[start..<start + Int(count)]
    }
}

private func relativeRelocations(_ file: ObjectFile) -> [(place: UInt64, value: UInt64)] {
    file.dynamicRelocations.filter { $0.type == .relative }.map { ($0.offset, UInt64(bitPattern: $0.addend)) }
}
