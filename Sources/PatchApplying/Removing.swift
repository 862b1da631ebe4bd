import PatchFormat
import PatchRegistry

extension Session {
    /// Unmaps what is left of a patch and forgets it.
    mutating func finishUnloading(_ reference: PatchReference) throws {
        guard let patch = records.patch(reference) else { return }
        try process.refreshMap()
        try mapper.unmap(patch)
        try records.remove(reference)
    }

    /// The unfinished load of an earlier command, or of this one, taken away again.
    mutating func takeBackLoading(_ reference: PatchReference) throws {
        guard records.patch(reference)?.state == .loading else { return }
        try finishUnloading(reference)
    }
}
