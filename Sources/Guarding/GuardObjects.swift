import CodeModel
import Comparing
import Diagnostics
import MachineCode
import Matching
import ObjectFiles

/// What the target's copy of a definition can't be used as any more, though its content is the same.

/// A constant that is written now: the target's copy lies in memory that can't be written.
func guardReadOnly(_ unit: MatchedUnit) -> [Finding] {
    unit.correlation.newOf.sorted { $0.value < $1.value }.compactMap { old, new in
        let (before, after) = (unit.original.entities[old], unit.new.entities[new])
        guard before.kind == .data, after.kind == .data, !before.isWritable, after.isWritable else { return nil }
        return Finding(
            subject: "\(after.name) (\(unit.name))",
            why: "it was a constant and is written now, but the process has it in memory that can't be written")
    }
}

/// New code may use instructions that need the alignment that the new object gives.
func guardAlignment(_ unit: MatchedUnit) -> [Finding] {
    unit.correlation.newOf.sorted { $0.value < $1.value }.compactMap { old, new in
        let (before, after) = (unit.original.entities[old], unit.new.entities[new])
        guard after.kind != .function, !unit.changes.constants.contains(new) else { return nil }
        let (had, needed) = (unit.original.alignment(of: before), unit.new.alignment(of: after))
        guard needed > had else { return nil }
        let address = before.names.lazy.compactMap { unit.matched.addresses[$0] }.first
        if before.kind == .data, let address, address % needed == 0 { return nil }
        return Finding(
            subject: "\(after.name) (\(unit.name))",
            why: "its alignment is raised from \(had) to \(needed) bytes, which it does not have in the process",
            remedy: "restart, or keep the variable's alignment in the fix")
    }
}

extension ObjectView {
    fileprivate func alignment(of entity: Entity) -> UInt64 {
        let section = max(1, file.sections[entity.section].alignment)
        return entity.offset == 0 ? section : min(section, entity.offset & (0 &- entity.offset))
    }
}

/// Sections that code reads as a whole, by their name or through the linker's `__start_` symbols: what moves into one or
/// out of it, what an `asm` statement puts there, and what names a place inside of a changed function.
func guardSections(_ unit: MatchedUnit) -> [Finding] {
    let moved = movedData(unit.original, unit.new, unit.correlation).map { number, before, after in
        Finding(
            subject: "\(unit.new.entities[number].name) (\(unit.name))",
            why: "it moves from the section \(before) to \(after), which other code may read as a whole",
            remedy: "restart, or keep the section")
    }
    let gone = unit.original.entities.indices.filter {
        unit.correlation.newOf[$0] == nil && unit.original.isListed($0)
    }.map { number in
        let entity = unit.original.entities[number]
        return Finding(
            subject: "\(entity.name) (\(unit.name))",
            why:
                "it is gone from the section \(unit.original.file.sections[entity.section].name), which other code reads"
                + " as a whole, and can't be taken out of the target's",
            remedy: "restart, or leave it in the section")
    }
    let (before, after) = (unit.original.lists, unit.new.lists)
    let changed = Set(before.keys).union(after.keys).sorted().filter { before[$0] != after[$0] }.map { name in
        Finding(
            subject: "\(name) (\(unit.name))",
            why: "this section, which other code may read as a whole, has other contents",
            remedy: "restart, or keep what the section lists")
    }
    return moved + gone + changed + unit.listedPlaces
}

extension MatchedUnit {
    /// Lists that name a place inside of a function that changes: they lead into the old body.
    fileprivate var listedPlaces: [Finding] {
        let changing = Set(changes.functions.keys.compactMap { correlation.originalOf[$0] })
        return original.file.sections.filter { original.isList($0) }.flatMap { section in
            section.relocations.compactMap { relocation -> Finding? in
                guard case .entity(let number, let delta) = original.referent(of: relocation, in: section), delta != 0,
                    changing.contains(original.functionOwning(number))
                else { return nil }
                return Finding(
                    subject: "\(section.name) (\(name))",
                    why:
                        "this section holds a place inside of \(original.entities[number].name), which changes, and other code may read it",
                    remedy: "restart, or keep the function as it is")
            }
        }
    }
}

/// A global name that stands for another definition now (an alias of something else): what refers to it in the target
/// goes on with the old one (trap aliases).
func guardNames(_ unit: MatchedUnit) -> [Finding] {
    movedNames(unit.original, unit.new, unit.correlation).map { name, old, new in
        Finding(
            subject: "\(name) (\(unit.name))",
            why:
                "it was another name of \(unit.original.entities[old].name) and is one of \(unit.new.entities[new].name): the target goes on with the old one"
        )
    }
}
