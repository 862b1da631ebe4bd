import ElfFormat
import MachineCode
import ObjectFiles

extension FunctionFlow {
    /// Where the jump tables of the function's `switch` statements lead; nil where one of them can't be read as a whole.
    ///
    /// A table begins where the code names it. Its entries are addresses, or distances from its beginning (`.long .L4-.L1`).
    package func jumpTableTargets() -> Set<Place>? {
        let starts = tableStarts()
        var targets: Set<Place> = []
        for (section, offsets) in starts {
            let isKnown = Set(offsets)
            var entries: Set<UInt64> = []
            for start in offsets {
                for (offset, target) in entriesOfTable(in: section, at: start, limits: isKnown) {
                    guard nodes[target] != nil else { return nil }
                    entries.insert(offset)
                    targets.insert(target)
                }
            }
            // An entry outside of the tables found: one of them begins elsewhere than it seems.
            let all = view.file.sections[section].relocations.filter { leadsInside($0, section) != nil }
            guard all.allSatisfy({ entries.contains($0.offset) }) else { return nil }
        }
        return targets
    }

    /// Whether an open jump goes through one of the function's tables, and not to another function.
    package func isTableJump(at place: Place) -> Bool {
        guard let node = nodes[place], node.isOpen else { return false }
        if isRead(by: node, in: place.section) { return true }
        guard node.instruction.explicitOperands.count == 1,
            let register = node.instruction.explicitOperands[0].register?.register,
            let definitions = definitions(of: register, at: place)
        else { return false }
        return definitions.allSatisfy { place in
            guard let node = nodes[place] else { return false }
            // The table's address and the distance that it holds; or an address that it holds.
            return node.instruction.operation == .add && node.relocations.isEmpty
                || node.instruction.operation == .mov && isRead(by: node, in: place.section)
        }
    }

    /// The instruction reads an entry: `jmp *table(,%rax,8)`.
    private func isRead(by node: Node, in section: SectionIndex) -> Bool {
        node.relocations.contains { relocation in
            guard let start = place(of: relocation, in: section) else { return false }
            return !entriesOfTable(in: start.section, at: start.offset, limits: []).isEmpty
        }
    }

    /// Places in data without a name that the function's code refers to, by section.
    private func tableStarts() -> [SectionIndex: [UInt64]] {
        var found: [SectionIndex: [UInt64]] = [:]
        for place in order {
            for relocation in nodes[place]?.relocations ?? [] {
                guard let start = self.place(of: relocation, in: place.section) else { continue }
                found[start.section, default: []].append(start.offset)
            }
        }
        return found
    }

    private func place(of relocation: Relocation, in section: SectionIndex) -> Place? {
        guard
            case .anonymous(let other, let offset, _) = view.referent(of: relocation, in: view.file.sections[section]),
            !view.file.sections[other].isExecutable, offset >= 0
        else { return nil }
        return Place(section: other, offset: UInt64(offset))
    }

    /// Entries from `start` on, one behind the other, up to the next table's.
    private func entriesOfTable(
        in section: SectionIndex, at start: UInt64, limits: Set<UInt64>
    ) -> [(offset: UInt64, target: Place)] {
        var entries: [(UInt64, Place)] = []
        var offset = start
        while offset == start || !limits.contains(offset) {
            let here = view.relocations(section: section, from: offset, to: offset + 1)
            guard let relocation = here.first, relocation.offset == offset,
                let target = leadsInside(relocation, section)
            else { break }
            // The field counts from itself, and the table's entries from its beginning.
            let distance = relocation.type.isPCRelative ? offset - start : 0
            entries.append((offset, Place(section: target.section, offset: target.offset &- distance)))
            offset += UInt64(relocation.type.fieldSize)
        }
        return entries
    }

    /// What a field of data names of the function, where it is a place in its code.
    private func leadsInside(_ relocation: Relocation, _ section: SectionIndex) -> Place? {
        let symbol = view.file.symbols[relocation.symbol]
        guard case .section(let code) = symbol.place, parts.contains(where: { $0.section == code }) else { return nil }
        let offset = symbol.value &+ UInt64(bitPattern: relocation.addend)
        // Distances are added to the place within the table, so that they may seem to lie behind the code.
        guard
            relocation.type.isPCRelative
                || parts.contains(where: { $0.section == code && $0.offset <= offset && offset < $0.end })
        else { return nil }
        return Place(section: code, offset: offset)
    }
}
