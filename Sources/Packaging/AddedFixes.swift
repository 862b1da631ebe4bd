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

/// The fixes that a newer version has over an older one.
///
/// Where the newer series of patches only adds to the older one, these are the added patches. Where it does not, or the original
/// program is another version, or there is no series, it is the difference between the two trees, as one diff in `directory`.
///
/// - Throws: `Refusal` nothing-to-patch.
func addedFixes(from old: SourceTree, to new: SourceTree, directory: String) async throws -> [Fix] {
    let changelog = entries(new.changelog, after: old.version.version)
    if let added = addedPatches(from: old, to: new) {
        guard !added.isEmpty else {
            throw Refusal(
                .nothingToPatch, subject: "\(new.version.source) \(new.version.version)",
                why: "its series of patches adds nothing to that of \(old.version.version)",
                remedy: "nothing is to be done; or name another version with --to, or give fixes with --diff")
        }
        return added.map { name in
            let text = text(ofFile: new.patch(name)) ?? ""
            return Fix(
                name: name, path: new.patch(name), cves: vulnerabilities(ofFix: name, text: text, changelog: changelog))
        }
    }
    let path = "\(directory)/\(new.version.source)_\(new.version.fileVersion).diff"
    guard try await writeDifference(from: old, to: new, path: path) else {
        throw Refusal(
            .nothingToPatch, subject: "\(new.version.source) \(new.version.version)",
            why: "its source is that of \(old.version.version), the packaging aside")
    }
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return [Fix(name: name, path: path, cves: vulnerabilities(in: changelog.map(\.text).joined(separator: "\n")))]
}

/// nil where the newer series is not the older one with more patches behind or between.
private func addedPatches(from old: SourceTree, to new: SourceTree) -> [String]? {
    guard old.version.upstream == new.version.upstream, let before = old.series, let after = new.series else {
        return nil
    }
    let kept = after.filter(before.contains)
    let isSame = { (name: String) in
        text(ofFile: old.patch(name)).map(patchBody) == text(ofFile: new.patch(name)).map(patchBody)
    }
    guard kept == before, kept.allSatisfy(isSame) else { return nil }
    return after.filter { !before.contains($0) }
}

/// What a patch changes, without its header and the places and times that a refresh moves.
private func patchBody(_ text: String) -> [Substring] {
    diffParts(text).body.filter { line in
        !["@@", "--- ", "+++ ", "diff ", "index ", "Index: ", "==="].contains(where: line.hasPrefix)
    }
}

/// - Returns: whether there is a difference.
private func writeDifference(from old: SourceTree, to new: SourceTree, path: String) async throws -> Bool {
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }
    // As it was before the build. Names as -p1 takes them.
    let description = "\(old.path)/../\(old.unpacked.source)_\(old.unpacked.fileVersion).dsc"
    try await run(job("dpkg-source", ["--no-check", "-x", description, "a"], in: scratch.path)).checked()
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
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return Fix(name: name, path: path, cves: vulnerabilities(ofFix: name, text: text, changelog: []))
    }
}
