import Diagnostics
import PatchFormat
import ProcessControl
import ProcessImage

/// The records of a process's patches: its registry, or none as long as nothing was ever loaded.
package struct PatchRecords: Sendable {
    private var registry: Registry?

    /// Finds and checks the registry.
    /// - Throws: `Refusal` hostile-registry.
    package init(of process: LoadedProcess) throws {
        registry = try Registry.find(in: process.view)
        try registry?.check(process.view, process.objects)
    }

    package var exists: Bool { registry != nil }
    package var state: RegistryState { registry?.state ?? RegistryState() }
    package var patches: [RegisteredPatch] { state.patches }

    package func patch(_ reference: PatchReference) -> RegisteredPatch? {
        state.index(of: reference).map { state.patches[$0] }
    }

    /// Where the registry's selector word lies, and what it holds; nil without a registry.
    package var selector: RegistrySelector? {
        registry.map { RegistrySelector(address: $0.address + Registry.selectorOffset, value: $0.selector) }
    }

    /// The mapping of the registry.
    package var ownRanges: [RemoteRange] {
        registry.map { [RemoteRange(start: RemoteAddress($0.address), count: $0.size)] } ?? []
    }

    /// The modules and the registry: not the program's memory.
    package var livepatchRanges: [RemoteRange] {
        patches.flatMap(\.modules).map { RemoteRange(start: RemoteAddress($0.base), count: $0.size) } + ownRanges
    }

    // MARK: Changes

    /// Fills the new mapping that is to hold the registry.
    package mutating func create(memory: RemoteMemory, at address: UInt64, size: UInt64) throws {
        registry = try Registry.create(memory: memory, at: address, size: size)
    }

    package mutating func update(_ change: (inout RegistryState) throws -> Void) throws {
        try registry?.update(change)
    }

    /// Stores a change of one patch's record.
    package mutating func update(_ reference: PatchReference, _ change: (inout RegisteredPatch) -> Void) throws {
        try update { state in
            if let index = state.index(of: reference) { change(&state.patches[index]) }
        }
    }

    package mutating func append(_ record: RegisteredPatch) throws { try update { $0.patches.append(record) } }

    package mutating func remove(_ reference: PatchReference) throws {
        try update { $0.patches.removeAll { $0.reference == reference } }
    }
}

/// The word that another livepatch changes whenever it changes the process.
package struct RegistrySelector: Sendable, Hashable {
    package var address: UInt64
    package var value: UInt64
}

extension LoadedProcess {
    /// Whether the very target still lies where the module was made for.
    package func isPresent(_ module: RegisteredModule) -> Bool {
        objects.contains { $0.bias == module.targetBias && $0.buildID == module.buildID }
    }

    /// Targets of the bundle that the process has mapped since the patch was loaded (by dlopen): nothing of them is
    /// patched.
    package func unpatched(_ patch: RegisteredPatch) -> [RegisteredTarget] {
        switch patch.state {
        case .loaded, .activating, .active, .deactivating: (patch.leftOut ?? []).filter { isMapped($0.buildID) }
        case .loading, .unloading, .initialising, .retiring, .failed, .resident, .superseded: []
        }
    }
}

extension LoadedProcess {
    /// Whether the code and constants of a patch's modules are as they were written.
    package func isIntact(_ record: RegisteredPatch) throws -> Bool {
        for segment in record.modules.flatMap(\.segments) {
            guard let digest = segment.digest else { continue }
            if Digest.sha256(try view.read(segment.address, segment.size).bytes) != digest { return false }
        }
        return true
    }
}
