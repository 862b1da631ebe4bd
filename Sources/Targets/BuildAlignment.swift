import ElfFormat
import Glibc
import ObjectFiles

/// Two links of nearly the same program: where the functions of one, which has symbols, lie in the other, which has none.
///
/// A rebuild is rarely equal to the official file to the last byte: a build path or a date is longer, a function differs,
/// and what comes behind is shifted. A function is *located* when its instructions are those of the official file, fields
/// that the linker filled in aside, at a place that its own bytes make unique, that lies in one run with a function
/// located so, or that located code refers to. What all located functions refer to must agree with where they lie; the
/// fields then tell the addresses of data, too.
struct BuildAlignment {
    /// One section of code in both files.
    private struct Pair {
        var rebuilt: Section
        var official: Section
        /// Indices of the functions in it.
        var functions: Range<Int>

        var shift: UInt64 { official.address &- rebuilt.address }
    }

    private var pairs: [Pair] = []
    private(set) var functions: [LinkedFunction] = []
    private var pairOf: [Int] = []
    private var indexOf: [UInt64: Int] = [:]
    /// By function: where the official file has equal code, proved or not.
    private var places: [UInt64?] = []
    private(set) var isLocated: [Bool] = []
    /// Functions whose bytes are those of another one of the rebuilt file, fields aside: only what refers to them tells
    /// which is which.
    private var isTwin: [Bool] = []
    /// Functions that a contradiction has ruled out.
    private var isExcluded: [Bool] = []
    /// What located code and data refer to: address in the rebuilt file, address in the official one; in order.
    private(set) var references: [LinkedReference] = []
    private(set) var data: DataAlignment

    init(rebuilt: ObjectFile, official: ObjectFile) {
        data = DataAlignment(rebuilt: rebuilt, official: official)
        addFunctions(rebuilt, official)
        places = [UInt64?](repeating: nil, count: functions.count)
        isLocated = [Bool](repeating: false, count: functions.count)
        isExcluded = isLocated
        markTwins()
        for pair in pairs { place(pair) }
        locateRuns()
        settle(exports: exportReferences(rebuilt, official))
    }

    /// Where the function at `address` of the rebuilt file lies; nil when that is not proved.
    func location(of address: UInt64) -> UInt64? {
        guard let index = indexOf[address], isLocated[index] else { return nil }
        return places[index]
    }

    /// Where the function at `address` should lie by its neighbours, for telling how it differs.
    func guesses(of address: UInt64) -> [UInt64] {
        guard let index = indexOf[address] else { return [] }
        let pair = pairs[pairOf[index]]
        let before = (pair.functions.lowerBound..<index).last { isLocated[$0] }
        let after = (index + 1..<max(index + 1, pair.functions.upperBound)).first { isLocated[$0] }
        let shifts = [before, after].compactMap { $0 }.compactMap { shift(of: $0) }
        return Set(shifts.map { address &+ $0 }).sorted() + (shifts.isEmpty ? [address &+ pair.shift] : [])
    }

    private func shift(of index: Int) -> UInt64? { places[index].map { $0 &- functions[index].address } }

    // MARK: places

    private mutating func addFunctions(_ rebuilt: ObjectFile, _ official: ObjectFile) {
        var sizes: [UInt64: UInt64] = [:]
        for symbol in rebuilt.symbols where symbol.kind == .function || symbol.kind == .indirect {
            guard symbol.sectionIndex != nil, symbol.size > 0 else { continue }
            sizes[symbol.value] = max(sizes[symbol.value] ?? 0, symbol.size)
        }
        let image = rebuilt.kind == .executable ? span(of: rebuilt) : nil
        let threadBlock = ThreadLocals(rebuilt).size
        for section in rebuilt.sections where section.isAllocated && section.isExecutable {
            guard let other = official.section(named: section.name), other.isExecutable else { continue }
            let first = functions.count
            for range in functionRanges(of: section, sizes) {
                let address = section.address &+ UInt64(range.lowerBound)
                indexOf[address] = functions.count
                functions.append(linkedFunction(range, of: section, image: image, threadBlock: threadBlock))
                pairOf.append(pairs.count)
            }
            pairs.append(Pair(rebuilt: section, official: other, functions: first..<functions.count))
        }
    }

    /// Where the official file has the code of the function at `index`: equal instructions, where its neighbours, its own
    /// bytes or a reference say, and nothing that contradicts it. A twin is at the place of one of its twins.
    func coveredPlace(of index: Int) -> UInt64? { isExcluded[index] ? nil : places[index] }

