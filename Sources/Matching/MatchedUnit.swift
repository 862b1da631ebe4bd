import CodeModel
import Comparing
import ObjectFiles

/// One unit of one target, matched and compared.
package struct MatchedUnit: Sendable {
    /// The object's path as in the recorded command.
    package var name: String
    package var isCPlusPlus: Bool
    package var matched: UnitMatch
    package var original: ObjectView
    package var new: ObjectView
    package var correlation: Correlation
    package var changes: ChangeSet

    init(
        name: String, isCPlusPlus: Bool = false, matched: UnitMatch, original: ObjectView, new: ObjectView,
        correlation: Correlation,
        changes: ChangeSet
    ) {
        self.name = name
        self.isCPlusPlus = isCPlusPlus
        self.matched = matched
        self.original = original
        self.new = new
        self.correlation = correlation
        self.changes = changes
    }
}
