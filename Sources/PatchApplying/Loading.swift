import Diagnostics
import ElfFormat
import Glibc
import PatchFormat
import ProcessControl

/// A module, relocated for its place, before anything of it is in the process.
struct PlannedModule {
    var target: ManifestTarget
    var object: LoadedObject
    var image: ModuleImage
    var base: UInt64
    var choices: [PlannedChoice] = []
    /// Of all modules, in the first.
    var calls: PlannedCalls?
}

extension Session {
    /// Maps and fills the modules of a bundle; the program does not notice. Nothing jumps to them yet.
    /// - Returns: false when the patch was loaded already.
    mutating func load(_ whole: Bundle) throws -> Bool {
        if let known = patch(whole.reference), known.state != .resident {
            if let failure = known.calls?.failure {
                throw Refusal(.patchState, subject: known.id, why: failure, remedy: "restart the process")
            }
            try checkAgainstBundle(known, whole)
            try refuseUnpatched(known, whole)
            return false
        }
        try checkIdentity(whole)
        let taken = try take(whole)
        let (bundle, manifest) = (taken.bundle, taken.bundle.manifest)
        let objects = try manifest.targets.map { try object(for: $0) }
        for (target, object) in zip(manifest.targets, objects) { try checkDigests(of: target, in: object) }
        for (target, object) in zip(manifest.targets, objects) { try checkValuePlaces(target, object) }
        try checkRelations(bundle, objects)
        try checkValues(manifest, objects)
        notes += noteOtherBuilds(whole, taken)
        if try reuseResident(taken, objects) { return true }

        for attempt in 1...8 {
            do {
                try loadNew(taken, objects)
                break
            } catch ProcessError.remoteCall("mmap", EEXIST) where attempt < 8 && patch(bundle.reference) == nil {
                // The program mapped memory in the hole after we had found it.
                try refresh()
            }
        }
        return true
    }

    private mutating func loadNew(_ taken: TakenBundle, _ objects: [LoadedObject]) throws {
        let bundle = taken.bundle
        let modules = try plan(bundle, objects)
        let record = try describe(taken, modules)
        try ensureRegistry(for: record)
        try registry?.update { $0.patches.append(record) }
        do {
            try map(record)
            for module in modules { try fill(module, oldSlots: record) }
        } catch {
            // What was mapped is taken away again; should that fail too, the record says what is left.
            try? takeBackLoading(bundle.reference)
            throw error
        }
        if record.calls != nil { return try initialise(bundle.reference) }
        try update(bundle.reference) { $0.state = .loaded }
    }

    /// Places every module near its target and computes all its bytes.
    /// - Parameter bases: where the modules lie already; nil to find free places.
    func plan(_ bundle: Bundle, _ objects: [LoadedObject], at bases: [UInt64]? = nil) throws -> [PlannedModule] {
        let rules = try HoleRules.read(pid: pid)
        var map = view.map
        var modules = try zip(bundle.manifest.targets, objects).map { target, object in
            let image = try ModuleImage.read(bundle.modules[target.module] ?? [], target: target)
            return PlannedModule(target: target, object: object, image: image, base: 0)
        }
        modules[0].calls = try planCalls(&modules)
        for index in modules.indices {
            modules[index].base = try bases?[index] ?? place(modules[index], in: map, rules)
            map.reserve(RemoteAddress(modules[index].base), modules[index].image.memory.count)
        }
        let first = modules[0]
        for index in modules.indices { try relocate(&modules[index], first: first) }
        if let calls = modules[0].calls { try storeCalls(calls, &modules) }
        return modules
    }

    private func place(_ module: PlannedModule, in map: MemoryMap, _ rules: HoleRules) throws -> UInt64 {
        let (object, size) = (module.object, module.image.memory.count)
        let span = map.mappings.filter { $0.start.rawValue >= object.bias && object.contains($0.start.rawValue) }
        let start = span.first?.start ?? RemoteAddress(object.bias)
        let near = RemoteRange(start: start, end: RemoteAddress(object.bias &+ object.span))
        guard let base = findHole(in: map, near: near, size: size, rules: rules) else {
            throw Refusal(
                .noHole, subject: "\(module.target.file) in \(subject)",
                why: "there is no free place for \(size) bytes within 2 GiB of it")
        }
        return base.rawValue
    }

