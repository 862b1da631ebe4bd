import MachineCode
import ObjectFiles

/// The code of an official file, divided into what the rebuilt file has, too, and what it lacks.
package struct OfficialCode: Sendable {
    /// Code of the rebuilt file at its official place.
    package struct LocatedFunction: Sendable {
        package var range: Range<UInt64>
        package var zone: Zone
        /// What the rebuilt file calls it; none for code without a symbol.
        package var names: [String]
        /// The rebuilt file's function, by its number.
        var function: Int
        /// Which of the symbol table's source files it is from, by a number of it; nil where that can't be told.
        package var source: Int?
    }

    /// Code that is none of the rebuilt file's.
    package struct Gap: Sendable {
        package var range: Range<UInt64>
        package var zone: Zone
        /// Indices of the functions around it; nil at the ends of its section.
        package var before: Int?
        package var after: Int?
        /// Where it is as many functions as the rebuilt file has in its place: the names of each of those.
        package var counterparts: [[String]]?
    }

    /// A part of the file in which linkers leave the units whole and in one order: a section; of `.text` two, since what
    /// is rarely run (`.text.unlikely`, `.text.exit`, `.text.startup`, `.text.hot`, each in the order of the units) is put before
    /// the rest.
    package struct Zone: Sendable, Hashable {
        package var section: String
        /// Before the first code of the C runtime, which is the first of the rest.
        package var isEarly: Bool

        package init(section: String, isEarly: Bool) {
            self.section = section
            self.isEarly = isEarly
        }
    }

    /// In order of their addresses.
    package private(set) var functions: [LocatedFunction] = []
    package private(set) var gaps: [Gap] = []
    /// By number: the names of the rebuilt file's sources.
    package private(set) var sources: [String] = []

    init(_ alignment: BuildAlignment, rebuilt: ObjectFile, official: ObjectFile) {
        let start = runtimeStart(rebuilt).flatMap { alignment.location(of: $0) }
        let origins = readOrigins(rebuilt)
        let sections = official.sections.filter {
            // What the linker makes itself.
            $0.isAllocated && $0.isExecutable && !$0.name.hasPrefix(".plt") && !$0.name.hasPrefix(".iplt")
                && $0.address < .max - $0.size
        }.sorted { $0.address < $1.address }
        let placed = alignment.functions.indices.compactMap { index in
            alignment.coveredPlace(of: index).map { (place: $0, function: index) }
        }.sorted { $0.place < $1.place }
        for section in sections {
            let first = placed.partitioningIndex { $0.place >= section.address }
            let last = placed.partitioningIndex { $0.place >= section.address &+ section.size }
            for (place, index) in placed[first..<max(first, last)] {
                let function = alignment.functions[index]
                let zone = Zone(section: section.name, isEarly: start.map { place < $0 } ?? true)
                var found = LocatedFunction(
                    range: place..<place &+ UInt64(function.range.count), zone: zone, names: [], function: index)
                for symbol in origins.symbols[function.address] ?? [] {
                    found.names.append(symbol.name)
                    found.source = symbol.source ?? found.source
                }
                functions.append(found)
            }
            addGaps(of: section, start: start)
        }
        sources = origins.sources
        guard !gaps.isEmpty else { return }
        let described = TargetFrames(official).functions.sorted { $0.lowerBound < $1.lowerBound }
        for index in gaps.indices {
            let names = counterparts(of: gaps[index], alignment).map { origins.symbols[$0]?.map(\.name) ?? [] }
            if names.count == official.count(of: described, filling: gaps[index].range) {
                gaps[index].counterparts = names
            }
        }
    }

    /// The rebuilt file's functions between those around a gap that the official file has nowhere: addresses, in order.
    private func counterparts(of gap: Gap, _ alignment: BuildAlignment) -> [UInt64] {
        let (before, after) = (gap.before.map { functions[$0].function }, gap.after.map { functions[$0].function })
        guard let section = (before ?? after).map({ alignment.neighbours(of: $0) }) else { return [] }
        let (first, last) = (before.map { $0 + 1 } ?? section.lowerBound, after ?? section.upperBound)
        guard first < last else { return [] }
        return (first..<last).filter { alignment.coveredPlace(of: $0) == nil }.map { alignment.functions[$0].address }
    }

    private mutating func addGaps(of section: Section, start: UInt64?) {
        let end = section.address &+ section.size
        let own = functions.indices.reversed().prefix { functions[$0].range.lowerBound >= section.address }.reversed()
        var (at, before) = (section.address, Int?.none)
        for (bound, after) in own.map({ (functions[$0].range.lowerBound, Int?.some($0)) }) + [(end, nil)] {
            if bound > at, let code = section.code(between: at, and: bound) {
                let zone = Zone(section: section.name, isEarly: start.map { code.lowerBound < $0 } ?? true)
                gaps.append(Gap(range: code, zone: zone, before: before, after: after))
            }
            guard let after, functions[after].range.upperBound > at else { continue }
            (at, before) = (functions[after].range.upperBound, after)
        }
    }
}

