import CodeModel

/// What differs between the original and the new object of a unit, whatever target it is in.
package struct ComparedUnit: Sendable {
    package var unit: LoadedUnit
    package var correlation: Correlation
    package var changes: ChangeSet

    package init(_ unit: LoadedUnit) {
        self.unit = unit
        correlation = correlate(unit.original, unit.new)
        changes = compare(unit.original, unit.new, correlation)
        correlation.settleAssumed(unit, changes)
    }

    /// It has global definitions that the original lacks, which changed code of other units may use.
    package var addsGlobals: Bool {
        unit.new.entities.indices.contains { unit.new.entities[$0].isGlobal && correlation.originalOf[$0] == nil }
    }
}