    private func relocate(_ module: inout PlannedModule, first: PlannedModule) throws {
        let (base, bindings) = (module.base, module.target.bindings)
        var resolver = BindingResolver(view: view, linkMap: linkMap, target: module.object)
        for function in module.target.functions { try resolver.requireChosen(function) }
        let values = try bindings.map { try resolver.value(of: $0, moduleBase: base) }
        try module.image.relocate(base: base, bindings: bindings, values: values) { try resolver.value(of: $0) }
        // One switch for all targets that the process takes: the first one's.
        if let pointer = module.target.layout.switchPointer {
            try module.image.memory.store(first.base &+ first.target.layout.switchAddress, size: 8, at: pointer)
        }
        try module.image.memory.store(0, size: 1, at: module.target.layout.switchAddress)
        for function in module.target.functions {
            guard let slot = function.oldSlot, let original = function.original else { continue }
            let resume = module.object.bias &+ original.range.address &+ UInt64(max(0, original.entry.resumeOffset))
            let old = function.oldRanges.first.map { base &+ $0.address } ?? resume
            guard original.entry.kind == .padded || !function.oldRanges.isEmpty else {
                throw Refusal(.badBundle, subject: function.name, why: "the module has no copy of its original body")
            }
            try module.image.memory.store(old, size: 8, at: slot)
        }
    }

    func describe(_ taken: TakenBundle, _ modules: [PlannedModule]) throws -> RegisteredPatch {
        let (bundle, manifest) = (taken.bundle, taken.bundle.manifest)
        let resident = manifest.targets.compactMap(\.layout.resident).first
        let records = try modules.map { try describe($0, manifest) }
        let link = Digest.sha256(Array(modules.map { Digest.sha256($0.image.memory.bytes) }.joined().utf8))
        return RegisteredPatch(
            id: manifest.id, manifestDigest: bundle.manifestDigest, sequence: manifest.sequence, state: .loading,
            consistency: manifest.consistency, requires: manifest.requires, supersedes: manifest.supersedes,
            resident: resident, linkDigest: link, modules: records,
            leftOut: taken.leftOut.isEmpty ? nil : taken.leftOut,
            switchAddress: modules[0].base &+ modules[0].target.layout.switchAddress, calls: describeCalls(modules))
    }

    private func describe(_ module: PlannedModule, _ manifest: Manifest) throws -> RegisteredModule {
        let segments = module.image.segments.map { segment in
            let bytes = module.image.memory.bytes[Int(segment.start)..<Int(segment.start + segment.size)]
            return RegisteredSegment(
                address: module.base + segment.start, size: segment.size, protection: segment.protection,
                digest: segment.flags & PF.write == 0 ? Digest.sha256(bytes) : nil)
        }
        return RegisteredModule(
            buildID: module.target.buildID, file: module.target.file, targetBias: module.object.bias,
            base: module.base, size: module.image.memory.count, segments: segments,
            functions: try module.target.functions.compactMap { try describe($0, module, manifest) },
            values: module.target.values.isEmpty ? nil : registeredValues(module.target, module.object))
    }

    private func describe(
        _ function: PatchedFunction, _ module: PlannedModule, _ manifest: Manifest
    ) throws -> RegisteredFunction? {
        guard let original = function.original, let stub = function.stub, let slot = function.oldSlot else {
            return nil
        }
        let (bias, base) = (module.object.bias, module.base)
        let entry = bias &+ original.range.address &+ UInt64(bitPattern: Int64(original.entry.jumpOffset))
        let saved = try originalBytes(AddressRange(address: entry, size: UInt64(Entry.jumpLength)))
        guard entry % pageSize <= pageSize - UInt64(Entry.jumpLength), original.entry.kind != .none else {
            throw Refusal(
                .entryNone, subject: function.name, why: "its entry crosses a page (trap killed-between-entries)")
        }
        guard let jump = Jump.bytes(from: entry, to: base &+ stub) else {
            throw Refusal(.noHole, subject: function.name, why: "the module does not lie within 2 GiB of it")
        }
        let move = { (ranges: [AddressRange], offset: UInt64) in
            ranges.map { AddressRange(address: offset &+ $0.address, size: $0.size) }
        }
        return RegisteredFunction(
            name: function.name, ranges: move([original.range] + original.coldRanges, bias), digest: original.digest,
            endsWithCall: original.endsWithCall, abiCoupled: original.abiCoupled, entry: entry,
            saved: Digest.hexadecimal(saved), jump: Digest.hexadecimal(jump), stub: base &+ stub, oldSlot: base &+ slot,
            newRanges: move(function.newRanges, base), oldRanges: move(function.oldRanges, base),
            stackedOn: stackedOn(entry: entry, manifest))
    }

