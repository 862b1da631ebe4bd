import CLinuxPtrace
import Glibc
import Synchronization

/// Numbers of processors, as the kernel writes them.
struct ProcessorSet: Hashable, Sendable {
    private(set) var words: [UInt] = []

    init() {}

    /// Those that the thread may run on; nil when it is gone.
    init?(of tid: Int32) {
        var buffer = [UInt](repeating: 0, count: 128)
        let count = buffer.withUnsafeMutableBytes { lp_processors_of(tid, $0.baseAddress, $0.count) }
        guard count > 0 else { return nil }
        words = Array(buffer[..<((buffer.lastIndex { $0 != 0 } ?? -1) + 1)])
    }

    /// Whether it is what the thread may run on now.
    func isStill(of tid: Int32) -> Bool {
        withUnsafeTemporaryAllocation(of: UInt.self, capacity: 128) { buffer in
            let size = lp_processors_of(tid, buffer.baseAddress, buffer.count * MemoryLayout<UInt>.size)
            let count = size / MemoryLayout<UInt>.size
            guard count >= words.count else { return false }
            return buffer[..<words.count].elementsEqual(words) && buffer[words.count..<count].allSatisfy { $0 == 0 }
        }
    }

    func union(_ other: ProcessorSet) -> ProcessorSet {
        var result = self
        for (index, word) in other.words.enumerated() {
            if index < result.words.count { result.words[index] |= word } else { result.words.append(word) }
        }
        return result
    }

    var numbers: [Int] {
        words.enumerated().flatMap { index, word in
            (0..<UInt.bitWidth).filter { word >> $0 & 1 != 0 }.map { index * UInt.bitWidth + $0 }
        }
    }
}

/// Keeps all ordinary threads of the machine off some processors, for less than a millisecond: on each of them a real-time thread of
/// ours spins. What sleeps may be woken meanwhile, but runs only when the processors are given back.
///
/// It needs no trace of the threads that it keeps, and our death ends it. The kernel stops all processors in the same way when it
/// patches itself.
final class ProcessorHold: Sendable {
    let processors: ProcessorSet
    /// Whether the kernel gives us real-time priority on every one.
    let isPermitted: Bool
    private let spinners: [Spinner]
    private let original: ProcessorSet

    /// In nanoseconds. A hold lasts a millisecond; but the machine under this one may take our processor away for longer, and a
    /// spinner must not give up its own meanwhile.
    private static let limit: UInt64 = 50_000_000

    init(_ processors: ProcessorSet) {
        self.processors = processors
        original = ProcessorSet(of: 0) ?? ProcessorSet()
        let spinners = processors.numbers.map { Spinner(processor: $0, limit: ProcessorHold.limit) }
        self.spinners = spinners
        let priority = RealtimePriority()
        priority.restore()
        isPermitted = priority.isTaken && !spinners.isEmpty && spinners.allSatisfy { $0.start() }
    }

    deinit { for spinner in spinners { spinner.end() } }

    /// Called with a higher priority than the spinners': on the processor of this thread, one takes its place when it waits.
    /// - Returns: whether the processors were ours within a millisecond.
    func take() -> Bool {
        let deadline = lp_monotonic_ns() &+ 1_000_000
        let own = Int(lp_processor())
        guard isPermitted, lp_set_processor(Int32(own)) == 0, wait(until: deadline, for: \.isWaiting, own) else {
            release()
            return false
        }
        for spinner in spinners { spinner.hold() }
        guard wait(until: deadline, for: \.isSpinning, own) else {
            release()
            return false
        }
        for spinner in spinners where spinner.processor != own { spinner.begin() }
        return true
    }

    /// Whether nobody else has been given one of the processors since `take`.
    var isUnbroken: Bool {
        let own = Int(lp_processor())
        let now = lp_monotonic_ns()
        // A count grows when a processor is given, and not when it is taken away: a spinner must show that it goes on.
        return wait(until: now &+ 500_000, for: { $0.beat > now }, own)
            && spinners.allSatisfy { $0.processor == own || $0.isUnbroken }
    }

