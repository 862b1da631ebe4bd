import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles

/// A function that chooses an implementation (IFUNC) has chosen: the dynamic linker asks it once. Changed, it would be
/// replaced to no effect; so would a new one be.
func guardResolvers(_ unit: MatchedUnit) -> [Finding] {
    unit.changes.functions.keys.sorted().compactMap { number in
        let entity = unit.new.entities[number]
        guard entity.symbols.contains(where: { unit.new.file.symbols[$0].kind == .indirect }) else { return nil }
        return Finding(
            subject: "\(entity.name) (\(unit.name))",
            why: "it chooses an implementation when the program starts (IFUNC), and has chosen already",
            remedy: "restart, or change the implementations")
    }
}
