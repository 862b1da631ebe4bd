import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl
import ProcessImage

/// The registry is the process's own memory: every number in it is checked before it is used (trap hostile-registry).
enum RegistryLimit {
    static let patches = 1000
    static let modules = 256
    static let functions = 100_000
    static let text = 4096
}

extension Registry {
    /// Checks the state against the process's mappings and objects.
    /// - Throws: `Refusal` hostile-registry.
    package func check(_ view: ProcessView, _ objects: [LoadedObject]) throws {
        guard state.patches.count <= RegistryLimit.patches else {
            throw Registry.refusal(view.pid, "its registry claims \(state.patches.count) patches")
        }
        guard Set(state.patches.map(\.reference)).count == state.patches.count else {
            throw Registry.refusal(view.pid, "its registry holds a patch twice")
        }
        for patch in state.patches { try check(patch, view, objects) }
    }

    private func check(_ patch: RegisteredPatch, _ view: ProcessView, _ objects: [LoadedObject]) throws {
        let name = String(patch.id.prefix(100))
        func refuse(_ why: String) -> Refusal { Registry.refusal(view.pid, "patch \(name) of its registry: \(why)") }
        guard patch.id.utf8.count <= RegistryLimit.text, patch.manifestDigest.utf8.count == 64,
            patch.modules.count <= RegistryLimit.modules, !patch.modules.isEmpty
        else { throw refuse("its name, digest or number of modules is out of range") }
        let targets = patch.modules.map(\.buildID) + (patch.leftOut ?? []).map(\.buildID)
        guard targets.count <= RegistryLimit.modules, Set(targets).count == targets.count,
            (patch.leftOut ?? []).allSatisfy({ $0.file.utf8.count <= RegistryLimit.text })
        else { throw refuse("it has too many targets, or one of them twice") }
        // Of these, what is mapped is what an unfinished command has left: `ModuleMapper.unmap` looks at each mapping.
        let isMapped = patch.state != .loading && patch.state != .unloading
        for module in patch.modules {
            try check(module, refuse)
            guard isMapped else { continue }
            for segment in module.segments {
                guard view.isCovered(segment.address, segment.size, { $0.matches(segment.protection) }) else {
                    throw refuse("a segment at \(hex(segment.address)) is not mapped as it says")
                }
            }
            try checkTarget(of: module, objects, refuse)
        }
        guard patch.modules[0].isInside(patch.switchAddress, 1, protection: 2) else {
            throw refuse("its switch lies outside its module")
        }
        if let calls = patch.calls { try check(calls, of: patch, refuse) }
    }

    private func check(_ calls: RegisteredCalls, of patch: RegisteredPatch, _ refuse: (String) -> Refusal) throws {
        let (module, limit) = (patch.modules[0], 0...CallList.maximumCount)
        guard limit.contains(calls.registrations), limit.contains(calls.initialisers),
            limit.contains(calls.choices ?? 0),
            calls.registrations == calls.unwind.count, calls.registrations <= patch.modules.count,
            module.isInside(calls.stub, pageSize, protection: 4), calls.unload > calls.load,
            module.isInside(calls.load, CallList.size(count: calls.loadCount), protection: 2),
            module.isInside(calls.unload, CallList.size(count: calls.registrations), protection: 2),
            calls.unwind.allSatisfy({ unwind in
                patch.modules.contains {
                    $0.isInside(unwind.table.address, unwind.table.size, protection: 1)
                        && $0.isInside(unwind.object, ModuleUnwind.objectSize, protection: 2)
                }
            })
        else { throw refuse("its calls lie outside its modules") }
    }

    private func check(_ module: RegisteredModule, _ refuse: (String) -> Refusal) throws {
        guard let end = module.range.checkedEnd, module.size <= ModuleLayout.maximumSize, module.base % pageSize == 0,
            end < 1 << 47, module.segments.count <= 16, module.functions.count <= RegistryLimit.functions
        else { throw refuse("a module's place is out of range") }
        for segment in module.segments {
            guard segment.address >= module.base, segment.address % pageSize == 0, segment.size % pageSize == 0,
                segment.size > 0, segment.size <= module.size,
                segment.address - module.base <= module.size - segment.size,
                [1, 3, 5].contains(segment.protection)
            else { throw refuse("a segment lies outside its module") }
        }
        for function in module.functions { try check(function, module, refuse) }
        guard module.values?.count ?? 0 <= ValuePatch.maximumCount else { throw refuse("it claims too many values") }
        for value in module.values ?? [] {
            guard value.name.utf8.count <= 1 << 16, let count = bytesOfHex(value.original)?.count, count > 0,
                bytesOfHex(value.new)?.count == count, value.address % 8 + UInt64(count) <= 8,
                value.address < 1 << 47
            else { throw refuse("a value is out of range") }
        }
    }

    private func check(
        _ function: RegisteredFunction, _ module: RegisteredModule, _ refuse: (String) -> Refusal
    ) throws {
        let ranges = function.ranges + function.newRanges + function.oldRanges
        guard function.name.utf8.count <= 1 << 16, ranges.count < 1000, !function.ranges.isEmpty,
            ranges.allSatisfy({ $0.checkedEnd.map { $0 < 1 << 47 } ?? false }),
            function.entryRange.checkedEnd != nil
        else { throw refuse("a function's place is out of range") }
        guard
            (function.newRanges + function.oldRanges).allSatisfy({ module.isInside($0.address, $0.size, protection: 4) }
            ),
            module.isInside(function.stub, 1, protection: 4), module.isInside(function.oldSlot, 8, protection: 2)
        else { throw refuse("\(function.name) lies outside its module") }
        guard bytesOfHex(function.saved)?.count == Entry.jumpLength,
            let jump = bytesOfHex(function.jump), jump == Jump.bytes(from: function.entry, to: function.stub)
        else { throw refuse("the saved bytes or the jump of \(function.name) are not what they must be") }
    }

    /// Entries are written only into the code of the very target: its build-id, at its place (trap dlclosed).
    private func checkTarget(
        of module: RegisteredModule, _ objects: [LoadedObject], _ refuse: (String) -> Refusal
    ) throws {
        guard let target = objects.first(where: { $0.bias == module.targetBias && $0.buildID == module.buildID }) else {
            return  // Closed by the program: nothing is left to restore, and nothing of it will be written.
        }
        for value in module.values ?? [] {
            guard target.isInside(value.address &- target.bias, value.range.size, PF.write) else {
                throw refuse("\(value.name) lies outside the writable memory of \(module.file)")
            }
        }
        for function in module.functions {
            for range in function.ranges + [function.entryRange] {
                guard target.isInside(range.address &- target.bias, range.size, PF.execute) else {
                    throw refuse("\(function.name) lies outside the code of \(module.file)")
                }
            }
        }
    }
}

extension RegisteredModule {
    package func isInside(_ address: UInt64, _ count: UInt64, protection: Int32) -> Bool {
        segments.contains {
            $0.protection & protection != 0 && address >= $0.address && count <= $0.size
                && address - $0.address <= $0.size - count
        }
    }
}

extension MemoryMapping {
    /// Private, anonymous, and with exactly this `PROT_…`.
    package func matches(_ protection: Int32) -> Bool {
        kind == .anonymous && !isShared && isReadable == (protection & 1 != 0) && isWritable == (protection & 2 != 0)
            && isExecutable == (protection & 4 != 0)
    }
}
