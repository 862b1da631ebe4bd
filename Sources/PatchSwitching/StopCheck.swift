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
        do {
            if plan.isActivation { try writeEntries(plan, stopped) }
            // Old code never sees a new value, whenever the applier dies.
            var outcomes = plan.isActivation ? [:] : try plan.values.write(memory)
            try writeSwitches(plan, memory)
            if plan.isActivation { outcomes = try plan.values.write(memory) }
            if !plan.isActivation { try writeEntries(plan, stopped) }
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
            workspace.map = try stopped.memory.map()
            stacks = OwnStack.ranges(of: stopped, workspace.map)
        }
        let own = stacks.compactMap { $0 }
        let copies = try workspace.arena.readStacks(own, of: stopped)
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

    private static func writeEntries(_ plan: SwitchPlan, _ stopped: borrowing StoppedProcess) throws {
        for entry in plan.entries { try stopped.write(entry.bytes, at: RemoteAddress(entry.address)) }
    }

    private static func writeSwitches(_ plan: SwitchPlan, _ memory: RemoteMemory) throws {
        for write in plan.switches { try memory.write([write.value], at: RemoteAddress(write.address)) }
    }
}
