import Diagnostics
import ElfFormat
import PatchFormat
import ProcessControl

/// What must be called for a patch, and where the calls and their record lie in the process.
struct RegisteredCalls: Codable, Hashable, Sendable {
    var stub: UInt64
    /// `CallList`: registrations of unwind data first, then choices of implementations, then initialisers.
    var load: UInt64
    /// `CallList`: the registrations taken back.
    var unload: UInt64
    var registrations: Int
    var initialisers: Int
    /// Implementations of IFUNCs that are asked for; nil in records of formats before 4.
    var choices: Int?
    /// The object that holds the process's unwinder.
    var unwinderBias: UInt64
    var unwinderBuildID: String?
    /// What the unwinder was told of.
    var unwind: [ModuleUnwind]
    /// What went wrong in a call.
    var failure: String?

    var loadCount: Int { registrations + (choices ?? 0) + initialisers }
}

/// The calls of a bundle that is about to be loaded.
struct PlannedCalls: Sendable {
    var area: CallArea
    /// Nil when there are initialisers alone.
    var unwinder: ProcessUnwinder?
    /// `__errno_location`, or 0.
    var errnoLocation: UInt64
    var registrations = 0
    var choices = 0
    var initialisers = 0
}

/// How far a borrowed thread has come with a list.
struct CallProgress: Sendable {
    var count: Int
    var begun: UInt64
    var returned: UInt64
    var isDone: Bool { returned == UInt64(count) }
    /// A call that was begun has not returned.
    var isOpen: Bool { begun != returned }
}

extension Session {
    // MARK: Planning

    /// Makes room for the calls in the first module; nil when there is nothing to call.
    func planCalls(_ modules: inout [PlannedModule]) throws -> PlannedCalls? {
        let unwinding = modules.filter(\.image.hasUnwindData)
        let initialisers = modules.reduce(0) { $0 + Int(($1.target.layout.initializers?.size ?? 0) / 8) }
        for index in modules.indices {
            var resolver = BindingResolver(view: view, linkMap: linkMap, target: modules[index].object)
            modules[index].choices = try resolver.choices(of: modules[index].image, modules[index].target.bindings)
        }
        let choices = modules.reduce(0) { $0 + $1.choices.count }
        let unwinder =
            unwinding.isEmpty ? nil : try ProcessUnwinder.find(in: view, linkMap, for: unwinding.map(\.object))
        let registrations = unwinder == nil ? 0 : unwinding.count
        if registrations + choices + initialisers == 0 { return nil }
        guard linkMap.objects.first?.hasInterpreter == true else {
            throw Refusal(
                .unsupportedProcess, subject: subject,
                why:
                    "the patch must call functions at load, and in a static program no safe point for them can be proven"
            )
        }
        guard choices + initialisers < CallList.maximumCount else {
            throw Refusal(.badBundle, subject: subject, why: "it has \(choices + initialisers) calls at load")
        }
        let area = modules[0].image.addCallArea(load: registrations + choices + initialisers, unload: registrations)
        return PlannedCalls(
            area: area, unwinder: unwinder, errnoLocation: try address(ofFunction: "__errno_location") ?? 0,
            registrations: registrations, choices: choices, initialisers: initialisers)
    }

    private func address(ofFunction name: String) throws -> UInt64? {
        for object in linkMap.objects.prefix(linkMap.listed) {
            let tables = try view.tables(of: object)
            guard let index = try tables.lookup(name, version: nil), tables.symbols[index].isDefined else { continue }
            return object.bias &+ tables.symbols[index].value
        }
        return nil
    }

    /// Writes the lists, now that every module has its place and its bytes.
    func storeCalls(_ calls: PlannedCalls, _ modules: inout [PlannedModule]) throws {
        let zero = modules[0].base &+ calls.area.zero
        var (load, unload): ([PlannedCall], [PlannedCall]) = ([], [])
        for module in modules where module.image.hasUnwindData {
            guard let unwinder = calls.unwinder, let unwind = module.target.layout.unwind else { continue }
            let table = module.base &+ unwind.table.address
            load.append(PlannedCall(function: unwinder.register, arguments: [table, module.base &+ unwind.object]))
            unload.append(PlannedCall(function: unwinder.deregister, arguments: [table]))
        }
        let choose = modules[0].base &+ calls.area.choose
        for module in modules {
            load += module.choices.map {
                PlannedCall(function: choose, arguments: [module.base &+ $0.slot, $0.resolver])
            }
        }
        for module in modules {
            for function in try module.image.initialisers(module.target.layout, base: module.base) {
                load.append(PlannedCall(function: function, arguments: [0, zero, zero]))
            }
        }
        for (list, place) in [(load, calls.area.load), (unload, calls.area.unload)] {
            let bytes = CallList.bytes(list, errnoLocation: calls.errnoLocation)
            let range = try modules[0].image.memory.range(place, UInt64(bytes.count))
            modules[0].image.memory.bytes.replaceSubrange(range, with: bytes)
        }
    }

