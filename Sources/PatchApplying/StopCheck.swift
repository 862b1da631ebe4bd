import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

/// Why one attempt at the switch left everything unchanged.
enum SwitchObstacle: Error, Sendable {
    /// A thread is in, or will return to, what is replaced.
    case inUse(tid: Int32, name: String, value: UInt64, place: UInt64?)
    /// Memory that no thread's own stack explains holds an address inside what is replaced (trap foreign-stacks).
    case pointedTo(place: UInt64, name: String)
    /// The checks were not finished in time.
    case tooLong
    /// Another livepatch stored a state in between.
    case registryChanged

    /// Says which function, or where.
    var isNamed: Bool {
        switch self {
        case .inUse, .pointedTo: true
        case .tooLong, .registryChanged: false
        }
    }

    func message(pid: Int32) -> String {
        switch self {
        case .inUse(let tid, let name, let value, let place):
            let how = place.map { "its stack holds \(hex(value)) at \(hex($0))" } ?? "a register holds \(hex(value))"
            return "pid \(pid): thread \(tid) is in \(name): \(how)"
        case .pointedTo(let place, let name):
            return "pid \(pid): \(hex(place)) holds an address inside \(name): it may be a suspended call"
        case .tooLong: return "pid \(pid): the check was not finished within --max-stop"
        case .registryChanged: return "pid \(pid): another livepatch has just changed the process"
        }
    }
}

/// Copies and lists that are made before the stop and filled in it.
struct StopWorkspace: ~Copyable {
    var arena: RemoteArena
    let text: TextWriter
    /// Mappings as they were just before the stop.
    var map: MemoryMap
    /// The program can switch stacks: suspended calls may lie anywhere in writable memory.
    var stackSwitching: StackSwitching.Ability
    /// Places outside the stacks that may belong to suspended calls, found before the stop.
    var candidates: [UInt64] = []
    /// How often in a row the search of the running program took longer than a stop may.
    var slowSearches = 0
    /// Modules and registry: not the program's memory.
    var excluded: [RemoteRange]
    /// The stacks of the last attempt; their bytes are in the arena.
    var copied: [CopiedStack] = []
    /// Stacks whose hits are known to be stale.
    var proofs: [StaleProof] = []
}

/// Checks a stopped process and makes the switch.
enum StopCheck {
    /// Everything that happens in the stop.
    /// - Returns: how each value fared.
    /// - Throws: `SwitchObstacle` with nothing changed, `Refusal` changed-bytes with nothing changed.
    static func perform(
        _ plan: SwitchPlan, on stopped: borrowing StoppedProcess, _ workspace: inout StopWorkspace
    ) throws -> ValueOutcomes {
        let memory = stopped.memory
        guard try memory.read(RemoteAddress(plan.selectorAddress), as: UInt64.self) == plan.selector else {
            throw SwitchObstacle.registryChanged
        }
        if !plan.forbiddenInRegisters.isEmpty { try checkRegisters(plan, stopped) }
        if !plan.forbidden.isEmpty { try checkStacks(plan, stopped, &workspace) }
        try checkEntries(plan, memory)
        guard stopped.nanosecondsLeft > 0 else { throw SwitchObstacle.tooLong }
        do {
            if plan.isActivation { try writeEntries(plan, stopped, workspace.text) }
            // Old code never sees a new value, whenever the applier dies.
            var outcomes = plan.isActivation ? [:] : try writeValues(plan.values, memory)
            try writeSwitches(plan, memory)
            if plan.isActivation { outcomes = try writeValues(plan.values, memory) }
            if !plan.isActivation { try writeEntries(plan, stopped, workspace.text) }
            return outcomes
        } catch {
            throw Failure("pid \(stopped.pid): a write failed midway: \(error); run `livepatch status`")
        }
    }

    private static func checkRegisters(_ plan: SwitchPlan, _ stopped: borrowing StoppedProcess) throws {
        for thread in stopped.threads {
            for value in thread.registers.generalPurpose {
                if let hit = plan.forbiddenInRegisters.interval(holding: value) {
                    throw SwitchObstacle.inUse(tid: thread.tid, name: hit.name, value: value, place: nil)
                }
            }
        }
    }

