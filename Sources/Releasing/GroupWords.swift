import PatchFormat

/// In plain words, what of a bundle with several targets a process takes.
package func describeGroups(_ manifest: Manifest) -> [String] {
    guard manifest.targets.count > 1 else { return [] }
    let groups = manifest.targetGroups
    let alone = groups.filter { $0.count == 1 }.flatMap { $0 }
    let together = groups.filter { $0.count > 1 }.map { group in
        let others = group.filter { target in !alone.contains { $0.buildID == target.buildID } }
        // What may be patched alone is named last: the others rely on it.
        let rest = group.filter { target in !others.contains { $0.buildID == target.buildID } }
        if others.isEmpty || rest.isEmpty { return "\(names(group)) are patched together, or not at all" }
        return "\(names(others)) \(others.count == 1 ? "is" : "are") patched together with \(names(rest))"
    }
    return alone.map { "\($0.file) may be patched alone" } + together
}

private func names(_ targets: [ManifestTarget]) -> String {
    guard let last = targets.last?.file, targets.count > 1 else { return targets.map(\.file).joined() }
    return targets.dropLast().map(\.file).joined(separator: ", ") + " and " + last
}
