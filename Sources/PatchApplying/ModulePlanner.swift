import Diagnostics
import ModuleBinding
import PatchFormat
import ProcessControl
import ProcessImage

/// Finds places for the modules of a bundle and computes all their bytes.
struct ModulePlanner {
    let process: LoadedProcess

    /// Places every module near its target and computes all its bytes.
    /// - Parameter bases: where the modules lie already; nil to find free places.
    func plan(_ bundle: Bundle, _ objects: [LoadedObject], at bases: [UInt64]? = nil) throws -> [PlannedModule] {
        let rules = try HoleRules.read(pid: process.pid)
        var map = process.map
        var modules = try zip(bundle.manifest.targets, objects).map { target, object in
            let image = try ModuleImage.read(bundle.modules[target.module] ?? [], target: target)
            return PlannedModule(target: target, object: object, image: image, base: 0)
        }
        let calls = CallPlanner(process: process)
        modules[0].calls = try calls.plan(&modules)
        for index in modules.indices {
            modules[index].base = try bases?[index] ?? place(modules[index], in: map, rules)
            map.reserve(RemoteAddress(modules[index].base), modules[index].image.memory.count)
        }
        let first = modules[0]
        for index in modules.indices { try relocate(&modules[index], first: first) }
        if let planned = modules[0].calls { try calls.store(planned, &modules) }
        return modules
    }

    private func place(_ module: PlannedModule, in map: MemoryMap, _ rules: HoleRules) throws -> UInt64 {
        let (object, size) = (module.object, module.image.memory.count)
        let span = map.mappings.filter { $0.start.rawValue >= object.bias && object.contains($0.start.rawValue) }
        let start = span.first?.start ?? RemoteAddress(object.bias)
        let near = RemoteRange(start: start, end: RemoteAddress(object.bias &+ object.span))
        guard let base = findHole(in: map, near: near, size: size, rules: rules) else {
            throw Refusal(
                .noHole, subject: "\(module.target.file) in \(process.subject)",
                why: "there is no free place for \(size) bytes within 2 GiB of it")
        }
        return base.rawValue
    }

    private func relocate(_ module: inout PlannedModule, first: PlannedModule) throws {
        let (base, bindings) = (module.base, module.target.bindings)
        var resolver = BindingResolver(view: process.view, linkMap: process.linkMap, target: module.object)
        for function in module.target.functions { try resolver.requireChosen(function) }
        let values = try bindings.map { try resolver.value(of: $0, moduleBase: base) }
        try module.image.relocate(base: base, bindings: bindings, values: values) { try resolver.value(of: $0) }
        // One switch for all targets that the process takes: the first one's.
        if let pointer = module.target.layout.switchPointer {
            try module.image.memory.store(first.base &+ first.target.layout.switchAddress, size: 8, at: pointer)
        }
        try module.image.memory.store(0, size: 1, at: module.target.layout.switchAddress)
        for function in module.target.functions {
            guard let slot = function.oldSlot, let original = function.original else { continue }
            let resume = module.object.bias &+ original.range.address &+ UInt64(max(0, original.entry.resumeOffset))
            let old = function.oldRanges.first.map { base &+ $0.address } ?? resume
            guard original.entry.kind == .padded || !function.oldRanges.isEmpty else {
                throw Refusal(.badBundle, subject: function.name, why: "the module has no copy of its original body")
            }
            try module.image.memory.store(old, size: 8, at: slot)
        }
    }
}

extension MemoryMap {
    /// Takes a range out of what is free.
    mutating func reserve(_ start: RemoteAddress, _ count: UInt64) {
        guard var taken = mappings.first else { return }
        taken.range = RemoteRange(start: start, count: count)
        (taken.path, taken.inode) = ("", 0)
        mappings.insert(taken, at: mappings.firstIndex { $0.start >= start } ?? mappings.count)
    }
}