    func describeCalls(_ modules: [PlannedModule]) -> RegisteredCalls? {
        guard let calls = modules[0].calls else { return nil }
        let (base, area) = (modules[0].base, calls.area)
        let unwind = calls.registrations == 0 ? [] : modules.filter(\.image.hasUnwindData)
        return RegisteredCalls(
            stub: base &+ area.stub, load: base &+ area.load, unload: base &+ area.unload,
            registrations: calls.registrations, initialisers: calls.initialisers, choices: calls.choices,
            unwinderBias: calls.unwinder?.bias ?? 0, unwinderBuildID: calls.unwinder?.buildID,
            unwind: unwind.compactMap { module in
                module.target.layout.unwind.map {
                    let table = AddressRange(address: module.base &+ $0.table.address, size: $0.table.size)
                    return ModuleUnwind(table: table, object: module.base &+ $0.object)
                }
            })
    }

    // MARK: Running

    /// Makes the calls that a load needs; the patch is loaded afterwards.
    ///
    /// - Throws: with the load taken back when no call was begun; else `Failure`, and the registry says how far it came.
    mutating func initialise(_ reference: PatchReference) throws {
        guard let calls = patch(reference)?.calls else { return }
        try update(reference) { $0.state = .initialising }
        do {
            try makeCalls(of: reference, calls, at: calls.load, count: calls.loadCount)
        } catch let error where !(error is Failure) {
            try update(reference) { $0.state = .loading }
            try? takeBackLoading(reference)
            throw error
        }
        try endInitialising(reference, calls)
    }

    /// The calls of a load have been made.
    ///
    /// - Throws: `Failure` when one of them gave what can't be used.
    mutating func endInitialising(_ reference: PatchReference, _ calls: RegisteredCalls) throws {
        guard let wrong = try wrongChoice(calls) else { return try update(reference) { $0.state = .loaded } }
        try update(reference) {
            $0.state = .failed
            $0.calls?.failure = wrong
        }
        throw Failure("\(reference.id): \(wrong)")
    }

    /// What the resolvers gave must be code that the process has loaded (or the kernel has: `time` is the vDSO's); nil when
    /// it is.
    private func wrongChoice(_ calls: RegisteredCalls) throws -> String? {
        let first = CallList.size(count: calls.registrations)
        let records = try view.read(
            calls.load &+ first, CallList.size(count: calls.choices ?? 0) &- CallList.size(count: 0))
        for number in 0..<UInt64(calls.choices ?? 0) {
            let slot = try records.u64(number * CallList.recordSize + 8)
            let resolver = try records.u64(number * CallList.recordSize + 16)
            let value = try view.read(slot, 8).u64(0)
            guard let mapping = view.mapping(containing: value), mapping.isExecutable,
                mapping.path == "[vdso]" || linkMap.objects.contains(where: { $0.contains(value) })
            else { return "the resolver at \(hex(resolver)) gave \(hex(value)), which is no code of the process" }
        }
        return nil
    }

    /// Makes what is left of a list of calls, on a thread at a safe point.
    ///
    /// - Throws: `Failure` when a call was begun and did not return; any other error means that none was made.
    mutating func makeCalls(
        of reference: PatchReference, _ calls: RegisteredCalls, at list: UInt64, count: Int
    ) throws {
        let before = try progress(list, count)
        do {
            // Initialisers are the program's own code, of any depth.
            let room: UInt64 = calls.initialisers > 0 ? 128 << 10 : 24 << 10
            try withSafeThread(room: room) { caller in try caller.run(RemoteAddress(calls.stub), list) }
        } catch {
            let now = try progress(list, count)
            if now.isDone { return }
            let isInside = try isAnyoneInside(calls)
            if now.begun == before.begun, !isInside { throw error }
            let what = describeFailure(error, calls, now, list)
            if !isInside {
                try update(reference) {
                    $0.state = .failed
                    $0.calls?.failure = what
                }
            }
            throw Failure("\(reference.id): \(what)")
        }
        guard try progress(list, count).isDone else { throw Failure("\(reference.id): not every call was made") }
    }

