import Diagnostics
import FoundationEssentials
import Toolchain

/// A diff that is to be patched in.
struct Fix: Sendable, Hashable {
    /// For people: the patch's name in the series, or the file's.
    var name: String
    var path: String
    var cves: [String]
}

/// The fixes that a newer version has over an older one: the patches that the newer series adds, and where earlier patches were
/// revised, what else differs between the trees, as one more diff in `directory`.
///
/// Where the original program is another version, or there is no series, or patches have gone, it is the whole difference.
///
/// - Throws: `Refusal` nothing-to-patch.
func addedFixes(from old: SourceTree, to new: SourceTree, directory: String) async throws -> [Fix] {
    let changelog = entries(new.changelog, after: old.version.version)
    let path = "\(directory)/\(new.version.source)_\(new.version.fileVersion).diff"
    if let change = seriesChange(from: old, to: new) {
        let added = change.added.map { name in
            let text = text(ofFile: new.patch(name)) ?? ""
            return Fix(
                name: name, path: new.patch(name), cves: vulnerabilities(ofFix: name, text: text, changelog: changelog))
        }
        if change.revised.isEmpty, !added.isEmpty { return added }
        let cves = vulnerabilities(in: change.revised.joined(separator: "\n"))
        let rest = Fix(name: "revised: " + change.revised.joined(separator: ", "), path: path, cves: cves)
        switch try await writeDifference(from: old, to: new, after: change.added, path: path) {
        case .some(true): return added + [rest]
        case .some(false) where !added.isEmpty: return added
        case .some(false): throw nothingNew(old, new)
        case nil: break
        }
    }
    guard try await writeDifference(from: old, to: new, after: [], path: path) == true else {
        throw nothingNew(old, new)
    }
    return [
        Fix(name: baseName(path), path: path, cves: vulnerabilities(in: changelog.map(\.text).joined(separator: "\n")))
    ]
}

private func nothingNew(_ old: SourceTree, _ new: SourceTree) -> Refusal {
    Refusal(
        .nothingToPatch, subject: "\(new.version.source) \(new.version.version)",
        why: "its source is that of \(old.version.version), the packaging aside",
        remedy: "nothing is to be done; or name another version with --to, or give fixes with --diff")
}

/// The patches that a newer series adds, and those of the older one that have other contents now; nil where the newer series is
/// not the older one with more patches behind or between.
private func seriesChange(from old: SourceTree, to new: SourceTree) -> (added: [String], revised: [String])? {
    guard old.version.upstream == new.version.upstream, let before = old.series, let after = new.series,
        after.filter(before.contains) == before
    else { return nil }
    let revised = before.filter { name in
        text(ofFile: old.patch(name)).map(patchBody) != text(ofFile: new.patch(name)).map(patchBody)
    }
    return (after.filter { !before.contains($0) }, revised)
}

/// What a patch changes, without its header and the places and times that a refresh moves.
private func patchBody(_ text: String) -> [Substring] {
    diffParts(text).body.filter { line in
        !["@@", "--- ", "+++ ", "diff ", "index ", "Index: ", "==="].contains(where: line.hasPrefix)
    }
}

/// Writes the difference between two trees, as they were before any build.
///
/// - Parameter added: patches of the newer tree that are applied to the older one before.
/// - Returns: whether there is a difference; nil where one of the patches does not apply.
private func writeDifference(
    from old: SourceTree, to new: SourceTree, after added: [String], path: String
) async throws -> Bool? {
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }
    let folder = old.path + "/.."
    guard let description = names(in: folder).last(where: { $0.hasSuffix(".dsc") }) else {
        throw Failure("\(folder) has no source package any more; remove it")
    }
    // Names as -p1 takes them.
    let tree = scratch.path + "/a"
    try await run(job("dpkg-source", ["--no-check", "-x", folder + "/" + description, tree])).checked()
    for name in old.removed.reversed() {
        try await run(job("patch", ["-R", "-p1", "-s", "-i", "debian/patches/" + name], in: tree)).checked()
    }
    for name in added {
        let apply = job("patch", ["-p1", "-s", "--no-backup-if-mismatch", "-i", new.patch(name)], in: tree)
        guard try await run(apply).status == 0 else { return nil }
    }
    try FileManager.default.createSymbolicLink(atPath: scratch.path + "/b", withDestinationPath: new.path)
    let arguments = ["-r", "-u", "-N", "--exclude=debian", "--exclude=.pc", "--exclude=.git", "a/", "b/"]
    let result = try await run(job("diff", arguments, in: scratch.path))
    guard result.status <= 1 else {
        throw JobFailure(job: result.job, status: result.status, message: result.message())
    }
    try writeWhole(result.output, to: path)
    return result.status == 1
}

/// Only the fixes that name one of the CVEs.
/// - Throws: `Refusal` nothing-to-patch where one is named by none.
func fixes(_ all: [Fix], naming cves: [String]) throws -> [Fix] {
    guard !cves.isEmpty else { return all }
    let asked = Set(cves.map { $0.uppercased() })
    if let unknown = asked.sorted().first(where: { cve in !all.contains { $0.cves.contains(cve) } }) {
        let known = Set(all.flatMap(\.cves)).sorted()
        throw Refusal(
            .nothingToPatch, subject: unknown,
            why: "none of the \(all.count) fixes names it; they name "
                + (known.isEmpty ? "no CVE" : known.joined(separator: ", ")),
            remedy: "check the number, or give the fix with --diff")
    }
    return all.filter { !asked.isDisjoint(with: $0.cves) }
}

/// The fixes that were given by hand.
/// - Throws: `Refusal` bad-input where one can't be read.
func givenFixes(_ paths: [String]) throws -> [Fix] {
    try paths.map { path in
        guard let text = text(ofFile: path) else {
            throw Refusal(.badInput, subject: path, why: "the diff can't be read")
        }
        let name = baseName(path)
        return Fix(name: name, path: path, cves: vulnerabilities(ofFix: name, text: text, changelog: []))
    }
}
