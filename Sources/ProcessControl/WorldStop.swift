import CLinuxPtrace
import Glibc

/// The steps of a stop, in the order seize, interrupt, resume, and what is known of each thread.
struct WorldStop {
    enum State { case running, stopped, gone }

    struct Thread {
        var tid: Int32
        var state: State
        /// Taken from the thread by its stop, given back when it goes on.
        var signal: Int32 = 0
        /// Seized along with its parent, but of another process (`clone` without CLONE_THREAD).
        var isForeign = false
        var registers = Registers()
    }

    private let process: BoundProcess
    private let watch: SleeperWatch?
    private var pid: Int32 { process.pid }
    /// Asleep since before the stop: not touched while that lasts.
    private(set) var sleepers: [SleepingThread]
    private var untouched: Set<Int32>
    private(set) var entries: [Thread] = []
    private(set) var threads: [StoppedThread] = []
    private(set) var stoppedAt: UInt64 = 0
    private(set) var deadline: UInt64 = 0
    private var indices: [Int32: Int] = [:]
    private var zombies: Set<Int32> = []

    init(_ process: BoundProcess, leaving sleepers: [SleepingThread] = [], _ watch: SleeperWatch? = nil) {
        self.process = process
        self.watch = watch
        self.sleepers = sleepers
        untouched = Set(sleepers.map(\.tid))
    }

    /// Attaches to every thread that is not left alone, without stopping any, until a scan finds no new one.
    mutating func seizeAll() throws(ProcessError) {
        for _ in 0..<1000 {
            var found = false
            for tid in try unknownThreads() {
                found = try seize(tid) || found
                if entries.count % 32 == 0 { try drain() }
            }
            if !found { break }
        }
        guard !sleepers.isEmpty || entries.contains(where: { $0.state != .gone }) else { throw .vanished(pid: pid) }
        entries.reserveCapacity(entries.count + 64)
        threads.reserveCapacity(entries.count + 64)
    }

    /// Interrupts all and waits until all stand still.
    mutating func interruptAll(maximumStop: Duration) throws(ProcessError) {
        stoppedAt = lp_monotonic_ns()
        deadline = stoppedAt &+ maximumStop.nanoseconds
        _ = lp_tick(maximumStop.nanoseconds + 1_000_000, 1_000_000)
        defer { _ = lp_tick(0, 0) }
        for index in entries.indices where entries[index].state == .running {
            _ = lp_ptrace(LP_INTERRUPT, entries[index].tid, 0, 0)
        }
        try waitForAll()
        try catchStragglers()
        listThreads()
        guard !threads.isEmpty || !sleepers.isEmpty else { throw .vanished(pid: pid) }
    }

    /// Stops sleepers after all, and whatever they have started.
    mutating func stop(_ woken: [SleepingThread]) throws(ProcessError) {
        let found = Set(woken.map(\.tid))
        untouched.subtract(found)
        sleepers.removeAll { found.contains($0.tid) }
        _ = lp_tick(deadline > lp_monotonic_ns() ? deadline - lp_monotonic_ns() + 1_000_000 : 1_000_000, 1_000_000)
        defer { _ = lp_tick(0, 0) }
        for tid in found where indices[tid] == nil {
            if try seize(tid) { _ = lp_ptrace(LP_INTERRUPT, tid, 0, 0) }
        }
        try waitForAll()
        try catchStragglers()
        listThreads()
    }

    private mutating func listThreads() {
        threads = entries.filter { $0.state == .stopped && !$0.isForeign }.map {
            StoppedThread(tid: $0.tid, registers: $0.registers)
        }
    }

    func view(_ memory: RemoteMemory) -> StoppedProcess {
        StoppedProcess(
            pid: pid, threads: threads, sleepers: sleepers, stoppedAt: stoppedAt, deadline: deadline, memory: memory,
            watch: watch)
    }

    private func unknownThreads() throws(ProcessError) -> [Int32] {
        try process.threadIDs().filter { indices[$0] == nil && !zombies.contains($0) && !untouched.contains($0) }
    }

    /// Lets every thread go on; returns when the last one that stood still did. Threads that are still on their way to
    /// a stop are waited for a little, so that they are not left traced.
    @discardableResult
    mutating func resumeAll() -> UInt64 {
        for index in entries.indices where entries[index].state == .stopped { detach(index) }
        let end = lp_monotonic_ns()
        guard entries.contains(where: { $0.state == .running }) else { return end }
        for entry in entries where entry.state == .running { _ = lp_ptrace(LP_INTERRUPT, entry.tid, 0, 0) }
        for _ in 0..<1000 {
            var waiting = false
            for index in entries.indices where entries[index].state == .running {
                poll(index)
                if entries[index].state == .stopped { detach(index) }
                waiting = waiting || entries[index].state == .running
            }
            if !waiting { break }
            lp_sleep_ns(1_000_000)
        }
        return end
    }

    private mutating func detach(_ index: Int) {
        _ = lp_ptrace(LP_DETACH, entries[index].tid, 0, UInt64(entries[index].signal))
        entries[index].state = .gone
    }

    private mutating func add(_ tid: Int32) {
        indices[tid] = entries.count
        entries.append(Thread(tid: tid, state: .running))
    }

