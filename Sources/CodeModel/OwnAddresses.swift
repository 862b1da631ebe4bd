import MachineCode
import ObjectFiles

extension ObjectView {
    /// Where a function's code takes the address of a function of its own section, its own as a rule, by a distance that the
    /// assembler has filled in: there is no relocation for a local symbol of the same section (trap own-address).
    ///
    /// - Returns: offset of the field in the section, and whose address it is.
    package func filledInAddresses(of index: EntityIndex) -> [(field: UInt64, function: EntityIndex)] {
        let entity = entities[index]
        guard entity.kind == .function,
            let bytes = bytes(section: entity.section, from: entity.offset, to: entity.end)
        else { return [] }
        var found: [(UInt64, EntityIndex)] = []
        forEachInstruction(bytes, at: entity.offset) { instruction in
            guard instruction.takesAddress, let target = instruction.ripRelativeTarget,
                let function = self.entity(section: entity.section, offset: Int64(bitPattern: target)),
                entities[function].offset == target, entities[function].kind == .function,
                relocations(section: entity.section, from: instruction.address, to: instruction.end).isEmpty
            else { return }
            found.append((instruction.address &+ UInt64(instruction.displacement.offset), function))
        }
        return found
    }
}