/// Where the rebuilt file's ordinary code begins: with that of the C runtime's objects, which are linked first.
private func runtimeStart(_ file: ObjectFile) -> UInt64? {
    file.symbols.filter { symbol in
        guard let section = symbol.sectionIndex, file.sections.indices.contains(section) else { return false }
        return ["_start", "deregister_tm_clones"].contains(symbol.name) && file.sections[section].name == ".text"
    }.map(\.value).min()
}

/// By address of code: its names, and the source of each local one by its number.
private func readOrigins(
    _ file: ObjectFile
) -> (symbols: [UInt64: [(name: String, source: Int?)]], sources: [String]) {
    var symbols: [UInt64: [(name: String, source: Int?)]] = [:]
    var sources: [String] = []
    var current: Int?
    for symbol in file.symbols {
        if symbol.kind == .file {
            current = symbol.name.isEmpty ? nil : sources.count
            if !symbol.name.isEmpty { sources.append(symbol.name) }
            continue
        }
        guard let section = symbol.sectionIndex, file.sections.indices.contains(section),
            file.sections[section].isExecutable, symbol.kind != .section, !symbol.name.isEmpty
        else { continue }
        symbols[symbol.value, default: []].append((symbol.name, symbol.binding == .local ? current : nil))
    }
    return (symbols, sources)
}

/// The functions of a section, of `sizes` by their addresses, and what lies between them and is no padding: code that no
/// symbol names.
func functionRanges(of section: Section, _ sizes: [UInt64: UInt64]) -> [Range<Int>] {
    let end = section.address &+ UInt64(section.data.count)
    let named = sizes.keys.filter { $0 >= section.address && $0 < end }.sorted().compactMap { address -> Range<Int>? in
        let start = Int(address - section.address)
        guard let size = sizes[address], size <= UInt64(section.data.count - start) else { return nil }
        return start..<start + Int(size)
    }
    var all: [Range<Int>] = []
    var at = 0
    for range in named + [section.data.count..<section.data.count] {
        if range.lowerBound > at, let code = section.withoutPadding(at..<range.lowerBound) { all.append(code) }
        if !range.isEmpty { all.append(range) }
        at = max(at, range.upperBound)
    }
    return all
}

extension ObjectFile {
    /// How many of `functions`, in order, lie in `range` with nothing but padding between them; nil where there is more.
    fileprivate func count(of functions: [Range<UInt64>], filling range: Range<UInt64>) -> Int? {
        let first = functions.partitioningIndex { $0.lowerBound >= range.lowerBound }
        let last = functions.partitioningIndex { $0.lowerBound >= range.upperBound }
        let section = sections.first {
            $0.isAllocated && $0.address <= range.lowerBound && range.lowerBound - $0.address < $0.size
        }
        guard first < last, let section else { return nil }
        var at = range.lowerBound
        for function in functions[first..<last] {
            guard function.lowerBound >= at, section.code(between: at, and: function.lowerBound) == nil else {
                return nil
            }
            at = function.upperBound
        }
        return at < range.upperBound ? nil : last - first
    }
}

extension Section {
    fileprivate func code(between start: UInt64, and end: UInt64) -> Range<UInt64>? {
        let limit = UInt64(data.count)
        let range = Int(min(start - address, limit))..<Int(min(end - address, limit))
        return withoutPadding(range).map { address &+ UInt64($0.lowerBound)..<address &+ UInt64($0.upperBound) }
    }

    /// From the first to the last instruction of a range that does something; nil where there are only nops and fillers.
    fileprivate func withoutPadding(_ range: Range<Int>) -> Range<Int>? {
        var found: Range<Int>?
        let bytes = data[range]
        forEachInstruction(bytes, at: UInt64(range.lowerBound)) { instruction in
            let (start, end) = (Int(instruction.address), Int(instruction.end))
            if instruction.kind == .nop || bytes[start..<end].allSatisfy({ $0 == 0 || $0 == Encoding.filler }) {
                return
            }
            found = (found?.lowerBound ?? start)..<end
        }
        return found
    }
}
