import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage

/// How long a process may stand still, and how long to go on trying.
package struct StopLimits: Sendable {
    /// Of one attempt, in milliseconds.
    package var maximumStop: Int
    /// By CLOCK_MONOTONIC, in nanoseconds.
    package var deadline: UInt64

    package init(maximumStop: Int, deadline: UInt64) {
        self.maximumStop = maximumStop
        self.deadline = deadline
    }

    package var timeIsLeft: Bool { monotonicNanoseconds() < deadline }
    package var duration: Duration { .milliseconds(maximumStop) }
}

/// What the last stop cost.
package struct StopReport: Sendable {
    package var microseconds = 0
    package var threads = 0
    /// Threads that were interrupted, and how many of these in a system call; the others slept and were left alone.
    package var interrupted = 0
    package var interruptedCalls = 0
    package var attempts = 0
    package init() {}
}

/// Stops the process as often as it takes, checks, and switches; every attempt that fails leaves it unchanged.
package struct Switcher {
    private let plan: SwitchPlan
    private let consistency: Consistency
    /// The modules and the registry: not the program's memory.
    private let excluded: [RemoteRange]
    private let limits: StopLimits

    package init(
        _ plan: SwitchPlan, _ consistency: Consistency, excluding excluded: [RemoteRange], _ limits: StopLimits
    ) {
        self.plan = plan
        self.consistency = consistency
        self.excluded = excluded
        self.limits = limits
    }

    /// - Returns: how each value that the plan writes fared.
    /// - Throws: `Busy` naming who was in the way when the time is over; `Refusal`.
    package func run(in process: inout LoadedProcess, _ report: inout StopReport) throws -> ValueOutcomes {
        let (pid, subject) = (process.pid, process.subject)
        let ability = StackSwitching.find(in: process.view, process.linkMap)
        if consistency == .stack { try ability.refuseMovingStacks(subject) }
        var workspace = StopWorkspace(
            arena: RemoteArena(capacity: 4 << 20), map: process.map,
            stackSwitching: consistency == .stack ? ability.ability : .none, excluded: excluded,
            watch: SleeperWatch(process.memory))
        var reason: String?
        var pause: UInt32 = 1_000
        var failures = 0
        while true {
            do {
                return try attempt(in: &process, &workspace, &report)
            } catch let obstacle as SwitchObstacle {
                if case .registryChanged = obstacle { throw Busy(obstacle.message(pid: pid)) }
                // A search in the stop has found something: what it may be is found out before the next one.
                if case .pointedTo = obstacle { workspace.searchesFirst = true }
                let inTheWay = workspace.examine(plan.forbidden, memory: process.memory)
                let message = inTheWay.map { "\(subject): \($0)" } ?? obstacle.message(pid: pid)
                // Who was in the way says more than that an attempt took too long.
                if obstacle.isNamed || reason == nil { reason = message }
                guard limits.timeIsLeft else { throw Busy(reason ?? message) }
            } catch let error as ProcessError {
                guard case .didNotStop = error else { throw error }
                guard limits.timeIsLeft else { throw reason.map { Busy($0) } ?? error }
                // Where sleepers can't be kept from running, they are stopped in the end.
                failures += 1
                if failures > 3 { workspace.mayLeaveSleepers = false }
            } catch let busy as Busy {
                guard limits.timeIsLeft else { throw busy }
            }
            pauseMicroseconds(pause)
            pause = min(pause * 2, 100_000)
        }
    }

    private func attempt(
        in process: inout LoadedProcess, _ workspace: inout StopWorkspace, _ report: inout StopReport
    ) throws -> ValueOutcomes {
        try refuseSiblings(of: process)
        try process.refreshMap()
        try prepare(process, &workspace)
        let sleepers = try SleeperCheck(plan: plan, process: process).undisturbed(try workspace.watch.look())
        report.attempts += 1
        var outcomes: ValueOutcomes = [:]
        let stopped = try withStoppedProcess(
            process.memory, maximumStop: limits.duration, leaving: workspace.mayLeaveSleepers ? sleepers : [],
            workspace.watch
        ) { process in
            outcomes = try StopCheck.perform(plan, on: process, &workspace)
        }
        report.microseconds = stopped.stopMicroseconds
        report.threads = stopped.threads
        report.interrupted = stopped.interrupted
        report.interruptedCalls = stopped.interruptedCalls
        return outcomes
    }

    /// Pages that the stop will need are made ready: copied on write, and read once (trap blocked-read).
    private func prepare(_ process: LoadedProcess, _ workspace: inout StopWorkspace) throws {
        workspace.map = process.map
        for page in Set(plan.entries.map { RemoteAddress($0.address).page }) {
            // Where the kernel lets code be written through a stopped thread only (`proc_mem.force_override`).
            if try !isCopied(pageOf: page, process.memory) { workspace.mayLeaveSleepers = false }
        }
        for write in plan.switches { _ = try process.memory.read(RemoteAddress(write.address), count: 1) }
        try plan.values.prepare(in: process)
        if workspace.stackSwitching != .none || workspace.searchesFirst { try searchRunning(process, &workspace) }
    }

    private func isCopied(pageOf page: RemoteAddress, _ memory: RemoteMemory) throws(ProcessError) -> Bool {
        do throws(ProcessError) {
            try memory.copyOnWrite(pageOf: page)
            return true
        } catch {
            guard case .fault = error else { throw error }
            return false
        }
    }

    /// Searches all writable memory while the program runs. Where any code may switch stacks, that is done again in the
    /// stop, so it has to fit into one; for OpenSSL's jobs the places found now are looked at again.
    private func searchRunning(_ process: LoadedProcess, _ workspace: inout StopWorkspace) throws {
        let start = monotonicNanoseconds()
        let search = MemorySearch(map: process.map, memory: process.memory, deadline: limits.deadline)
        workspace.candidates = try search.hits(plan.forbidden, except: excluded)
        let milliseconds = Int((monotonicNanoseconds() - start) / 1_000_000)
        let initial = RelocatedSlots(process: process).initialWords(at: workspace.candidates)
        workspace.initialWords = initial
        // A candidate is looked at first, and a machine that was busy for a moment gets another chance.
        let fits = milliseconds < limits.maximumStop || workspace.candidates.count > initial.count
        workspace.slowSearches = fits ? 0 : workspace.slowSearches + 1
        if fits || workspace.stackSwitching == .openSSL { return }
        guard workspace.slowSearches > 3 else { throw SwitchObstacle.tooLong }
        throw Refusal(
            .foreignStacks, subject: process.subject,
            why: "the program can switch stacks; searching its memory for suspended calls takes \(milliseconds) ms",
            remedy: "give --max-stop \(milliseconds * 2 + 20), or --consistency entry if calls in progress may "
                + "finish in the old code")
    }

    /// Other processes that share the memory would not be stopped (trap shared-memory-sibling).
    private func refuseSiblings(of process: LoadedProcess) throws {
        let (pid, subject) = (process.pid, process.subject)
        if let waiting = try threadsInVfork(of: pid).first {
            throw Busy("\(subject): thread \(waiting) waits in vfork for its child's exec; try again when that is done")
        }
        guard let other = try processesSharingMemory(with: pid).first else { return }
        let parent = (try? parentProcess(of: other)) ?? 0
        if parent == pid {
            throw Busy(
                "\(subject): its child \(other) shares its memory and has not called exec yet; try again when it has")
        }
        throw Refusal(
            .sharedMemory, subject: subject,
            why: "process \(other) shares its memory and would run on during the switch")
    }
}
