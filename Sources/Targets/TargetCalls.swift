import ElfFormat
import MachineCode
import ObjectFiles
import PatchFormat

/// Which code of a target calls a function directly, and what may have its address. It decodes all code once.
package struct TargetCalls {
    package struct Site: Hashable, Sendable {
        package var address: UInt64
        /// Where the function begins that the call or jump is in.
        package var function: UInt64
    }

    private let target: TargetImage
    /// By the entry of the function that is called.
    private var sites: [UInt64: [Site]] = [:]
    /// Entries that code or data has as a value.
    private var taken: Set<UInt64> = []

    package init(_ target: TargetImage) {
        self.target = target
        target.code.forEachPiece { section, low, code in add(code, at: low, of: section) }
        taken.formUnion(target.relativeValueAt.values)
        // A slot that PLT entries jump through is no value.
        for (place, name) in target.symbolicNameAt where target.slotNames[place] == nil {
            taken.formUnion(target.exports[name].map { [$0.value] } ?? [])
        }
        if target.isFixed { taken.formUnion(target.code.codePointers) }
    }

    private mutating func add(_ code: ArraySlice<UInt8>, at low: UInt64, of section: Section) {
        forEachInstruction(code, at: low) { instruction in
            if let callee = instruction.target {
                // A branch to its own entry is a loop.
                if callee != low || instruction.kind == .call {
                    sites[callee, default: []].append(Site(address: instruction.address, function: low))
                }
            } else if let place = instruction.ripRelativeTarget, instruction.takesAddress {
                taken.insert(place)
            } else if target.isFixed, instruction.immediate.size == 4,
                let value: UInt32 = word(
                    section.data, Int(instruction.address - section.address) + instruction.immediate.offset)
            {
                taken.insert(UInt64(value))
            }
        }
    }

    package func callers(of entry: UInt64) -> [Site] { sites[entry, default: []] }

    /// Code or data of the target has it as a value.
    package func isValue(_ entry: UInt64) -> Bool { taken.contains(entry) }

    /// It may be called in other ways than by direct calls of the target.
    package func isHandedOn(_ entry: UInt64) -> Bool {
        taken.contains(entry) || target.exports.values.contains { $0.value == entry }
    }

    /// Whether the call may run again while its function runs, as far as jumps tell. Of what was moved out of the way
    /// (`.cold`) nothing is known.
    package func isInLoop(_ site: Site) -> Bool {
        let symbols = target.code.symbols
        let end = symbols.first { $0.address > site.function }?.address ?? UInt64.max
        let isCold = symbols.contains { $0.address == site.function && $0.name.hasSuffix(".cold") }
        guard !isCold, let section = target.code.section(at: site.function) else { return true }
        let limit = min(end, section.address &+ UInt64(section.data.count))
        let first = Int(site.function - section.address)
        let code = section.data[first..<first + Int(limit - site.function)]
        return LocalFlow(Array(code), at: site.function, target).leadsBack(to: site.address)
    }
}

/// The jumps within a function of a linked file.
private struct LocalFlow {
    private var next: [UInt64: [UInt64]] = [:]

    init(_ code: [UInt8], at start: UInt64, _ target: TargetImage) {
        let range = start..<start &+ UInt64(code.count)
        let instructions = decode(code, at: start)
        let inner = target.code.knownTargets.filter(range.contains)
        var table: [UInt64]?
        for instruction in instructions {
            if instruction.takesAddress, let place = instruction.ripRelativeTarget {
                let entries = target.jumpTable(at: place, within: range)
                if !entries.isEmpty { table = entries }
            }
            var following: [UInt64] = []
            if let place = instruction.target, instruction.kind != .call {
                // Another part of the function may lead back to wherever parts lead to each other.
                following += range.contains(place) ? [place] : []
            }
            switch instruction.kind {
            case .ret, .trap, .invalid: break
            case .jump: if instruction.target == nil { following += table ?? inner }
            default: following.append(instruction.end)
            }
            next[instruction.address] = following
        }
    }

    func leadsBack(to site: UInt64) -> Bool {
        var seen: Set<UInt64> = []
        var work = next[site, default: []]
        while let place = work.popLast() {
            if place == site { return true }
            if seen.insert(place).inserted { work += next[place, default: []] }
        }
        return false
    }
}

extension TargetImage {
    /// Where a table of 4-byte distances from itself leads, as switches of position-independent code have it.
    fileprivate func jumpTable(at table: UInt64, within range: Range<UInt64>) -> [UInt64] {
        var found: [UInt64] = []
        for number in 0..<4096 {
            guard let bytes = bytes(at: table &+ UInt64(number) * 4, size: 4),
                let element: UInt32 = word(Array(bytes), 0)
            else { return found }
            let place = table &+ UInt64(bitPattern: Int64(Int32(bitPattern: element)))
            guard range.contains(place) else { return found }
            found.append(place)
        }
        return found
    }
}
