import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Unmaps an inactive patch if nothing can point into it; otherwise it stays, resident and harmless.
    /// - Returns: why it stays; nil when it is gone.
    mutating func unload(_ reference: PatchReference) throws -> String? {
        guard let patch = patch(reference) else { throw notLoaded(reference.id) }
        guard patch.state == .loaded || patch.state == .resident else {
            throw Refusal(
                .patchState, subject: patch.id, why: "it is \(patch.state.rawValue) in \(subject)",
                remedy: patch.state == .active ? "deactivate it first" : nil)
        }
        try refuseDependents(of: patch)
        if let upper = stackedUpon(patch).first {
            if !upper.state.isLeftOver {
                throw Refusal(.requiredByOthers, subject: patch.id, why: "\(upper.id) in \(subject) leads through it")
            }
            return try stay(reference, "\(upper.id), which is resident, leads through it")
        }
        if let calls = patch.calls, calls.initialisers > 0 {
            return try stay(reference, "its initialisers have run: what they made may point into it")
        }
        if patch.wasActive {
            if let why = patch.resident { return try stay(reference, why) }
            if let why = try proveUnused(patch) { return try stay(reference, why) }
        }
        if let why = try deregister(patch) { return try stay(reference, why) }
        try update(reference) { $0.state = .unloading }
        try finishUnloading(reference)
        return nil
    }

    private mutating func stay(_ reference: PatchReference, _ why: String) throws -> String {
        try update(reference) { $0.state = .resident }
        return why
    }

    /// Unmaps what is left of a patch and forgets it.
    mutating func finishUnloading(_ reference: PatchReference) throws {
        guard let patch = patch(reference) else { return }
        try view.refresh()
        let ranges = patch.modules.flatMap { leftovers(of: $0, view.map) }
        if !ranges.isEmpty {
            try withThread { caller in for range in ranges { try caller.unmap(range) } }
        }
        try registry?.update { $0.patches.removeAll { $0.reference == reference } }
    }

    /// The mappings of an unfinished load or unload that are provably ours, code last.
    ///
    /// The module's code is mapped first and unmapped last: where an executable mapping of exactly its place and size
    /// stands, the other parts are ours if they have exactly their places too. Anything else is left alone: the program
    /// may have got that memory since.
    func leftovers(of module: RegisteredModule, _ map: MemoryMap) -> [RemoteRange] {
        let present = module.segments.filter { segment in
            let range = RemoteRange(start: RemoteAddress(segment.address), count: segment.size)
            return map.mappings.contains { $0.range == range && $0.matches(segment.protection) }
        }
        guard present.contains(where: { $0.protection & 4 != 0 }) else { return [] }
        return present.sorted { $0.protection & 4 < $1.protection & 4 }.map {
            RemoteRange(start: RemoteAddress($0.address), count: $0.size)
        }
    }

    /// The unfinished load of an earlier command, or of this one, taken away again.
    mutating func takeBackLoading(_ reference: PatchReference) throws {
        guard patch(reference)?.state == .loading else { return }
        try finishUnloading(reference)
    }

    // MARK: Proof that nothing points into the module (trap unload-proof)

    /// Searches registers, stacks and all writable memory while the process stands still.
    /// - Returns: nil when nothing points into the patch's modules; else where, for the reader.
    private mutating func proveUnused(_ patch: RegisteredPatch) throws -> String? {
        try view.refresh()
        let modules = patch.modules.map { RemoteRange(start: RemoteAddress($0.base), count: $0.size) }
        let table = ScanTable(searched(patch))
        var own = modules
        if let registry { own.append(RemoteRange(start: RemoteAddress(registry.address), count: registry.size)) }
        let search = MemorySearch(map: view.map, memory: view.memory, deadline: deadline)
        let size = (try? search.presentRanges(except: own).reduce(0) { $0 + $1.count }) ?? .max
        // About 2 GB a second are copied and searched; beyond that the stop would be felt.
        guard size < UInt64(options.maximumStop) * 1_000_000 else {
            return "its writable memory is too large to be searched for pointers within --max-stop"
        }
        let watchdog = StopWatchdog()
        var reason: String?
        var pause: UInt32 = 2_000
        for _ in 0..<8 where timeIsLeft {
            do {
                let maximum = Duration.milliseconds(options.maximumStop)
                watchdog.arm(maximumStop: options.maximumStop)
                defer { watchdog.arm(milliseconds: 0) }
                let stopped = try withStoppedProcess(pid, maximumStop: maximum) { process in
                    try searchStopped(process, table, own, patch)
                }
                if stop.microseconds < stopped.stopMicroseconds { stop.microseconds = stopped.stopMicroseconds }
                return nil
            } catch let obstacle as SwitchObstacle {
                reason = obstacle.message(pid: pid)
            } catch let error as ProcessError {
                guard case .didNotStop = error else { throw error }
                reason = "\(error)"
            }
            pauseMicroseconds(pause)
            pause *= 2
        }
        return reason ?? "the proof that nothing points into it could not be finished in time"
    }

    /// The modules, without what only the unwinder refers to: it forgets that later, and while it knows it, it alone may
    /// do something with it.
    private func searched(_ patch: RegisteredPatch) -> [ScanTable.Interval] {
        let known = patch.calls?.unwind.flatMap {
            [$0.table, AddressRange(address: $0.object, size: ModuleUnwind.objectSize)]
        }
        let holes = (known ?? []).sorted { $0.address < $1.address }
        return patch.modules.flatMap { module in
            var (start, result): (UInt64, [ScanTable.Interval]) = (module.base, [])
            for hole in holes where hole.address >= start && hole.end <= module.range.end {
                result.append(.init(first: start, last: hole.address &- 1, name: "the module"))
                start = hole.end
            }
            return result + [.init(first: start, last: module.range.end &- 1, name: "the module")]
        }
    }

    private func searchStopped(
        _ process: borrowing StoppedProcess, _ table: ScanTable, _ own: [RemoteRange], _ patch: RegisteredPatch
    ) throws {
        for thread in process.threads {
            if let value = thread.registers.generalPurpose.first(where: table.contains) {
                throw SwitchObstacle.inUse(tid: thread.tid, name: "the module", value: value, place: nil)
            }
        }
        let map = try MemoryMap.read(pid: process.pid)
        let live = OwnStack.ranges(of: process, map).compactMap { $0 }
        let search = MemorySearch(map: map, memory: process.memory, deadline: process.deadline)
        try search.refuseHits(table, except: own + OwnStack.unused(live, map)) { place, value in
            isOfUnwinder(place, value, patch, process.memory)
        }
    }

    /// From GCC 13 on, libgcc keeps (start of the code, its size, `struct object`) in a tree. Nobody else knows where the
    /// object is.
    private func isOfUnwinder(
        _ place: UInt64, _ value: UInt64, _ patch: RegisteredPatch, _ memory: RemoteMemory
    ) -> Bool {
        guard let calls = patch.calls, calls.registrations > 0,
            let size = try? memory.read(RemoteAddress(place &+ 8), as: UInt64.self),
            let object = try? memory.read(RemoteAddress(place &+ 16), as: UInt64.self)
        else { return false }
        return calls.unwind.contains { $0.object == object }
            && patch.modules.contains { module in
                module.isInside(value, size, protection: 4) && module.isInside(object, 1, protection: 2)
            }
    }
}