    /// The functions of its section, by their indices.
    func neighbours(of index: Int) -> Range<Int> { pairs[pairOf[index]].functions }

    private mutating func markTwins() {
        isTwin = [Bool](repeating: false, count: functions.count)
        let alike = Dictionary(grouping: functions.indices) { index in
            let (function, data) = (functions[index], pairs[pairOf[index]].rebuilt.data)
            var hasher = Hasher()
            for part in function.ownParts {
                hasher.combine(part)
                hasher.combine(
                    data[function.range.lowerBound + part.lowerBound..<function.range.lowerBound + part.upperBound])
            }
            return hasher.finalize()
        }
        for group in alike.values where group.count > 1 { for index in group { isTwin[index] = true } }
    }

    /// In the order of the link: where the function before it leads, else anywhere where its bytes are unique.
    private mutating func place(_ pair: Pair) {
        var shift = pair.shift
        for index in pair.functions {
            let address = functions[index].address
            if fits(index, at: address &+ shift) {
                places[index] = address &+ shift
            } else if let found = uniquePlace(index) {
                places[index] = found
                shift = found &- address
            }
        }
        for index in pair.functions.reversed() where places[index] == nil && pair.functions.contains(index + 1) {
            guard let shift = self.shift(of: index + 1), fits(index, at: functions[index].address &+ shift) else {
                continue
            }
            places[index] = functions[index].address &+ shift
        }
    }

    private func fits(_ index: Int, at address: UInt64) -> Bool {
        let (function, pair) = (functions[index], pairs[pairOf[index]])
        let start = address &- pair.official.address
        let (count, size) = (UInt64(pair.official.data.count), UInt64(function.range.count))
        guard start < count, size <= count - start else { return false }
        return pair.rebuilt.data.withUnsafeBytes { ours in
            pair.official.data.withUnsafeBytes { theirs in
                function.isEqual(
                    UnsafeRawBufferPointer(rebasing: ours[function.range]),
                    to: UnsafeRawBufferPointer(rebasing: theirs[Int(start)..<Int(start + size)]))
            }
        }
    }

    /// The only place of the official section that has this function's bytes; nil where there are none or several, or
    /// where the function has too few bytes to be told from others.
    private func uniquePlace(_ index: Int) -> UInt64? {
        let (function, pair) = (functions[index], pairs[pairOf[index]])
        let parts = function.fixedParts
        guard let longest = parts.max(by: { $0.count < $1.count }), longest.count >= 8,
            parts.reduce(0, { $0 + $1.count }) >= 24
        else { return nil }
        let start = function.range.lowerBound + longest.lowerBound
        var found: UInt64?
        let isUnique = forEachOccurrence(
            of: pair.rebuilt.data[start..<start + longest.count], in: pair.official.data
        ) { offset in
            let address = pair.official.address &+ UInt64(offset) &- UInt64(longest.lowerBound)
            guard offset >= longest.lowerBound, fits(index, at: address) else { return true }
            defer { found = address }
            return found == nil
        }
        return isUnique ? found : nil
    }

    // MARK: proof

    /// A run of neighbours that are shifted alike is located when one of them can lie nowhere else. Twins of it are not:
    /// units linked in another order have them at each other's places, and an official one that differs leaves its place
    /// to the other.
    private mutating func locateRuns() {
        for pair in pairs {
            var start = pair.functions.lowerBound
            while start < pair.functions.upperBound {
                var end = start + 1
                while end < pair.functions.upperBound, shift(of: end) == shift(of: start) { end += 1 }
                if places[start] != nil {
                    let run = (start..<end).filter { !isTwin[$0] }.sorted {
                        functions[$0].range.count > functions[$1].range.count
                    }
                    if run.prefix(8).contains(where: { uniquePlace($0) == places[$0] }) {
                        for index in run { isLocated[index] = true }
                    }
                }
                start = end
            }
        }
    }

    /// Until nothing changes: what located code refers to locates more, or contradicts.
    private mutating func settle(exports: [LinkedReference]) {
        for _ in 0..<12 {
            references = (codeReferences() + exports).sorted { $0.from < $1.from }
            references = (references + data.settle(references)).sorted { $0.from < $1.from }
            let isExcluded = excludeContradicted()
            let isFurther = locateReferred()
            if !isExcluded, !isFurther { return }
        }
    }

