import CodeModel
import ElfFormat
import Matching
import ObjectFiles
import Targets

/// A function that takes other arguments than it did, and whose address the process has given away: a registration made
/// before calls the new code with the old arguments (trap callback-registered).
func guardCallbacks(_ patch: GuardedPatch) -> [Finding] {
    let changed = patch.debug.changedSignatures()
    guard !changed.isEmpty else { return [] }
    return patch.targets.flatMap { target -> [Finding] in
        let own = changed.filter { change in target.units.contains { $0.name == change.unit } }
        guard !own.isEmpty else { return [] }
        let addresses = HandedOnAddresses(target)
        return own.filter { addresses.contain($0.linkageName, of: $0.unit) }.map { change in
            Finding(
                subject: change.subject,
                why:
                    "\(change.words), and its address has been given away: who has it goes on calling it in the old way",
                remedy: "restart, or give the new form another name and leave the old one as it is")
        }
    }
}

/// Functions whose address some code or data of a target has as a value.
private struct HandedOnAddresses {
    private let units: [MatchedUnit]
    private let calls: TargetCalls
    private let byUnit: [String: Set<String>]
    private let elsewhere: Set<String>

    init(_ target: GuardedTarget) {
        units = target.units
        calls = target.calls
        let taken = units.map(\.original.takenAddresses)
        byUnit = Dictionary(zip(units.map(\.name), taken.map(\.functions)), uniquingKeysWith: { $0.union($1) })
        elsewhere = taken.reduce(into: []) { $0.formUnion($1.others) }
    }

    func contain(_ name: String, of unit: String) -> Bool {
        if byUnit[unit]?.contains(name) == true { return true }
        guard let owner = units.first(where: { $0.name == unit }), let number = owner.original.entityNamed[name] else {
            return false
        }
        if owner.original.entities[number].isGlobal, elsewhere.contains(name) { return true }
        return owner.matched.addresses[name].map(calls.isValue) ?? false
    }
}
