import Diagnostics
import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage

extension Session {
    /// Maps and fills the modules of a bundle; the program does not notice. Nothing jumps to them yet.
    /// - Returns: false when the patch was loaded already.
    mutating func load(_ whole: Bundle) throws -> Bool {
        if let known = records.patch(whole.reference), known.state != .resident {
            try checkLoaded(known, whole)
            return false
        }
        let (taken, objects) = try check(whole)
        notes += TargetSelection(process: process).noteOtherBuilds(whole, taken)
        if try reuseResident(taken, objects) { return true }

        for attempt in 1...8 {
            do {
                try loadNew(taken, objects)
                break
            } catch ProcessError.remoteCall("mmap", EEXIST)
                where attempt < 8 && records.patch(taken.bundle.reference) == nil
            {
                // The program mapped memory in the hole after we had found it.
                try process.refresh()
            }
        }
        return true
    }

    /// A patch that is in the process already must be that of the bundle, and whole.
    private func checkLoaded(_ known: RegisteredPatch, _ whole: Bundle) throws {
        if let failure = known.calls?.failure {
            throw Refusal(.patchState, subject: known.id, why: failure, remedy: "restart the process")
        }
        try BundleComparison(process: process, state: records.state).check(known, whole)
        try LateTargets(process: process).refuse(known, whole)
    }

    /// Everything that can speak against a load.
    /// - Returns: what the process takes of the bundle, and the object of each target.
    private func check(_ whole: Bundle) throws -> (TakenBundle, [LoadedObject]) {
        try relations.checkIdentity(whole)
        let selection = TargetSelection(process: process)
        let taken = try selection.take(whole)
        let manifest = taken.bundle.manifest
        let objects = try manifest.targets.map { try selection.object(for: $0) }
        let original = OriginalCode(process: process, patches: records.patches)
        for (target, object) in zip(manifest.targets, objects) { try original.check(target, in: object) }
        let values = ValueChecks(process: process, state: records.state)
        for (target, object) in zip(manifest.targets, objects) { try values.checkPlaces(target, object) }
        try relations.check(taken.bundle, objects)
        try values.check(manifest, objects)
        return (taken, objects)
    }

    private mutating func loadNew(_ taken: TakenBundle, _ objects: [LoadedObject]) throws {
        let reference = taken.bundle.reference
        let modules = try ModulePlanner(process: process).plan(taken.bundle, objects)
        let record = try PatchDescription(process: process, state: records.state).record(taken, modules)
        if !records.exists {
            let place = try mapper.mapRegistry(for: record)
            try records.create(memory: process.memory, at: place.address, size: place.size)
        }
        try records.append(record)
        do {
            try mapper.map(record)
            for module in modules { try mapper.fill(module) }
            try mapper.writeStackedSlots(record, in: records.state)
        } catch ProcessError.remoteCall("mmap", let number) {
            // Nothing of it is mapped any more.
            try records.remove(reference)
            throw ProcessError.remoteCall(name: "mmap", errno: number)
        } catch {
            // What was mapped is taken away again; should that fail too, the record says what is left.
            try? takeBackLoading(reference)
            throw error
        }
        if record.calls != nil { return try initialise(reference) }
        try records.update(reference) { $0.state = .loaded }
    }

    // MARK: A module that stayed mapped

    /// Uses the mapped module of the same bundle again, so that memory does not grow with every cycle.
    /// - Returns: false when there is none, or when something it was bound to lies elsewhere by now.
    private mutating func reuseResident(_ taken: TakenBundle, _ objects: [LoadedObject]) throws -> Bool {
        let reference = taken.bundle.reference
        guard let known = records.patch(reference), known.state == .resident else { return false }
        guard known.modules.map(\.buildID) == taken.bundle.manifest.targets.map(\.buildID) else {
            notes.append("an older copy of the module stays mapped, inactive: the process takes other targets now")
            try records.remove(reference)
            return false
        }
        let modules = try ModulePlanner(process: process).plan(taken.bundle, objects, at: known.modules.map(\.base))
        var record = try PatchDescription(process: process, state: records.state).record(taken, modules)
        guard record.linkDigest == known.linkDigest, try process.isIntact(record), try haveCallsBeenMade(known) else {
            // What it was bound to lies elsewhere by now (a library closed and opened again): it stays mapped, as
            // whatever points into it expects, and is forgotten.
            notes.append("an older copy of the module stays mapped, inactive: what it was bound to has moved")
            try records.remove(reference)
            return false
        }
        record.state = .loaded
        record.wasActive = known.wasActive
        for module in modules { try mapper.resetSlots(of: module) }
        try mapper.writeStackedSlots(record, in: records.state)
        try records.update { state in
            state.patches.removeAll { $0.reference == reference }
            state.patches.append(record)
        }
        return true
    }

    private func haveCallsBeenMade(_ record: RegisteredPatch) throws -> Bool {
        guard let calls = record.calls else { return true }
        let runner = CallRunner(calls, in: process, limits)
        return try runner.progress(calls.load, calls.loadCount).isDone
            && runner.progress(calls.unload, calls.registrations).begun == 0
    }
}
