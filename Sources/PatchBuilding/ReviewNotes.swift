import CodeModel
import Comparing
import Guarding
import Matching

/// What no rule can decide and a reviewer should look at: it goes into the manifest.
func reviewNotes(_ units: [MatchedUnit], constants: [ConstantChange]) -> [String] {
    units.flatMap(lostState) + constants.map(\.note)
}

/// A variable under a new name starts anew: what the process has in the old one is not carried over.
private func lostState(_ unit: MatchedUnit) -> [String] {
    let gone = unit.original.entities.indices.filter {
        unit.original.entities[$0].isWritable && unit.original.entities[$0].kind == .data
            && unit.correlation.newOf[$0] == nil
    }.map { unit.original.entities[$0] }
    let fresh = unit.new.entities.indices.filter {
        unit.new.entities[$0].isWritable && unit.new.entities[$0].kind == .data
            && unit.correlation.originalOf[$0] == nil
    }.map { unit.new.entities[$0] }
    return gone.flatMap { old in
        fresh.filter { $0.size == old.size }.map { new in
            "\(unit.name): \(old.name) is gone and \(new.name), of its size, is new: if it is the same variable, its value is lost"
        }
    }
}