    private func codeReferences() -> [LinkedReference] {
        var result: [LinkedReference] = []
        for index in functions.indices where isLocated[index] {
            guard let place = places[index] else { continue }
            forEachReference(index, at: place) { result.append($0) }
        }
        return result
    }

    private func forEachReference(_ index: Int, at place: UInt64, _ body: (LinkedReference) -> Void) {
        let (function, pair) = (functions[index], pairs[pairOf[index]])
        let start = Int(place &- pair.official.address)
        let theirs = pair.official.data[start..<start + function.range.count]
        for field in function.fields {
            let from = field.target(in: pair.rebuilt.data[function.range], at: function.address)
            let to = field.target(in: theirs, at: place)
            body(LinkedReference(from: from, to: to, isAccess: field.isAccess))
            guard let access = field.access.map({ UInt64(bitPattern: Int64($0)) }) else { continue }
            body(LinkedReference(from: from &+ access, to: to &+ access, isAccess: true))
        }
    }

    /// Where all references to `address` lead; nil where there are none, or they contradict each other.
    private func destination(of address: UInt64) -> UInt64? {
        var index = references.partitioningIndex { $0.from >= address }
        var place: UInt64?
        while index < references.count, references[index].from == address {
            if let place, place != references[index].to { return nil }
            place = references[index].to
            index += 1
        }
        return place
    }

    /// A function that located code calls elsewhere, and the code that does, are both in doubt.
    private mutating func excludeContradicted() -> Bool {
        var contradicted: Set<Int> = []
        for reference in references {
            guard let index = indexOf[reference.from], isLocated[index], places[index] != reference.to else { continue }
            contradicted.insert(index)
        }
        guard !contradicted.isEmpty else { return false }
        for index in functions.indices where isLocated[index] {
            guard let place = places[index] else { continue }
            forEachReference(index, at: place) { reference in
                guard let callee = indexOf[reference.from], contradicted.contains(callee),
                    places[callee] != reference.to
                else { return }
                contradicted.insert(index)
            }
        }
        for index in contradicted {
            isLocated[index] = false
            isExcluded[index] = true
        }
        return true
    }

    private mutating func locateReferred() -> Bool {
        var isFurther = false
        for index in functions.indices where !isLocated[index] && !isExcluded[index] {
            guard let place = destination(of: functions[index].address), fits(index, at: place) else { continue }
            places[index] = place
            isLocated[index] = true
            isFurther = true
        }
        return isFurther
    }
}

/// Calls `body` with each offset at which `pattern`, of at least 8 bytes, occurs until it returns false; false when it
/// did.
private func forEachOccurrence(
    of pattern: ArraySlice<UInt8>, in data: [UInt8], _ body: (Int) -> Bool
) -> Bool {
    data.withUnsafeBytes { whole in
        pattern.withUnsafeBytes { wanted in
            guard wanted.count >= 8, whole.count >= wanted.count, let base = whole.baseAddress,
                let first = wanted.baseAddress
            else { return true }
            let head = wanted.loadUnaligned(as: UInt64.self)
            for offset in 0...(whole.count - wanted.count)
            where base.loadUnaligned(fromByteOffset: offset, as: UInt64.self) == head {
                guard memcmp(base + offset, first, wanted.count) == 0 else { continue }
                if !body(offset) { return false }
            }
            return true
        }
    }
}

/// What the dynamic symbol tables say: a name at one address is the same definition in both.
private func exportReferences(_ rebuilt: ObjectFile, _ official: ObjectFile) -> [LinkedReference] {
    let (ours, theirs) = (exportedAddresses(rebuilt), exportedAddresses(official))
    return ours.compactMap { name, address in
        theirs[name].map { LinkedReference(from: address, to: $0, isAccess: true) }
    }
}

/// Names that the file exports at one address.
func exportedAddresses(_ file: ObjectFile) -> [String: UInt64] {
    var addresses: [String: UInt64] = [:]
    var several: Set<String> = []
    for symbol in file.dynamicSymbols where symbol.sectionIndex != nil && symbol.kind != .threadLocal {
        if let known = addresses[symbol.name], known != symbol.value { several.insert(symbol.name) }
        addresses[symbol.name] = symbol.value
    }
    return addresses.filter { !several.contains($0.key) }
}

private func span(of file: ObjectFile) -> Range<UInt64>? {
    let loaded = file.segments.filter { $0.type == PT.load }
    guard let low = loaded.map(\.address).min(), let high = loaded.map({ $0.address &+ $0.memorySize }).max(),
        low < high
    else { return nil }
    return low..<high
}
