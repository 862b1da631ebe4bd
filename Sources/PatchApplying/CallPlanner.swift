import Diagnostics
import ModuleBinding
import PatchRegistry
import ProcessImage

/// What a patch has called at load: registrations of unwind data first, then choices of implementations, then initialisers.
struct CallPlanner {
    let process: LoadedProcess

    /// Makes room for the calls in the first module; nil when there is nothing to call.
    func plan(_ modules: inout [PlannedModule]) throws -> PlannedCalls? {
        let unwinding = modules.filter(\.image.hasUnwindData)
        let initialisers = modules.reduce(0) { $0 + Int(($1.target.layout.initializers?.size ?? 0) / 8) }
        for index in modules.indices {
            var resolver = BindingResolver(view: process.view, linkMap: process.linkMap, target: modules[index].object)
            modules[index].choices = try resolver.choices(of: modules[index].image, modules[index].target.bindings)
        }
        let choices = modules.reduce(0) { $0 + $1.choices.count }
        let unwinder =
            unwinding.isEmpty
            ? nil : try ProcessUnwinder.find(in: process.view, process.linkMap, for: unwinding.map(\.object))
        let registrations = unwinder == nil ? 0 : unwinding.count
        if registrations + choices + initialisers == 0 { return nil }
        guard process.objects.first?.hasInterpreter == true else {
            throw Refusal(
                .unsupportedProcess, subject: process.subject,
                why:
                    "the patch must call functions at load, and in a static program no safe point for them can be proven"
            )
        }
        guard choices + initialisers < CallList.maximumCount else {
            throw Refusal(.badBundle, subject: process.subject, why: "it has \(choices + initialisers) calls at load")
        }
        let area = modules[0].image.addCallArea(load: registrations + choices + initialisers, unload: registrations)
        return PlannedCalls(
            area: area, unwinder: unwinder, errnoLocation: try address(ofFunction: "__errno_location") ?? 0,
            registrations: registrations, choices: choices, initialisers: initialisers)
    }

    private func address(ofFunction name: String) throws -> UInt64? {
        for object in process.objects.prefix(process.linkMap.listed) {
            let tables = try process.view.tables(of: object)
            guard let index = try tables.lookup(name, version: nil), tables.symbols[index].isDefined else { continue }
            return object.bias &+ tables.symbols[index].value
        }
        return nil
    }

    /// Writes the lists, now that every module has its place and its bytes.
    func store(_ calls: PlannedCalls, _ modules: inout [PlannedModule]) throws {
        let zero = modules[0].base &+ calls.area.zero
        var (load, unload): ([PlannedCall], [PlannedCall]) = ([], [])
        for module in modules where module.image.hasUnwindData {
            guard let unwinder = calls.unwinder, let unwind = module.target.layout.unwind else { continue }
            let table = module.base &+ unwind.table.address
            load.append(PlannedCall(function: unwinder.register, arguments: [table, module.base &+ unwind.object]))
            unload.append(PlannedCall(function: unwinder.deregister, arguments: [table]))
        }
        let choose = modules[0].base &+ calls.area.choose
        for module in modules {
            load += module.choices.map {
                PlannedCall(function: choose, arguments: [module.base &+ $0.slot, $0.resolver])
            }
        }
        for module in modules {
            for function in try module.image.initialisers(module.target.layout, base: module.base) {
                load.append(PlannedCall(function: function, arguments: [0, zero, zero]))
            }
        }
        for (list, place) in [(load, calls.area.load), (unload, calls.area.unload)] {
            let bytes = CallList.bytes(list, errnoLocation: calls.errnoLocation)
            let range = try modules[0].image.memory.range(place, UInt64(bytes.count))
            modules[0].image.memory.bytes.replaceSubrange(range, with: bytes)
        }
    }
}
