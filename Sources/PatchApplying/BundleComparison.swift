import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessImage

/// What the registry says of a loaded patch must agree with the bundle (trap hostile-registry).
struct BundleComparison {
    let process: LoadedProcess
    let state: RegistryState

    func check(_ patch: RegisteredPatch, _ bundle: Bundle) throws {
        func refuse(_ why: String) -> Refusal {
            Refusal(
                .hostileMemory, subject: "\(patch.id) in \(process.subject)",
                why: "its registry does not fit the bundle: \(why)")
        }
        let taken = patch.modules.map(\.buildID)
        guard bundle.manifest.canTake(taken) else { throw refuse("no process takes exactly these targets") }
        let targets = bundle.manifest.targets.filter { taken.contains($0.buildID) }
        let others = bundle.manifest.targets.filter { !taken.contains($0.buildID) }
        guard (patch.leftOut ?? []) == others.map(RegisteredTarget.init) else { throw refuse("other targets left out") }
        for (module, target) in zip(patch.modules, targets) {
            let functions = target.functions.filter { $0.original != nil }
            guard module.functions.map(\.name) == functions.map(\.name),
                module.functions.map(\.digest) == functions.compactMap(\.original?.digest)
            else { throw refuse("other functions") }
            let values = (module.values ?? []).map {
                ValuePatch(name: $0.name, address: $0.address &- module.targetBias, original: $0.original, new: $0.new)
            }
            guard values == target.values else { throw refuse("other values") }
            guard let object = process.objects.first(where: { $0.bias == module.targetBias }) else { continue }
            for (registered, function) in zip(module.functions, functions) {
                guard let original = function.original else { continue }
                let offset = UInt64(bitPattern: Int64(original.entry.jumpOffset))
                guard registered.entry == object.bias &+ original.range.address &+ offset else {
                    throw refuse("the entry of \(function.name)")
                }
            }
            // With the saved bytes put back, memory must have the manifest's digests.
            try OriginalCode(process: process, patches: state.patches).check(target, in: object)
        }
    }
}
