import ElfFormat
import PatchFormat
import PatchRegistry

extension Session {
    /// Unmaps what is left of a patch and forgets it; a patch that a jump leads to stays.
    mutating func finishUnloading(_ reference: PatchReference) throws {
        guard let patch = records.patch(reference) else { return }
        if let why = standingJump(of: patch) {
            try records.update(reference) { $0.state = .resident }
            notes.append("\(patch.id): the module stays mapped, inactive: \(why)")
            return
        }
        try process.refreshMap()
        try mapper.unmap(patch)
        try records.remove(reference)
    }

    /// Which entry still holds a jump of the patch. That is asked of the memory alone: a library may have wiped its
    /// header, by which it is known otherwise (trap erased-header).
    func standingJump(of patch: RegisteredPatch) -> String? {
        let standing = patch.functions.first { (try? process.entryBytes(of: $0)) == $0.jump }
        return standing.map { "the entry of \($0.name) at \(hex($0.entry)) still holds its jump" }
    }

    /// The unfinished load of an earlier command, or of this one, taken away again.
    mutating func takeBackLoading(_ reference: PatchReference) throws {
        guard records.patch(reference)?.state == .loading else { return }
        try finishUnloading(reference)
    }
}
