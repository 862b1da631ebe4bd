/// Which of a bundle's targets a process takes.
extension Manifest {
    /// The groups, each in the order of the targets; one of all targets where the manifest names none.
    public var targetGroups: [[ManifestTarget]] {
        guard let groups else { return [targets] }
        return groups.map { group in targets.filter { group.contains($0.buildID) } }
    }

    /// The targets of every group of which `mapped` has all build-ids, in the order of the manifest.
    public func taken(byMapping mapped: Set<String>) -> [ManifestTarget] {
        let complete = targetGroups.filter { $0.allSatisfy { mapped.contains($0.buildID) } }
        let ids = Set(complete.joined().map(\.buildID))
        return targets.filter { ids.contains($0.buildID) }
    }

    /// Whether exactly these targets can be taken together by some process: they are whole groups.
    public func canTake(_ buildIDs: [String]) -> Bool {
        !buildIDs.isEmpty && taken(byMapping: Set(buildIDs)).map(\.buildID) == buildIDs
    }
}

extension Bundle {
    /// The bundle as a process takes it: with these of its targets alone. Its identity stays that of the whole.
    public func taking(_ targets: [ManifestTarget]) -> Bundle {
        var bundle = self
        bundle.manifest.targets = targets
        return bundle
    }
}
