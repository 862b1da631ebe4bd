import Diagnostics
import ElfFormat
import PatchRegistry
import PatchSwitching
import ProcessControl
import ProcessImage

/// How the calls of a list fared.
enum CallOutcome {
    case done
    /// The stub returned, and says that not all were made.
    case incomplete
    /// A call was begun and did not return; a thread may still be in it.
    case broken(what: String, isThreadInside: Bool)
}

/// Makes the calls of a patch's lists, on a borrowed thread at a safe point.
struct CallRunner {
    let calls: RegisteredCalls
    /// Looked at again before calls are made.
    private(set) var process: LoadedProcess
    let limits: StopLimits

    init(_ calls: RegisteredCalls, in process: LoadedProcess, _ limits: StopLimits) {
        self.calls = calls
        self.process = process
        self.limits = limits
    }

    /// Makes what is left of a list of calls.
    ///
    /// - Throws: when none was made.
    mutating func run(_ list: UInt64, _ count: Int) throws -> CallOutcome {
        let before = try progress(list, count)
        do {
            // Initialisers are the program's own code, of any depth.
            let room: UInt64 = calls.initialisers > 0 ? 128 << 10 : 24 << 10
            try process.refresh()
            var safe = SafePoint(view: process.view, linkMap: process.linkMap, room: room)
            let stub = RemoteAddress(calls.stub)
            try ThreadBorrower(memory: process.memory, limits: limits).run(
                unfitness: { safe.objection($0) }, { try $0.run(stub, list) })
        } catch {
            let now = try progress(list, count)
            if now.isDone { return .done }
            let isInside = try isAnyoneInside()
            if now.begun == before.begun, !isInside { throw error }
            return .broken(what: describeFailure(error, now, list), isThreadInside: isInside)
        }
        return try progress(list, count).isDone ? .done : .incomplete
    }

    private func describeFailure(
        _ error: any Error, _ progress: CallProgress, _ list: UInt64
    ) -> String {
        let number = Int(clamping: progress.begun)
        let before = calls.loadCount - calls.initialisers
        let what =
            if list == calls.unload || number <= calls.registrations {
                "the call to the unwinder"
            } else if number <= before {
                "the choice of an implementation (IFUNC)"
            } else {
                "initialiser \(number - before) of \(calls.initialisers)"
            }
        switch error as? ProcessError {
        case .crashed(_, let signal): return "\(what) crashed (signal \(signal)) and was given up"
        case .deadlocked: return "\(what) waited for a lock for two seconds and was given up"
        default: return "\(what) has not returned: \(error)"
        }
    }

    func progress(_ list: UInt64, _ count: Int) throws -> CallProgress {
        let words = try process.view.read(list, 24)
        return CallProgress(
            count: count, begun: try words.u64(CallList.begunOffset), returned: try words.u64(CallList.returnedOffset))
    }

    /// Whether a thread is in the patch's calls: left there by a tracer that died, or still at it.
    func isAnyoneInside() throws -> Bool {
        let stub = ScanTable([.init(first: calls.stub, last: calls.stub &+ pageSize &- 1, name: "a call")])
        let map = try process.memory.map()
        return try withStoppedProcess(process.memory, maximumStop: limits.duration, attempts: 20) { stopped in
            if stopped.threads.contains(where: { $0.registers.generalPurpose.contains(where: stub.contains) }) {
                return true
            }
            let own = OwnStack.ranges(of: stopped, map).compactMap { $0 }
            var arena = RemoteArena(capacity: 1 << 20)
            return try arena.readStacks(own, of: stopped).contains {
                stub.firstHit(in: arena.bytes($0)) != nil
            }
        }.value
    }

    // MARK: What the calls have left

    /// What the resolvers gave must be code that the process has loaded (or the kernel has: `time` is the vDSO's); nil when
    /// it is.
    func wrongChoice() throws -> String? {
        let first = CallList.size(count: calls.registrations)
        let records = try process.view.read(
            calls.load &+ first, CallList.size(count: calls.choices ?? 0) &- CallList.size(count: 0))
        for number in 0..<UInt64(calls.choices ?? 0) {
            let slot = try records.u64(number * CallList.recordSize + 8)
            let resolver = try records.u64(number * CallList.recordSize + 16)
            let value = try process.view.read(slot, 8).u64(0)
            guard let mapping = process.view.mapping(containing: value), mapping.isExecutable,
                mapping.path == "[vdso]" || process.objects.contains(where: { $0.contains(value) })
            else { return "the resolver at \(hex(resolver)) gave \(hex(value)), which is no code of the process" }
        }
        return nil
    }

    /// Whether something outside of our own lists refers to every `struct object` that was registered.
    func isKnownToUnwinder(except registry: [RemoteRange]) throws -> Bool {
        let table = ScanTable(calls.unwind.map { .init(first: $0.object, last: $0.object, name: "unwind data") })
        let own = [RemoteRange(start: RemoteAddress(calls.load), end: RemoteAddress(calls.unload))] + registry
        let search = MemorySearch(map: process.map, memory: process.memory, deadline: limits.deadline)
        let places: [UInt64]
        do { places = try search.hits(table, except: own) } catch is SwitchObstacle { return false }
        let values = try places.map { try process.view.read($0, 8).u64(0) }
        return calls.unwind.allSatisfy { values.contains($0.object) }
    }

    /// Whether the process still has the unwinder that was told of the patch.
    var hasUnwinder: Bool {
        process.objects.contains { $0.bias == calls.unwinderBias && $0.buildID == calls.unwinderBuildID }
    }
}
