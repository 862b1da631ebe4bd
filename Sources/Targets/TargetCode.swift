import MachineCode
import ObjectFiles
import PatchFormat

/// The code of a linked file and everything in the file that says where code is entered: what entry kinds rest on.
package struct TargetCode: Sendable {
    var file: ObjectFile
    /// Every symbol with an address in an executable section, by address, then in file order.
    package var symbols: [SymbolSpan]
    /// Addresses in executable sections that other code or data names, in order, each once.
    var knownTargets: [UInt64]
    private var codeSections: [Section]

    /// Disassembles every executable section of `file` once. `symbolFile` is the unstripped ELF of the same build, where
    /// `file` has lost its symbols.
    init(_ file: ObjectFile, symbols symbolFile: ObjectFile? = nil) {
        self.file = file
        codeSections = file.sections.filter {
            $0.isAllocated && $0.isExecutable && !$0.data.isEmpty && $0.address <= .max - UInt64($0.data.count)
        }
        symbols = codeSymbols(symbolFile ?? file)
        knownTargets = []
        var targets = Set<UInt64>()
        sweep(&targets)
        targets.formUnion(relocatedAddresses())
        knownTargets = targets.filter { section(at: $0) != nil }.sorted()
    }

    /// How the entry of the function at `range` takes a jump; `none` where the file has no code there.
    func entry(of range: AddressRange, coldRanges: [AddressRange] = []) -> EntryAnalysis {
        guard let code = function(range, coldRanges: coldRanges) else {
            var analysis = EntryAnalysis(kind: .none)
            analysis.reasons = ["the file has no code at its address"]
            return analysis
        }
        return analyzeEntry(code)
    }

    /// What entry analysis asks for, of the function at `range`; nil where the range is not in one section of code.
    package func function(_ range: AddressRange, coldRanges: [AddressRange] = []) -> FunctionCode? {
        guard let main = part(range), let section = section(at: range.address) else { return nil }
        let cold = coldRanges.compactMap(part)
        guard cold.count == coldRanges.count else { return nil }
        let start = Int(range.address - section.address)
        let end = start + main.bytes.count
        // Behind a pad the jump may lie further on than the first 5 bytes.
        let reach = range.address &+ 64
        return FunctionCode(
            main: main, coldParts: cold, before: Array(section.data[max(0, start - 16)..<start]),
            after: Array(section.data[end..<min(section.data.count, end + 32)]),
            symbols: Array(slice(of: symbols, from: range.address, to: reach, by: \.address)),
            knownTargets: Array(slice(of: knownTargets, from: range.address, to: reach, by: \.self)))
    }

    private func part(_ range: AddressRange) -> CodePart? {
        guard let section = section(at: range.address) else { return nil }
        let start = Int(range.address - section.address)
        guard range.size <= UInt64(section.data.count - start) else { return nil }
        return CodePart(address: range.address, bytes: Array(section.data[start..<start + Int(range.size)]))
    }

    /// The section of code that holds `address`.
    func section(at address: UInt64) -> Section? {
        codeSections.first { $0.address <= address && address - $0.address < UInt64($0.data.count) }
    }
}

// MARK: Where code is entered

extension TargetCode {
    /// Hands each piece of code, from symbol to symbol, to `body`: its section, its address and its bytes.
    package func forEachPiece(_ body: (Section, UInt64, ArraySlice<UInt8>) -> Void) {
        for section in codeSections {
            let end = section.address &+ UInt64(section.data.count)
            let starts = slice(of: symbols, from: section.address, to: end, by: \.address).map(\.address)
            let bounds = [section.address] + starts + [end]
            for (low, high) in zip(bounds, bounds.dropFirst()) where low < high {
                body(section, low, section.data[Int(low - section.address)..<Int(high - section.address)])
            }
        }
    }

