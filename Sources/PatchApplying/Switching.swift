import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Stops the process as often as it takes, checks, and switches; every attempt that fails leaves it unchanged.
    ///
    /// - Parameter makePlan: computed anew before each attempt.
    /// - Returns: how each value that it was to write fared.
    /// - Throws: `Busy` naming who was in the way when the time is over; `Refusal`.
    @discardableResult
    mutating func makeSwitch(
        _ consistency: Consistency, _ makePlan: (Session) throws -> SwitchPlan
    ) throws -> ValueOutcomes {
        let ability = StackSwitching.find(in: view, linkMap)
        if consistency == .stack { try ability.refuseMovingStacks(subject) }
        let text = TextWriter(pid: pid)
        defer { text.close() }
        var workspace = StopWorkspace(
            arena: RemoteArena(capacity: 4 << 20), text: text, map: view.map,
            stackSwitching: consistency == .stack ? ability.ability : .none, excluded: livepatchRanges())
        let watchdog = StopWatchdog()
        var reason: String?
        var pause: UInt32 = 1_000
        while true {
            stop.attempts += 1
            let plan = try makePlan(self)
            do {
                try refuseSiblings()
                try prepare(plan, &workspace)
                let maximum = Duration.milliseconds(options.maximumStop)
                watchdog.arm(maximumStop: options.maximumStop)
                defer { watchdog.arm(milliseconds: 0) }
                var outcomes: ValueOutcomes = [:]
                let stopped = try withStoppedProcess(pid, maximumStop: maximum) { process in
                    outcomes = try StopCheck.perform(plan, on: process, &workspace)
                }
                stop.microseconds = stopped.stopMicroseconds
                stop.threads = stopped.threads
                return outcomes
            } catch let obstacle as SwitchObstacle {
                if case .registryChanged = obstacle { throw Busy(obstacle.message(pid: pid)) }
                let inTheWay = workspace.examine(plan.forbidden, memory: view.memory)
                let message = inTheWay.map { "\(subject): \($0)" } ?? obstacle.message(pid: pid)
                // Who was in the way says more than that an attempt took too long.
                if obstacle.isNamed || reason == nil { reason = message }
                guard timeIsLeft else { throw Busy(reason ?? message) }
            } catch let error as ProcessError {
                guard case .didNotStop = error else { throw error }
                guard timeIsLeft else { throw reason.map { Busy($0) } ?? error }
            } catch let busy as Busy {
                guard timeIsLeft else { throw busy }
            }
            pauseMicroseconds(pause)
            pause = min(pause * 2, 100_000)
        }
    }

    /// Pages that the stop will need are made ready: copied on write, and read once (trap blocked-read).
    private mutating func prepare(_ plan: SwitchPlan, _ workspace: inout StopWorkspace) throws {
        try view.refresh()
        workspace.map = view.map
        for page in Set(plan.entries.map { RemoteAddress($0.address).page }) {
            try view.memory.copyOnWrite(pageOf: page)
        }
        for write in plan.switches { _ = try view.memory.read(RemoteAddress(write.address), count: 1) }
        try prepare(plan.values)
        if workspace.stackSwitching != .none { try searchRunning(plan, &workspace) }
    }

    /// Searches all writable memory while the program runs. Where any code may switch stacks, that is done again in the
    /// stop, so it has to fit into one; for OpenSSL's jobs the places found now are looked at again.
    private func searchRunning(_ plan: SwitchPlan, _ workspace: inout StopWorkspace) throws {
        let start = monotonicNanoseconds()
        let search = MemorySearch(map: view.map, memory: view.memory, deadline: deadline)
        workspace.candidates = try search.hits(plan.forbidden, except: livepatchRanges())
        let milliseconds = Int((monotonicNanoseconds() - start) / 1_000_000)
        // A candidate is looked at first, and a machine that was busy for a moment gets another chance.
        let fits = milliseconds < options.maximumStop || !workspace.candidates.isEmpty
        workspace.slowSearches = fits ? 0 : workspace.slowSearches + 1
        if fits || workspace.stackSwitching == .openSSL { return }
        guard workspace.slowSearches > 3 else { throw SwitchObstacle.tooLong }
        throw Refusal(
            .foreignStacks, subject: subject,
            why: "the program can switch stacks; searching its memory for suspended calls takes \(milliseconds) ms",
            remedy: "give --max-stop \(milliseconds * 2 + 20), or --consistency entry if calls in progress may "
                + "finish in the old code")
    }

    /// Other processes that share the memory would not be stopped (trap shared-memory-sibling).
    private func refuseSiblings() throws {
        if let waiting = try threadsInVfork(of: pid).first {
            throw Busy("\(subject): thread \(waiting) waits in vfork for its child's exec")
        }
        guard let other = try processesSharingMemory(with: pid).first else { return }
        let parent = (try? parentProcess(of: other)) ?? 0
        if parent == pid { throw Busy("\(subject): its child \(other) shares its memory and has not called exec yet") }
        throw Refusal(
            .sharedMemory, subject: subject,
            why: "process \(other) shares its memory and would run on during the switch")
    }

    /// The modules and the registry: not the program's memory.
    func livepatchRanges() -> [RemoteRange] {
        var ranges = state.patches.flatMap(\.modules).map { RemoteRange(start: RemoteAddress($0.base), count: $0.size) }
        if let registry { ranges.append(RemoteRange(start: RemoteAddress(registry.address), count: registry.size)) }
        return ranges
    }
}
