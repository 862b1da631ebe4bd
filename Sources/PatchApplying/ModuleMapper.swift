import Diagnostics
import ElfFormat
import PatchRegistry
import PatchSwitching
import ProcessControl
import ProcessImage

/// A borrowed thread of the process, for the system calls and calls that only the process itself can make.
struct ThreadBorrower {
    let memory: RemoteMemory
    let limits: StopLimits

    /// A borrowed thread, waited for while none is in a state to be borrowed.
    /// - Parameter unfitness: why a thread, as it stands, must not be borrowed for what `body` will do.
    func run(
        unfitness: (StoppedThread) -> String? = { _ in nil }, _ body: (inout RemoteCaller) throws -> Void
    ) throws {
        var pause: UInt32 = 1_000
        while true {
            do {
                return try withBorrowedThread(memory, unfitness: unfitness, body)
            } catch let error as ProcessError {
                guard case .noSuitableThread = error, limits.timeIsLeft else { throw error }
            }
            pauseMicroseconds(pause)
            pause = min(pause * 2, 100_000)
        }
    }
}

/// Maps and unmaps modules and the registry, and fills them from outside.
struct ModuleMapper {
    let process: LoadedProcess
    let limits: StopLimits

    private var borrower: ThreadBorrower { ThreadBorrower(memory: process.memory, limits: limits) }

    /// Maps a place for the registry that is to begin with this record, or takes one that a killed command has mapped
    /// and not used (trap half-made).
    /// - Returns: its address and size.
    func mapRegistry(for record: RegisteredPatch) throws -> (address: UInt64, size: UInt64) {
        let size = Registry.size(forState: try Registry.encode(RegistryState(patches: [record])).count)
        if let place = Registry.abandonedPlace(of: size, in: process.view) { return place }
        var map = process.map
        for module in record.modules { map.reserve(RemoteAddress(module.base), module.size) }
        let executable = process.objects[0]
        let near = RemoteRange(
            start: RemoteAddress(executable.bias &+ pageSize), end: RemoteAddress(executable.bias &+ executable.span))
        guard
            let hole = findHole(
                in: map, near: near, size: size + Registry.smallestSize, rules: try HoleRules.read(pid: process.pid)),
            let place = roundUp(hole.rawValue, Registry.smallestSize)
        else {
            throw Refusal(.noHole, subject: process.subject, why: "there is no free place for the registry")
        }
        try borrower.run { try $0.map(at: RemoteAddress(place), size: size, .readOnly) }
        return (place, size)
    }

    /// Maps each module by one call, so that its code stands only where all of its place is ours (trap half-made).
    func map(_ record: RegisteredPatch) throws {
        try borrower.run { caller in
            for (index, module) in record.modules.enumerated() {
                do {
                    try caller.map(at: RemoteAddress(module.base), size: mappedSize(of: module), .readExecute)
                } catch ProcessError.remoteCall("mmap", let number) {
                    // What stands there is the program's: only what is ours is taken away again.
                    for module in record.modules[..<index] { try caller.unmap(place(of: module)) }
                    throw ProcessError.remoteCall(name: "mmap", errno: number)
                }
                for segment in module.segments where segment.protection & 4 == 0 {
                    let range = RemoteRange(start: RemoteAddress(segment.address), count: segment.size)
                    try caller.protect(range, segment.protection & 2 != 0 ? .readWrite : .readOnly)
                }
            }
        }
    }

    private func place(of module: RegisteredModule) -> RemoteRange {
        RemoteRange(start: RemoteAddress(module.base), count: mappedSize(of: module))
    }

    private func holdsCode(_ module: RegisteredModule) -> Bool {
        let parts = module.segments.filter { $0.protection & 4 != 0 }.map {
            RemoteRange(start: RemoteAddress($0.address), count: $0.size)
        }
        let starts = parts.map(\.start) + [place(of: module).start]
        let ends = parts.map(\.end) + [place(of: module).end]
        return process.map.mappings.contains { mapping in
            starts.contains(mapping.start) && ends.contains(mapping.end) && mapping.kind == .anonymous
                && mapping.isExecutable && !mapping.isWritable && !mapping.isShared
        }
    }

    private func isCovered(_ place: RemoteRange) -> Bool {
        process.view.isCovered(place.start.rawValue, place.count) { $0.kind == .anonymous && !$0.isShared }
    }

    private func mappedSize(of module: RegisteredModule) -> UInt64 { roundUp(module.size, pageSize) ?? module.size }

    func fill(_ module: PlannedModule) throws {
        for segment in module.image.segments {
            let bytes = trimmed(module.image.memory.bytes[Int(segment.start)..<Int(segment.start + segment.size)])
            try process.memory.write(bytes, at: RemoteAddress(module.base + segment.start))
        }
    }

    /// Without the zeros at the end, which a new mapping has anyway.
    private func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        Array(bytes[..<(bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? bytes.startIndex)])
    }

    /// The old ways lead to the original code again.
    func resetSlots(of module: PlannedModule) throws {
        for slot in module.target.functions.compactMap(\.oldSlot) {
            try process.memory.write(try module.image.memory.slice(slot, 8), at: RemoteAddress(module.base &+ slot))
        }
    }

    /// Where a patch is built on another one, its old way leads through that one's stub.
    func writeStackedSlots(_ record: RegisteredPatch, in state: RegistryState) throws {
        for function in record.functions {
            guard let digest = function.stackedOn, let (below, lower) = state.holder(ofEntry: function.entry),
                below.manifestDigest == digest
            else { continue }
            try process.memory.write(littleEndian(lower.stub), at: RemoteAddress(function.oldSlot))
        }
    }

    /// Unmaps what is left of a patch's modules: each whole, by one call.
    ///
    /// Anonymous code of exactly the extent of a module's code, or of the whole module before its parts were told apart, is its
    /// own, if nothing of the place is missing; and then so is all of the place. Anything else is left alone: the program may
    /// have got that memory since.
    func unmap(_ patch: RegisteredPatch) throws {
        let ranges = patch.modules.filter { isCovered(place(of: $0)) && holdsCode($0) }.map(place)
        if ranges.isEmpty { return }
        try borrower.run { caller in for range in ranges { try caller.unmap(range) } }
    }
}
