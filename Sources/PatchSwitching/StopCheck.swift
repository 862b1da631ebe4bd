import Diagnostics
import ElfFormat
import PatchRegistry
import ProcessControl
import ProcessImage

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
        let (pid, writer) = (stopped.pid, stopped.threads.first?.tid)
        return try stopped.whileNothingRuns {
            do {
                return try write(plan, memory, through: writer)
            } catch {
                throw Failure("pid \(pid): a write failed midway: \(error); run `livepatch status`")
            }
        }
    }

    private static func write(
        _ plan: SwitchPlan, _ memory: RemoteMemory, through writer: Int32?
    ) throws -> ValueOutcomes {
        if plan.isActivation { try writeEntries(plan, memory, writer) }
        // Old code never sees a new value, whenever the applier dies.
        var outcomes = plan.isActivation ? [:] : try plan.values.write(memory)
        try writeSwitches(plan, memory)
        if plan.isActivation { outcomes = try plan.values.write(memory) }
        if !plan.isActivation { try writeEntries(plan, memory, writer) }
        return outcomes
    }

    private static func checkRegisters(_ plan: SwitchPlan, _ stopped: borrowing StoppedProcess) throws {
        for thread in stopped.threads {
            // A call that is made again begins two bytes before.
            let restart = thread.systemCall == nil ? [] : [thread.registers.rip &- 2]
            for value in thread.registers.generalPurpose + restart {
                if let hit = plan.forbiddenInRegisters.interval(holding: value) {
                    throw SwitchObstacle.inUse(tid: thread.tid, name: hit.name, value: value, place: nil)
                }
            }
        }
    }

    private static func checkStacks(
        _ plan: SwitchPlan, _ stopped: borrowing StoppedProcess, _ workspace: inout StopWorkspace
    ) throws {
        let areAllKnown = try workspace.copyStacks(of: stopped)
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
        let isSearched = !areAllKnown || workspace.stackSwitching == .any
        if !isSearched, workspace.candidates.isEmpty { return }
        // Those of sleepers were looked at before.
        let pid = stopped.pid
        let asleep = stopped.sleepers.compactMap { OwnStack.range(of: $0, pid: pid, workspace.map) }
        let own = workspace.copied.map(\.range) + asleep
        try checkCandidates(plan, stopped.memory, workspace, own)
        if isSearched {
            let search = MemorySearch(map: workspace.map, memory: stopped.memory, deadline: stopped.deadline)
            let unused = OwnStack.unused(own, workspace.map)
            try search.refuseHits(
                plan.forbidden, except: own + unused + workspace.alternateStacks + workspace.excluded,
                workspace.initialWords)
        }
    }

    /// What was found before the stop and lies on no thread's own stack: looked at again.
    private static func checkCandidates(
        _ plan: SwitchPlan, _ memory: RemoteMemory, _ workspace: borrowing StopWorkspace, _ own: [RemoteRange]
    ) throws {
        if workspace.candidates.isEmpty { return }
        let known = own + OwnStack.unused(own, workspace.map) + workspace.alternateStacks
        let open = workspace.candidates.map { RemoteRange(start: RemoteAddress($0), count: 8) }.filter { range in
            !known.contains { $0.contains(range.start) }
        }
        for (range, bytes) in zip(open, try memory.readMany(open)) {
            guard let value = bytes?.withUnsafeBytes({ $0.loadUnaligned(as: UInt64.self) }),
                workspace.initialWords[range.start.rawValue] != value, let hit = plan.forbidden.interval(holding: value)
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

    private static func writeEntries(_ plan: SwitchPlan, _ memory: RemoteMemory, _ writer: Int32?) throws {
        for entry in plan.entries {
            try memory.write(entry.bytes, at: RemoteAddress(entry.address), through: writer)
        }
    }

    private static func writeSwitches(_ plan: SwitchPlan, _ memory: RemoteMemory) throws {
        for write in plan.switches { try memory.write([write.value], at: RemoteAddress(write.address)) }
    }
}