    private static func checkStacks(
        _ plan: SwitchPlan, _ stopped: borrowing StoppedProcess, _ workspace: inout StopWorkspace
    ) throws {
        var stacks = OwnStack.ranges(of: stopped, workspace.map)
        if stacks.contains(where: { $0 == nil }) {
            // A mapping made since, or a foreign stack: look again.
            workspace.map = try MemoryMap.read(pid: stopped.pid)
            stacks = OwnStack.ranges(of: stopped, workspace.map)
        }
        let own = stacks.compactMap { $0 }
        let copies = try workspace.arena.read(own, of: stopped.memory)
        let threads = zip(stopped.threads, stacks).filter { $0.1 != nil }.map(\.0)
        workspace.copied = threads.indices.map {
            CopiedStack(tid: threads[$0].tid, registers: threads[$0].registers, range: own[$0], slice: copies[$0])
        }
        for stack in workspace.copied {
            guard UInt64(stack.slice.count) == stack.range.count else { throw SwitchObstacle.tooLong }
            if let hit = workspace.firstHit(in: stack, plan.forbidden) {
                let bytes = workspace.arena.bytes(stack.slice)
                let value = bytes.loadUnaligned(fromByteOffset: hit * 8, as: UInt64.self)
                throw SwitchObstacle.inUse(
                    tid: stack.tid, name: plan.forbidden.interval(holding: value)?.name ?? "", value: value,
                    place: stack.range.start.rawValue &+ UInt64(hit) * 8)
            }
            guard stopped.nanosecondsLeft > 0 else { throw SwitchObstacle.tooLong }
        }
        try checkCandidates(plan, stopped.memory, workspace, own)
        if own.count < stacks.count || workspace.stackSwitching == .any {
            let search = MemorySearch(map: workspace.map, memory: stopped.memory, deadline: stopped.deadline)
            let unused = OwnStack.unused(own, workspace.map)
            try search.refuseHits(plan.forbidden, except: own + unused + workspace.excluded)
        }
    }

    /// What was found before the stop and lies on no thread's own stack: looked at again.
    private static func checkCandidates(
        _ plan: SwitchPlan, _ memory: RemoteMemory, _ workspace: borrowing StopWorkspace, _ own: [RemoteRange]
    ) throws {
        if workspace.candidates.isEmpty { return }
        let known = own + OwnStack.unused(own, workspace.map)
        let open = workspace.candidates.map { RemoteRange(start: RemoteAddress($0), count: 8) }.filter { range in
            !known.contains { $0.contains(range.start) }
        }
        for (range, bytes) in zip(open, try memory.readMany(open)) {
            guard let value = bytes?.withUnsafeBytes({ $0.loadUnaligned(as: UInt64.self) }),
                let hit = plan.forbidden.interval(holding: value)
            else { continue }
            throw SwitchObstacle.pointedTo(place: range.start.rawValue, name: hit.name)
        }
    }

    /// Only bytes that are the expected ones, or already the new ones, are ever overwritten (trap dlclosed, uprobe).
    private static func checkEntries(_ plan: SwitchPlan, _ memory: RemoteMemory) throws {
        let ranges = plan.entries.map { RemoteRange(start: RemoteAddress($0.address), count: UInt64($0.bytes.count)) }
        for (entry, bytes) in zip(plan.entries, try memory.readMany(ranges)) {
            guard let bytes, bytes == entry.expected || bytes == entry.bytes else {
                throw ChangedBytes.refusal(function: entry.function, address: entry.address, found: bytes ?? [])
            }
        }
    }

    private static func writeEntries(
        _ plan: SwitchPlan, _ stopped: borrowing StoppedProcess, _ text: TextWriter
    ) throws {
        for entry in plan.entries where !text.write(entry.bytes, at: entry.address) {
            try stopped.write(entry.bytes, at: RemoteAddress(entry.address))
        }
    }

    private static func writeSwitches(_ plan: SwitchPlan, _ memory: RemoteMemory) throws {
        for write in plan.switches { try memory.write([write.value], at: RemoteAddress(write.address)) }
    }
}

/// The part of each thread's own stack that is in use.
enum OwnStack {
    /// One element a thread: from its stack pointer to the end of its own stack; nil when it stands on another one.
    static func ranges(of stopped: borrowing StoppedProcess, _ map: MemoryMap) -> [RemoteRange?] {
        let pid = stopped.pid
        return stopped.threads.map { range(of: $0, isMain: $0.tid == pid, map) }
    }

    private static func range(of thread: StoppedThread, isMain: Bool, _ map: MemoryMap) -> RemoteRange? {
        guard let mapping = map.mapping(containing: thread.stackPointer), mapping.isWritable else { return nil }
        if mapping.kind == .stack { return isMain ? RemoteRange(start: thread.stackPointer, end: mapping.end) : nil }
        // The thread's control block ends its stack, in glibc and musl alike; mappings of neighbours may be merged.
        let block = RemoteAddress(thread.registers.fs_base)
        guard mapping.kind == .anonymous, block > thread.stackPointer, block <= mapping.end else { return nil }
        return RemoteRange(start: thread.stackPointer, end: block)
    }
}

extension OwnStack {
    /// What lies below the stack pointers: left over from calls that have returned. Only where a guard below shows
    /// that the mapping is this stack and nothing else.
    static func unused(_ live: [RemoteRange], _ map: MemoryMap) -> [RemoteRange] {
        live.compactMap { range in
            guard let index = map.index(containing: range.start) else { return nil }
            let mapping = map.mappings[index]
            let guarded =
                index > 0 && map.mappings[index - 1].end == mapping.start && !map.mappings[index - 1].isReadable
            guard mapping.kind == .stack || guarded else { return nil }
            // The red zone below the stack pointer is in use.
            let end = RemoteAddress(max(mapping.start.rawValue, range.start.rawValue &- 128))
            return RemoteRange(start: mapping.start, end: end)
        }
    }
}