    func release() {
        for spinner in spinners { spinner.release() }
        _ = original.words.withUnsafeBytes { lp_set_processors($0.baseAddress, $0.count) }
    }

    private func wait(until deadline: UInt64, for condition: (Spinner) -> Bool, _ own: Int) -> Bool {
        while true {
            if spinners.allSatisfy({ $0.processor == own || condition($0) }) { return true }
            if lp_monotonic_ns() > deadline { return false }
        }
    }
}

/// A thread of ours that spins on one processor on demand.
private final class Spinner: Sendable {
    let processor: Int
    private let limit: UInt64
    private let command = Atomic<Int>(Command.wait)
    private let state = Atomic<Int>(State.new)
    /// When it last was in its loop, in nanoseconds.
    private let lastBeat = Atomic<UInt64>(0)
    private let thread = Atomic<Int32>(0)
    /// How often the thread had been given a processor when it began to spin.
    private let runs = Atomic<UInt64>(0)
    private let count = Mutex<RunCount?>(nil)
    private let wish = Wish()

    private enum Command { static let (wait, spin, end) = (0, 1, 2) }
    private enum State { static let (new, refused, waiting, spinning) = (0, 1, 2, 3) }

    init(processor: Int, limit: UInt64) {
        self.processor = processor
        self.limit = limit
    }

    /// - Returns: whether the thread runs, on its processor, with real-time priority.
    func start() -> Bool {
        let argument = Unmanaged.passRetained(self).toOpaque()
        let result = lp_start_thread(
            { argument in
                if let argument { Unmanaged<Spinner>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, argument)
        guard result == 0 else {
            Unmanaged<Spinner>.fromOpaque(argument).release()
            return false
        }
        // A processor that somebody else never gives up can't be had.
        let end = lp_monotonic_ns() &+ 100_000_000
        while state.load(ordering: .acquiring) == State.new, lp_monotonic_ns() < end { lp_sleep_ns(20_000) }
        let path = "/proc/self/task/\(thread.load(ordering: .acquiring))/schedstat"
        let count = RunCount(descriptor: open(path, O_RDONLY | O_CLOEXEC))
        self.count.withLock { $0 = count }
        return count != nil && isWaiting
    }

    func hold() { order(Command.spin) }

    func release() { command.store(Command.wait, ordering: .releasing) }
    func end() { order(Command.end) }
    var isWaiting: Bool { state.load(ordering: .acquiring) == State.waiting }
    var isSpinning: Bool { state.load(ordering: .acquiring) == State.spinning }
    /// To be called once it spins.
    func begin() { runs.store(runsNow ?? 0, ordering: .releasing) }
    /// Whether it spins and has not given up its processor since it began.
    var isUnbroken: Bool { isSpinning && runsNow == runs.load(ordering: .acquiring) }
    var beat: UInt64 { lastBeat.load(ordering: .acquiring) }
    private var runsNow: UInt64? { count.withLock { $0?.value } }

    private func order(_ value: Int) {
        command.store(value, ordering: .releasing)
        wish.post()
    }

    private func run() {
        thread.store(lp_thread(), ordering: .releasing)
        // One less than who holds the processors has.
        guard lp_set_realtime(RealtimePriority.priority - 1) == 0, lp_set_processor(Int32(processor)) == 0 else {
            return state.store(State.refused, ordering: .releasing)
        }
        while true {
            state.store(State.waiting, ordering: .releasing)
            wish.wait()
            if command.load(ordering: .acquiring) == Command.end { return }
            spin()
        }
    }

    /// Makes no system call: where each is traced, it would wait for the tracer.
    private func spin() {
        let end = lp_monotonic_ns() &+ limit
        state.store(State.spinning, ordering: .releasing)
        while command.load(ordering: .acquiring) == Command.spin {
            let now = lp_monotonic_ns()
            lastBeat.store(now, ordering: .releasing)
            if now > end { return }
        }
    }
}

/// A semaphore.
private final class Wish: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    init() { sem_init(semaphore, 0, 0) }
    func post() { sem_post(semaphore) }
    func wait() { while sem_wait(semaphore) != 0 {} }
    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }
}
