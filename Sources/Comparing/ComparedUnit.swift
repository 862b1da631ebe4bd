import CodeModel
import Diagnostics

/// What differs between the original and the new object of a unit, whatever target it is in.
package struct ComparedUnit: Sendable {
    package var unit: LoadedUnit
    package var correlation: Correlation
    package var changes: ChangeSet

    /// It has global definitions that the original lacks, which changed code of other units may use.
    package var addsGlobals: Bool {
        unit.new.entities.indices.contains { unit.new.entities[$0].isGlobal && correlation.originalOf[$0] == nil }
    }
}

extension ComparedUnit {
    /// What the new object lacks and other units may know: globals, those of vague linkage aside, and variables.
    package var lostDefinitions: [EntityIndex] {
        unit.original.entities.indices.filter { number in
            let entity = unit.original.entities[number]
            // In C++, what is of vague linkage comes along with each user.
            guard correlation.newOf[number] == nil, entity.coldParent == nil, !(entity.isVague && unit.isCPlusPlus)
            else { return false }
            return entity.isGlobal || (entity.isWritable && entity.kind != .function)
        }
    }
}

/// Compares a unit's objects.
package func compareUnit(_ unit: LoadedUnit) -> ComparedUnit {
    let declared = unit.keptLines.map { Declarations(unit.original, unit.new, $0) }
    var correlation = correlate(unit.original, unit.new, declared: declared)
    let changes = compare(unit.original, unit.new, correlation)
    correlation.settleAssumed(unit, changes, declared: declared)
    return ComparedUnit(unit: unit, correlation: correlation, changes: changes)
}

/// What does not change at all needs no patch.
///
/// - Throws: `Refusals` nothing-to-patch.
package func requireChange(in units: [ComparedUnit], summary: String) throws {
    guard units.allSatisfy(\.changes.isEmpty) else { return }
    let renamed = units.flatMap { unit in unit.lostDefinitions.compactMap { unit.refusal(forLost: $0, units) } }
    if !renamed.isEmpty { throw Refusals(renamed) }
    if units.contains(where: { !$0.changes.leftOut.isEmpty }) {
        throw Refusals(
            .nothingToPatch, subject: summary, why: "nothing but main changes, and it stays as it is by decision",
            remedy: "restart: the fix is in main alone")
    }
    throw Refusals(
        .nothingToPatch, subject: summary,
        why: units.isEmpty
            ? "no recorded command of a target's units reads any of it"
            : "the units that were compiled again (\(units.count)) have the same code and data as before")
}

extension ComparedUnit {
    /// A definition that goes, or moves to another unit and changes: no other code differs, but what it calls does.
    fileprivate func refusal(forLost number: EntityIndex, _ units: [ComparedUnit]) -> Refusal? {
        let entity = unit.original.entities[number]
        let subject = "\(entity.name) (\(unit.name))"
        guard entity.isGlobal else { return nil }
        for other in units {
            guard let moved = other.unit.new.entityNamed[entity.name], other.unit.new.entities[moved].isGlobal else {
                continue
            }
            if unit.original.holdsSame(entity, as: other.unit.new.entities[moved], of: other.unit.new) { return nil }
            return Refusal(
                .ambiguousSymbol, subject: subject,
                why: "it moves to \(other.unit.name) and changes, and what calls it would go on with the target's",
                remedy: "leave the definition where it was")
        }
        let user = units.first { other in
            other.unit.new.file.symbols.contains { $0.name == entity.name && $0.place == .undefined }
        }
        return user.map { user in
            Refusal(
                .ambiguousSymbol, subject: subject,
                why:
                    "the fix removes this definition, so that \(user.unit.name) means another one of the name, and would go on"
                    + " with the target's", remedy: "keep the definition and give it the new behaviour")
        }
    }
}
