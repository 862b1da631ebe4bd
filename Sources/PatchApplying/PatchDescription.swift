import Diagnostics
import ElfFormat
import PatchFormat
import PatchRegistry
import ProcessImage

/// What the registry is told of a patch that is about to be loaded.
struct PatchDescription {
    let process: LoadedProcess
    let state: RegistryState

    func record(_ taken: TakenBundle, _ modules: [PlannedModule]) throws -> RegisteredPatch {
        let (bundle, manifest) = (taken.bundle, taken.bundle.manifest)
        let records = try modules.map { try record($0, manifest) }
        let link = Digest.sha256(Array(modules.map { Digest.sha256($0.image.memory.bytes) }.joined().utf8))
        return RegisteredPatch(
            id: manifest.id, manifestDigest: bundle.manifestDigest, sequence: manifest.sequence, state: .loading,
            consistency: manifest.consistency, requires: manifest.requires, supersedes: manifest.supersedes,
            linkDigest: link, modules: records,
            leftOut: taken.leftOut.isEmpty ? nil : taken.leftOut,
            switchAddress: modules[0].base &+ modules[0].target.layout.switchAddress, calls: calls(modules))
    }

    private func record(_ module: PlannedModule, _ manifest: Manifest) throws -> RegisteredModule {
        let segments = module.image.segments.map { segment in
            let bytes = module.image.memory.bytes[Int(segment.start)..<Int(segment.start + segment.size)]
            return RegisteredSegment(
                address: module.base + segment.start, size: segment.size, protection: segment.protection,
                digest: segment.flags & PF.write == 0 ? Digest.sha256(bytes) : nil)
        }
        return RegisteredModule(
            buildID: module.target.buildID, file: module.target.file, targetBias: module.object.bias,
            base: module.base, size: module.image.memory.count, segments: segments,
            functions: try module.target.functions.compactMap { try record($0, module, manifest) },
            values: module.target.values.isEmpty ? nil : RegisteredValue.values(of: module.target, in: module.object))
    }

    private func record(
        _ function: PatchedFunction, _ module: PlannedModule, _ manifest: Manifest
    ) throws -> RegisteredFunction? {
        guard let original = function.original, let stub = function.stub, let slot = function.oldSlot else {
            return nil
        }
        let (bias, base) = (module.object.bias, module.base)
        let entry = bias &+ original.range.address &+ UInt64(bitPattern: Int64(original.entry.jumpOffset))
        let saved = try OriginalCode(process: process, patches: state.patches).bytes(
            AddressRange(address: entry, size: UInt64(Entry.jumpLength)))
        guard entry % pageSize <= pageSize - UInt64(Entry.jumpLength), original.entry.kind != .none else {
            throw Refusal(
                .entryNone, subject: function.name, why: "its entry crosses a page (trap killed-between-entries)")
        }
        guard let jump = Jump.bytes(from: entry, to: base &+ stub) else {
            throw Refusal(.noHole, subject: function.name, why: "the module does not lie within 2 GiB of it")
        }
        let move = { (ranges: [AddressRange], offset: UInt64) in
            ranges.map { AddressRange(address: offset &+ $0.address, size: $0.size) }
        }
        return RegisteredFunction(
            name: function.name, ranges: move([original.range] + original.coldRanges, bias), digest: original.digest,
            endsWithCall: original.endsWithCall, abiCoupled: original.abiCoupled, entry: entry,
            saved: Digest.hexadecimal(saved), jump: Digest.hexadecimal(jump), stub: base &+ stub, oldSlot: base &+ slot,
            newRanges: move(function.newRanges, base), oldRanges: move(function.oldRanges, base),
            stackedOn: stackedOn(entry: entry, manifest))
    }

    /// The patch below: the one that holds the entry and that the manifest names.
    private func stackedOn(entry: UInt64, _ manifest: Manifest) -> String? {
        guard let (below, _) = state.holder(ofEntry: entry) else { return nil }
        let named = manifest.requires + manifest.supersedes
        return named.contains(below.reference) ? below.manifestDigest : nil
    }

    private func calls(_ modules: [PlannedModule]) -> RegisteredCalls? {
        guard let calls = modules[0].calls else { return nil }
        let (base, area) = (modules[0].base, calls.area)
        let unwind = calls.registrations == 0 ? [] : modules.filter(\.image.hasUnwindData)
        return RegisteredCalls(
            stub: base &+ area.stub, load: base &+ area.load, unload: base &+ area.unload,
            registrations: calls.registrations, initialisers: calls.initialisers, choices: calls.choices,
            unwinderBias: calls.unwinder?.bias ?? 0, unwinderBuildID: calls.unwinder?.buildID,
            unwind: unwind.compactMap { module in
                module.target.layout.unwind.map {
                    let table = AddressRange(address: module.base &+ $0.table.address, size: $0.table.size)
                    return ModuleUnwind(table: table, object: module.base &+ $0.object)
                }
            })
    }
}
