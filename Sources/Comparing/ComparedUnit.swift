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

/// Compares a unit's objects.
package func compareUnit(_ unit: LoadedUnit) -> ComparedUnit {
    var correlation = correlate(unit.original, unit.new)
    let changes = compare(unit.original, unit.new, correlation)
    correlation.settleAssumed(unit, changes)
    return ComparedUnit(unit: unit, correlation: correlation, changes: changes)
}

/// What does not change at all needs no patch.
///
/// - Throws: `Refusals` nothing-to-patch.
package func requireChange(in units: [ComparedUnit], summary: String) throws {
    guard units.allSatisfy(\.changes.isEmpty) else { return }
    throw Refusals(
        .nothingToPatch, subject: summary,
        why: units.isEmpty
            ? "no recorded command of a target's units reads any of it"
            : "the units that were compiled again (\(units.count)) have the same code and data as before")
}
