import CodeModel
import MachineCode
import ObjectFiles

extension ObjectView {
    /// Branches to other functions of the same section, which the assembler resolved: as the relocations that they would
    /// have had. Where the target has another function between the two, they are what differs.
    func impliedRelocations(of index: EntityIndex) -> [(relocation: Relocation, at: Int)] {
        let entity = entities[index]
        guard let bytes = bytes(section: entity.section, from: entity.offset, to: entity.end) else { return [] }
        let relocated = Set(relocations(section: entity.section, from: entity.offset, to: entity.end).map(\.offset))
        var implied: [(Relocation, Int)] = []
        forEachInstruction(bytes, at: entity.offset) { instruction in
            guard let target = instruction.target, target < entity.offset || target >= entity.end,
                instruction.length >= 5, !relocated.contains(instruction.end - 4),
                let other = self.entity(section: entity.section, offset: Int64(bitPattern: target))
            else { return }
            let delta = Int64(bitPattern: target &- entities[other].offset)
            implied.append(
                (
                    Relocation(
                        offset: instruction.end - 4, type: .pc32, symbol: entities[other].symbols[0], addend: delta - 4),
                    Int(instruction.end - 4 - entity.offset)
                ))
        }
        return implied
    }
}