    private func describeFailure(
        _ error: any Error, _ calls: RegisteredCalls, _ progress: CallProgress, _ list: UInt64
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
        let words = try view.read(list, 24)
        return CallProgress(
            count: count, begun: try words.u64(CallList.begunOffset), returned: try words.u64(CallList.returnedOffset))
    }

    private mutating func withSafeThread(room: UInt64, _ body: (inout RemoteCaller) throws -> Void) throws {
        try refresh()
        var safe = SafePoint(view: view, linkMap: linkMap, room: room)
        try withThread(unfitness: { safe.objection($0) }, body)
    }

    /// Whether a thread is in the patch's calls: left there by a tracer that died, or still at it.
    func isAnyoneInside(_ calls: RegisteredCalls) throws -> Bool {
        let stub = ScanTable([.init(first: calls.stub, last: calls.stub &+ pageSize &- 1, name: "a call")])
        let map = try MemoryMap.read(pid: pid)
        let watchdog = StopWatchdog()
        watchdog.arm(maximumStop: options.maximumStop)
        let maximum = Duration.milliseconds(options.maximumStop)
        return try withStoppedProcess(pid, maximumStop: maximum, attempts: 20) { process in
            if process.threads.contains(where: { $0.registers.generalPurpose.contains(where: stub.contains) }) {
                return true
            }
            let own = OwnStack.ranges(of: process, map).compactMap { $0 }
            var arena = RemoteArena(capacity: 1 << 20)
            return try arena.read(own, of: process.memory).contains {
                stub.firstHit(in: arena.bytes($0)) != nil
            }
        }.value
    }

    // MARK: After a command that did not finish

    /// Completes the calls of a load or an unload, once nobody is at them any more.
    mutating func completeCalls(_ patch: RegisteredPatch, at list: UInt64, count: Int) throws {
        guard let calls = patch.calls else { return }
        while try !progress(list, count).isDone, try isAnyoneInside(calls) {
            guard timeIsLeft else {
                throw Busy("\(subject): a thread is still in a call that an interrupted command has begun")
            }
            pauseMicroseconds(20_000)
        }
        let reached = try progress(list, count)
        if reached.isDone { return }
        guard reached.isOpen || reached.returned > UInt64(count) else {
            return try makeCalls(of: patch.reference, calls, at: list, count: count)
        }
        // A fork's child has no such thread; a crash ends the program unless we are there.
        let what = "call \(reached.begun) of \(count) was begun, and no thread is in it any more"
        try update(patch.reference) {
            $0.state = .failed
            $0.calls?.failure = what
        }
        notes.append("\(patch.id): \(what); the module stays mapped and is not used")
    }

    // MARK: Taking back what the unwinder was told

    /// Tells the unwinder to forget the patch's functions, before they are unmapped.
    /// - Returns: why it could not be done, nothing having changed; nil when the unwinder knows them no more.
    mutating func deregister(_ patch: RegisteredPatch) throws -> String? {
        guard let calls = patch.calls, calls.registrations > 0 else { return nil }
        try refresh()
        // It has taken its tables along.
        guard linkMap.objects.contains(where: { $0.bias == calls.unwinderBias && $0.buildID == calls.unwinderBuildID })
        else { return nil }
        // libgcc ends the program when it is told to forget what it does not know.
        guard try isKnownToUnwinder(calls) else { return "the unwinder can't be seen to know its unwind data" }
        let before = patch.state
        try update(patch.reference) { $0.state = .retiring }
        do {
            try makeCalls(of: patch.reference, calls, at: calls.unload, count: calls.registrations)
        } catch let error where !(error is Failure) {
            try update(patch.reference) { $0.state = before }
            return "the unwinder could not be told to forget it: \(error)"
        }
        return nil
    }

    /// Whether something outside of our own lists refers to every `struct object` that was registered.
    private func isKnownToUnwinder(_ calls: RegisteredCalls) throws -> Bool {
        let table = ScanTable(calls.unwind.map { .init(first: $0.object, last: $0.object, name: "unwind data") })
        var own = [RemoteRange(start: RemoteAddress(calls.load), end: RemoteAddress(calls.unload))]
        if let registry { own.append(RemoteRange(start: RemoteAddress(registry.address), count: registry.size)) }
        let search = MemorySearch(map: view.map, memory: view.memory, deadline: deadline)
        let places: [UInt64]
        do { places = try search.hits(table, except: own) } catch is SwitchObstacle { return false }
        let values = try places.map { try view.read($0, 8).u64(0) }
        return calls.unwind.allSatisfy { values.contains($0.object) }
    }
}
