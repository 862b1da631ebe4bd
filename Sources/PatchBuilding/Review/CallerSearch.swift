import CodeModel
import MachineCode
import ObjectFiles
import Targets

/// Finds in a target's code who calls a function, and what holds its address.
///
/// Bytes that look like a call are candidates; the function that they lie in is decoded, and the instruction must be there.
struct CallerSearch {
    /// A function of the target by its symbol.
    struct Holder {
        var name: String
        var start: UInt64
        var end: UInt64
    }

    /// By index of the holder: the instructions that lead to the function, and those that take its address.
    struct Found {
        var calls: [Int: Int] = [:]
        var takes: Set<Int> = []
        /// Holders that were not looked into.
        var unchecked: Set<Int> = []
    }

    let target: TargetImage
    let holders: [Holder]
    private var decoded: [Int: [UInt64: Instruction]] = [:]
    /// More holders of one function than these are counted only.
    private static let checked = 64

    init(_ target: TargetImage) {
        self.target = target
        let code = Set(target.file.sections.filter { $0.isAllocated && $0.isExecutable }.map(\.index))
        var known: [UInt64: Holder] = [:]
        for symbol in target.symbolFile.symbols where symbol.kind == .function && symbol.size > 0 {
            // Another link's symbols say nothing of this file's sections.
            guard let section = symbol.sectionIndex, target.translated != nil || code.contains(section) else {
                continue
            }
            let (end, overflow) = symbol.value.addingReportingOverflow(symbol.size)
            guard !overflow, known[symbol.value].map({ symbol.name < $0.name }) ?? true else { continue }
            known[symbol.value] = Holder(
                name: VersionedName(symbol.name).base, start: symbol.value, end: end)
        }
        holders = known.values.sorted { $0.start < $1.start }
    }

    func holder(of address: UInt64) -> Int? {
        let index = holders.partitioningIndex { $0.start > address } - 1
        return index >= 0 && address < holders[index].end ? index : nil
    }

    /// Who leads to each of these addresses.
    mutating func references(to addresses: Set<UInt64>) -> [UInt64: Found] {
        let names = aliases(of: addresses)
        var found: [UInt64: Found] = [:]
        for candidate in candidates(for: names) {
            guard let function = names[candidate.target], let holder = holder(of: candidate.site) else { continue }
            var entry = found[function] ?? Found()
            let isKnown = entry.calls[holder] != nil || entry.takes.contains(holder)
            if !isKnown, entry.calls.count >= Self.checked {
                entry.unchecked.insert(holder)
            } else if let instruction = instructions(of: holder)[candidate.site] {
                if instruction.takesAddress, instruction.ripRelativeTarget == candidate.target {
                    entry.takes.insert(holder)
                } else if instruction.target == candidate.target
                    || (instruction.isIndirectBranch && instruction.ripRelativeTarget == candidate.target)
                {
                    entry.calls[holder, default: 0] += 1
                }
            }
            found[function] = entry
        }
        return found
    }

    private mutating func instructions(of holder: Int) -> [UInt64: Instruction] {
        if let known = decoded[holder] { return known }
        let range = holders[holder]
        var found: [UInt64: Instruction] = [:]
        if let bytes = target.bytes(at: range.start, size: range.end - range.start) {
            forEachInstruction(bytes, at: range.start) { found[$0.address] = $0 }
        }
        decoded[holder] = found
        return found
    }

    /// The addresses that stand for a function: itself, and where it is exported, its PLT entries and slots.
    private func aliases(of addresses: Set<UInt64>) -> [UInt64: UInt64] {
        var names = Dictionary(uniqueKeysWithValues: addresses.map { ($0, $0) })
        let exported = target.exports.values.filter { addresses.contains($0.value) }
        guard !exported.isEmpty else { return names }
        let byName = Dictionary(exported.map { ($0.name, $0.value) }) { first, _ in first }
        for (slot, name) in target.slotNames {
            if let address = byName[name] { names[slot] = address }
        }
        for section in target.file.sections where section.isAllocated && section.name.hasPrefix(".plt") {
            for offset in stride(from: UInt64(0), to: section.size, by: 8) {
                let entry = section.address &+ offset
                guard let slot = target.slotOfPLTEntry(at: entry), let address = names[slot] else { continue }
                names[entry] = address
            }
        }
        return names
    }

    // MARK: bytes

    private struct Candidate {
        var site: UInt64
        var target: UInt64
    }

    private func candidates(for names: [UInt64: UInt64]) -> [Candidate] {
        guard let low = names.keys.min(), let high = names.keys.max() else { return [] }
        var found: [Candidate] = []
        for section in target.file.sections where section.isAllocated && section.isExecutable {
            section.data.withUnsafeBytes { bytes in
                var offset = 0
                while offset < bytes.count {
                    if let length = Encoding.lengthOfReference(bytes, offset), offset + length <= bytes.count {
                        let site = section.address &+ UInt64(offset)
                        let address = site &+ UInt64(length) &+ Encoding.distanceOfReference(bytes, offset, length)
                        if address >= low, address <= high, names[address] != nil {
                            found.append(Candidate(site: site, target: address))
                        }
                    }
                    offset += 1
                }
            }
        }
        return found
    }
}
