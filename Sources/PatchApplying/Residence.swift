import Diagnostics
import PatchFormat
import ProcessControl

extension Session {
    /// Uses the mapped module of the same bundle again, so that memory does not grow with every cycle.
    /// - Returns: false when there is none, or when something it was bound to lies elsewhere by now.
    mutating func reuseResident(_ taken: TakenBundle, _ objects: [LoadedObject]) throws -> Bool {
        let reference = taken.bundle.reference
        guard let known = patch(reference), known.state == .resident else { return false }
        guard known.modules.map(\.buildID) == taken.bundle.manifest.targets.map(\.buildID) else {
            notes.append("an older copy of the module stays mapped, inactive: the process takes other targets now")
            try registry?.update { $0.patches.removeAll { $0.reference == reference } }
            return false
        }
        let modules = try plan(taken.bundle, objects, at: known.modules.map(\.base))
        var record = try describe(taken, modules)
        guard record.linkDigest == known.linkDigest, try isIntact(record), try haveCallsBeenMade(known) else {
            // What it was bound to lies elsewhere by now (a library closed and opened again): it stays mapped, as
            // whatever points into it expects, and is forgotten.
            notes.append("an older copy of the module stays mapped, inactive: what it was bound to has moved")
            try registry?.update { $0.patches.removeAll { $0.reference == reference } }
            return false
        }
        record.state = .loaded
        record.wasActive = known.wasActive
        for module in modules {
            for slot in module.target.functions.compactMap(\.oldSlot) {
                try view.memory.write(try module.image.memory.slice(slot, 8), at: RemoteAddress(module.base &+ slot))
            }
        }
        try writeStackedSlots(record)
        try registry?.update { state in
            state.patches.removeAll { $0.reference == reference }
            state.patches.append(record)
        }
        return true
    }

    private func haveCallsBeenMade(_ record: RegisteredPatch) throws -> Bool {
        guard let calls = record.calls else { return true }
        return try progress(calls.load, calls.loadCount).isDone
            && progress(calls.unload, calls.registrations).begun == 0
    }

    /// Whether the module's code and constants are as they were written.
    func isIntact(_ record: RegisteredPatch) throws -> Bool {
        for segment in record.modules.flatMap(\.segments) {
            guard let digest = segment.digest else { continue }
            if Digest.sha256(try view.read(segment.address, segment.size).bytes) != digest { return false }
        }
        return true
    }
}
