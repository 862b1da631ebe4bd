import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

/// A variable that is gone, where a new one takes its place: renamed, moved to a structure, or replaced. The new one starts
/// with its initial value, and what the process has in the old one is lost without a word.
///
/// Nothing in the objects tells a renamed variable from one that has nothing to do with it, so that using both in one
/// function is enough to ask.
func guardLostState(_ unit: MatchedUnit) -> [Finding] {
    let gone = unit.original.entities.indices.filter { number in
        unit.original.entities[number].holdsState && unit.correlation.newOf[number] == nil
    }
    let fresh = unit.new.entities.indices.filter { number in
        unit.new.entities[number].holdsState && unit.correlation.originalOf[number] == nil
            && !unit.correlation.ambiguous.contains(unit.new.entities[number].name)
    }
    guard !gone.isEmpty, !fresh.isEmpty else { return [] }
    let (users, newUsers) = (unit.original.referrers(), unit.new.referrers())
    return gone.compactMap { number in
        let names = users[number, default: []]
        let successor = fresh.first { candidate in
            let others = newUsers[candidate, default: []]
            return !names.isDisjoint(with: others) || unit.areSuccessors(others, of: names)
        }
        guard let successor else { return nil }
        let (old, new) = (unit.original.entities[number], unit.new.entities[successor])
        return Finding(
            subject: "\(stem(old.name)) (\(unit.name))",
            why: "the fix has no such variable any more, and \(stem(new.name)) is new in the same code: "
                + "if it takes its place, what the process has stored is lost")
    }
}

extension Entity {
    fileprivate var holdsState: Bool { isWritable && kind != .function }
}

extension MatchedUnit {
    /// The users of the old variable are gone too, and those of the new one are new: a function was renamed with it.
    fileprivate func areSuccessors(_ new: Set<String>, of old: Set<String>) -> Bool {
        !new.isEmpty && new.allSatisfy { original.entityNamed[$0] == nil }
            && old.contains { self.new.entityNamed[$0] == nil }
    }
}