    /// Adds what the instructions of each piece of code, from symbol to symbol, name outside of it.
    private func sweep(_ targets: inout Set<UInt64>) {
        var tables = Set<UInt64>()
        var named = Set<UInt64>()
        forEachPiece { _, low, bytes in
            let range = low..<low &+ UInt64(bytes.count)
            forEachInstruction(bytes, at: low) { instruction in
                if let data = instruction.ripRelativeTarget {
                    named.insert(data)
                    if instruction.takesAddress { tables.insert(data) }
                }
                guard let target = instruction.target ?? instruction.ripRelativeTarget else { return }
                if !range.contains(target) { targets.insert(target) }
            }
        }
        let bounds = named.sorted()
        for table in tables {
            let next = lowerBound(of: table &+ 1, in: bounds, by: \.self)
            addJumpTable(table, end: next < bounds.count ? bounds[next] : .max, &targets)
        }
    }

    /// If there is a table of 4-byte offsets from itself to code at `table`, as position-independent switches have it,
    /// adds where they go. It ends where the next thing that code names begins, or at the first element that leads to
    /// no code: read on, the offsets of the table behind it would lead astray.
    private func addJumpTable(_ table: UInt64, end: UInt64, _ targets: inout Set<UInt64>) {
        let holder = file.sections.first {
            $0.isAllocated && !$0.isExecutable && $0.address <= table && table - $0.address < UInt64($0.data.count)
        }
        guard let holder else { return }
        var offset = Int(table - holder.address)
        while holder.address &+ UInt64(offset) < end, let element: UInt32 = word(holder.data, offset) {
            let target = table &+ UInt64(bitPattern: Int64(Int32(bitPattern: element)))
            guard section(at: target) != nil else { return }
            targets.insert(target)
            offset += 4
        }
    }

    /// Addresses that relocations put into data. A file linked to a fixed address has none: there, every aligned
    /// word of data that looks like an address of code counts.
    private func relocatedAddresses() -> Set<UInt64> {
        var found = Set<UInt64>()
        for relocation in file.dynamicRelocations {
            var address = UInt64(bitPattern: relocation.addend)
            if relocation.symbol > 0, file.dynamicSymbols.indices.contains(relocation.symbol) {
                address = address &+ file.dynamicSymbols[relocation.symbol].value
            }
            found.insert(address)
        }
        if file.kind == .executable { found.formUnion(codePointers) }
        return found
    }

    /// Of a file that is linked to a fixed address: aligned words of data that look like addresses of code.
    var codePointers: Set<UInt64> {
        var found = Set<UInt64>()
        for section in file.sections where section.isAllocated && !section.isExecutable {
            for offset in stride(from: 0, to: section.data.count, by: 8) {
                if let value: UInt64 = word(section.data, offset), self.section(at: value) != nil {
                    found.insert(value)
                }
            }
        }
        return found
    }
}

/// The little-endian integer at `offset`; nil where it does not lie in `bytes`.
func word<Word: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int) -> Word? {
    let size = Word.bitWidth / 8
    guard offset >= 0, offset <= bytes.count - size else { return nil }
    return bytes.withUnsafeBytes { Word(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Word.self)) }
}

/// The elements of a sorted array whose key lies in `[low, high)`.
private func slice<Element>(
    of sorted: [Element], from low: UInt64, to high: UInt64, by key: (Element) -> UInt64
) -> ArraySlice<Element> {
    let start = lowerBound(of: low, in: sorted, by: key)
    return sorted[start..<max(start, lowerBound(of: high, in: sorted, by: key))]
}

func lowerBound<Element>(of value: UInt64, in sorted: [Element], by key: (Element) -> UInt64) -> Int {
    var (low, high) = (0, sorted.count)
    while low < high {
        let middle = (low + high) / 2
        if key(sorted[middle]) < value { low = middle + 1 } else { high = middle }
    }
    return low
}

/// Section and file symbols name no place in code; a thread-local's value is no address.
private func codeSymbols(_ file: ObjectFile) -> [SymbolSpan] {
    let table = file.symbols.isEmpty ? file.dynamicSymbols : file.symbols
    let code = Set(file.sections.filter { $0.isAllocated && $0.isExecutable }.map(\.index))
    let spans = table.filter { symbol in
        guard let section = symbol.sectionIndex, code.contains(section) else { return false }
        return symbol.kind != .section && symbol.kind != .file && symbol.kind != .threadLocal
    }.map { SymbolSpan(name: $0.name, address: $0.value, size: $0.size) }
    return spans.enumerated().sorted { ($0.element.address, $0.offset) < ($1.element.address, $1.offset) }.map(
        \.element)
}
