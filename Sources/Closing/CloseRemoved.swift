import CodeModel
import Comparing
import Diagnostics
import Matching
import ObjectFiles
import PatchFormat
import Targets

/// A name in new code means what the link of the fix would make of it. A definition that the fix removes is no candidate,
/// though the target has it (trap removed-definition).
extension Closure {
    /// Whether a name of new code was led to what the fix removes, from this unit or from another one.
    func isRemoved(_ binding: Binding, _ name: String, _ user: Int) -> Bool {
        guard binding.kind == .target || binding.kind == .threadLocal || binding.kind == .slot else { return false }
        return units.indices.contains { index in
            let unit = units[index]
            guard let number = unit.original.entityNamed[name], unit.correlation.newOf[number] == nil else {
                return false
            }
            let entity = unit.original.entities[number]
            // In C++, what is of vague linkage comes along with each user.
            guard !(entity.isVague && unit.isCPlusPlus), entity.isGlobal || index == user else { return false }
            // Another unit's may have been the one that the target has.
            if binding.kind == .target, let known = unit.matched.addresses[name] { return known == binding.address }
            return true
        }
    }

    mutating func refuseRemoved(_ name: String, _ item: Work) {
        let library = resolver.isInLibrary(name) ? "a library has one" : "no library of the target has one"
        refuse(
            Refusal(
                .ambiguousSymbol, subject: "\(name) (\(units[item.unit].name))",
                why: "the fix removes the target's own definition, and new code means what the link of the fix finds"
                    + " in its place (\(library))",
                remedy: "keep the definition and give it the new behaviour"))
    }
}