    /// True when the thread was not known before.
    private mutating func seize(_ tid: Int32) throws(ProcessError) -> Bool {
        let options = UInt64(LP_O_TRACECLONE | LP_O_TRACEEXEC | LP_O_TRACESYSGOOD)
        let result = lp_ptrace(LP_SEIZE, tid, 0, options)
        if result == 0 {
            add(tid)
            // Another process's by now: it is let go with the others, and never looked at (trap pid-reuse).
            entries[entries.count - 1].isForeign = !process.has(thread: tid)
            return true
        }
        guard result == -Int(EPERM) || result == -Int(EACCES) else { return false }
        guard let information = try? ProcessInformation.read(pid: tid) else { return false }
        if information.isZombie {
            zombies.insert(tid)
            return false
        }
        // A new thread of one we hold is ours from birth; so is one that a former attempt could not let go.
        if information.tracer == getpid() {
            add(tid)
            return true
        }
        if information.tracer != 0 { throw .alreadyTraced(pid: pid, tracer: information.tracer) }
        throw .noPermission(pid: pid, operation: "ptrace")
    }

    /// While seizing, nobody is kept waiting: whatever stops by itself goes on at once.
    private mutating func drain() throws(ProcessError) {
        // Bounded: a process that stops as fast as we let it go on must not keep us here.
        for _ in 0..<4096 {
            let (tid, status) = takeStatus(-1, flags: LP_WNOHANG)
            guard tid > 0 else { return }
            try passOn(Int32(tid), WaitStatus(status), stopSignal: (status >> 8) & 0xff)
        }
    }

    private mutating func passOn(_ tid: Int32, _ status: WaitStatus, stopSignal: Int32) throws(ProcessError) {
        if indices[tid] == nil { add(tid) }
        let index = indices[tid] ?? 0
        switch status {
        case .exited: entries[index].state = .gone
        case .signal(let number): _ = lp_ptrace(LP_CONT, tid, 0, UInt64(number))
        case .stop where stopSignal != SIGTRAP && lp_ptrace(LP_LISTEN, tid, 0, 0) == 0: break
        case .exec: throw .executed(pid: pid)
        default:
            // The interrupt of an attempt that was given up may arrive only now (trap eintr-from-stop).
            readRegisters(index)
            _ = lp_ptrace(LP_CONT, tid, 0, 0)
        }
    }

    private mutating func waitForAll() throws(ProcessError) {
        var index = 0
        while index < entries.count {
            while entries[index].state == .running {
                guard lp_monotonic_ns() < deadline else { throw .didNotStop(pid: pid, threads: runningThreads) }
                try wait(index)
            }
            index += 1
        }
    }

    private var runningThreads: [Int32] { entries.filter { $0.state == .running }.map(\.tid) }

    private mutating func wait(_ index: Int) throws(ProcessError) {
        let tid = entries[index].tid
        // A leader that ends before its threads gives no status until they have ended too.
        if tid == pid, leaderIsZombie() {
            entries[index].state = .gone
            zombies.insert(tid)
            return
        }
        let (result, status) = takeStatus(tid)
        if result == -Int(EINTR) { return }
        try record(index, result, status)
    }

    private func leaderIsZombie() -> Bool {
        entries.count > 1 && threadState(pid: pid, tid: pid) == UInt8(ascii: "Z")
    }

    private mutating func poll(_ index: Int) {
        let (result, status) = takeStatus(entries[index].tid, flags: LP_WNOHANG)
        if result != 0 { try? record(index, result, status) }
    }

    private mutating func record(_ index: Int, _ result: Int, _ status: Int32) throws(ProcessError) {
        guard result > 0 else {
            entries[index].state = .gone
            return
        }
        switch WaitStatus(status) {
        case .exited:
            entries[index].state = .gone
            return
        case .signal(let number): entries[index].signal = number
        case .clone: noteClone(parent: entries[index].tid)
        case .exec:
            entries[index].state = .stopped
            throw .executed(pid: pid)
        default: break
        }
        entries[index].state = .stopped
        readRegisters(index)
    }

    /// The thread's child is ours from birth and stops by itself.
    private mutating func noteClone(parent: Int32) {
        var message: UInt64 = 0
        let result = withUnsafeMutablePointer(to: &message) {
            lp_ptrace(LP_GETEVENTMSG, parent, 0, UInt64(UInt(bitPattern: $0)))
        }
        let tid = Int32(truncatingIfNeeded: message)
        guard result == 0, tid > 0, indices[tid] == nil else { return }
        add(tid)
        entries[entries.count - 1].isForeign = !process.has(thread: tid)
    }

    /// Reads the registers, and sees to it at once that the stop leaves no trace in the interrupted call: from here on
    /// our own death does no harm either (trap eintr-from-stop).
    private mutating func readRegisters(_ index: Int) {
        let tid = entries[index].tid
        let result = withUnsafeMutablePointer(to: &entries[index].registers) {
            lp_ptrace(LP_GETREGS, tid, 0, UInt64(UInt(bitPattern: $0)))
        }
        guard result == 0 else {
            entries[index].state = .gone
            return
        }
        restartIfNeeded(tid, &entries[index].registers)
    }

    /// Compares the number of threads: one that slipped through every scan would show here.
    private mutating func catchStragglers() throws(ProcessError) {
        for _ in 0..<10 {
            guard let count = process.threadCount() else { throw .vanished(pid: pid) }
            let held = entries.count { $0.state == .stopped && !$0.isForeign } + zombies.count
            // A thread that was left alone counts as long as it has not run: ending is running.
            if count <= held + untouched.count { return }
            for tid in try unknownThreads() {
                if try seize(tid) { _ = lp_ptrace(LP_INTERRUPT, tid, 0, 0) }
            }
            try waitForAll()
        }
        throw .didNotStop(pid: pid, threads: [])
    }
}

/// Makes an interrupted call that would answer EINTR start again instead (trap eintr-from-stop).
func restartIfNeeded(_ tid: Int32, _ registers: inout Registers) {
    guard registers.needsRestart else { return }
    registers.rax = UInt64(bitPattern: RestartCode.noHandler)
    let offsetOfRax: UInt64 = 80
    _ = lp_ptrace(LP_POKEUSER, tid, offsetOfRax, registers.rax)
}