    /// The patch below: the one that holds the entry and that the manifest names.
    private func stackedOn(entry: UInt64, _ manifest: Manifest) -> String? {
        guard let (below, _) = state.holder(ofEntry: entry) else { return nil }
        let named = manifest.requires + manifest.supersedes
        return named.contains(below.reference) ? below.manifestDigest : nil
    }

    // MARK: In the process

    private mutating func ensureRegistry(for record: RegisteredPatch) throws {
        if registry != nil { return }
        let size = Registry.size(forState: try Registry.encode(RegistryState(patches: [record])).count)
        var map = view.map
        for module in record.modules { map.reserve(RemoteAddress(module.base), module.size) }
        let executable = linkMap.objects[0]
        let near = RemoteRange(
            start: RemoteAddress(executable.bias &+ pageSize), end: RemoteAddress(executable.bias &+ executable.span))
        guard
            let hole = findHole(
                in: map, near: near, size: size + Registry.smallestSize, rules: try HoleRules.read(pid: pid)),
            let place = roundUp(hole.rawValue, Registry.smallestSize)
        else { throw Refusal(.noHole, subject: subject, why: "there is no free place for the registry") }
        try withThread { try $0.map(at: RemoteAddress(place), size: size, .readWrite) }
        registry = try Registry.create(memory: view.memory, at: place, size: size)
    }

    private func map(_ record: RegisteredPatch) throws {
        try withThread { caller in
            for module in record.modules {
                // Code first: its presence proves to a later command that what is there is ours.
                for segment in module.segments.sorted(by: { $0.protection > $1.protection }) {
                    guard let protection = RemoteProtection(rawValue: UInt64(segment.protection)) else { continue }
                    try caller.map(at: RemoteAddress(segment.address), size: segment.size, protection)
                }
            }
        }
    }

    private func fill(_ module: PlannedModule, oldSlots record: RegisteredPatch) throws {
        for segment in module.image.segments {
            let bytes = trimmed(module.image.memory.bytes[Int(segment.start)..<Int(segment.start + segment.size)])
            let place = RemoteAddress(module.base + segment.start)
            if segment.flags & PF.write != 0 {
                try view.memory.write(bytes, at: place)
            } else {
                try view.memory.writeForced(bytes, at: place)
            }
        }
        try writeStackedSlots(record)
    }

    /// Without the zeros at the end, which a new mapping has anyway.
    private func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        Array(bytes[..<(bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? bytes.startIndex)])
    }

    /// Where a patch is built on another one, its old way leads through that one's stub.
    func writeStackedSlots(_ record: RegisteredPatch) throws {
        for function in record.functions {
            guard let digest = function.stackedOn, let (below, lower) = state.holder(ofEntry: function.entry),
                below.manifestDigest == digest
            else { continue }
            try view.memory.write(littleEndian(lower.stub), at: RemoteAddress(function.oldSlot))
        }
    }

    /// A borrowed thread, waited for while none is in a state to be borrowed.
    /// - Parameter unfitness: why a thread, as it stands, must not be borrowed for what `body` will do.
    func withThread(
        unfitness: (StoppedThread) -> String? = { _ in nil }, _ body: (inout RemoteCaller) throws -> Void
    ) throws {
        var pause: UInt32 = 1_000
        while true {
            do {
                return try withBorrowedThread(pid, unfitness: unfitness, body)
            } catch let error as ProcessError {
                guard case .noSuitableThread = error, timeIsLeft else { throw error }
            }
            pauseMicroseconds(pause)
            pause = min(pause * 2, 100_000)
        }
    }
}

extension MemoryMap {
    /// Takes a range out of what is free.
    mutating func reserve(_ start: RemoteAddress, _ count: UInt64) {
        guard var taken = mappings.first else { return }
        taken.range = RemoteRange(start: start, count: count)
        (taken.path, taken.inode) = ("", 0)
        mappings.insert(taken, at: mappings.firstIndex { $0.start >= start } ?? mappings.count)
    }
}
