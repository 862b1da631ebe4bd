import Diagnostics
import Guarding
import Recompiling
import Toolchain

/// What `patchbuild package` is asked for.
package struct PackageRequest: Sendable {
    /// `NAME` or `NAME=VERSION`.
    package var package: String
    package var to: String?
    package var cves: [String] = []
    package var diffs: [String] = []
    package var allowed: [AllowedRule] = []
    /// Refused fixes are left out, instead of refusing all.
    package var partial = false
    /// Where the bundle goes.
    package var directory = "."
    /// Where the machine has its package sources.
    package var configuration = "/etc/apt"
    /// For sources and builds; nil: below `XDG_CACHE_HOME`.
    package var cache: String?

    package init(package: String) { self.package = package }
}

/// Makes a bundle for a package of the distribution: from its version, and the fixes of a newer one, to what can be signed.
/// Nothing of the bundle is written to its place.
///
/// - Throws: `UsageError`; `Refusal` where what it takes can't be had; `Busy`, `Failure`. Refused fixes are part of the outcome.
package func makePackage(_ request: PackageRequest, say: @escaping Say) async throws -> PackageOutcome {
    let asked = try PackageName(request.package)
    try requireDebian()
    let cache = try request.cache.map { try CacheFolder(path: $0) } ?? CacheFolder()
    let apt = try PrivateApt(cache, configuration: request.configuration)
    say("reading the package sources")
    try await apt.update()
    let installed = try await InstalledPackage.all()
    let from = try await findSource(of: asked, installed: installed, apt: apt)
    let newer = request.diffs.isEmpty ? try await findNewer(than: from, asked: request.to, apt: apt) : []
    let tree = newer.isEmpty ? nil : try await newerTree(newer, apt: apt, cache: cache, say: say)
    let work = PackageWork(
        request: request, asked: asked, from: from, newer: tree, installed: installed, apt: apt, say: say)
    let folder = try cache.folder(source: from.source, version: from.version)
    return try await folder.locked(waits: false) { try await work.outcome(in: folder) }
}

/// The first of these sources that the archive gives.
private func newerTree(
    _ versions: [SourceVersion], apt: PrivateApt, cache: CacheFolder, say: Say
) async throws -> SourceTree {
    for version in versions {
        let folder = try cache.folder(source: version.source, version: version.version)
        if let tree = try await folder.locked(waits: true, { try await newerTree(version, apt, folder, say) }) {
            return tree
        }
        say("the archive lists the source of \(version.source) \(version.version), but does not give it")
    }
    throw Refusal(
        .packageSource, subject: versions.map { "\($0.source)=\($0.version)" }.joined(separator: ", "),
        why: "the archive lists that source, but does not give it",
        remedy: "try again later, or name another version with --to")
}

private func newerTree(
    _ version: SourceVersion, _ apt: PrivateApt, _ folder: CacheFolder, _ say: Say
) async throws -> SourceTree? {
    let directory = try await folder.directory("source", stamp: "\(version.source) \(version.version)") { directory in
        say("fetching the source of \(version.source) \(version.version)")
        return try await fetchTree(version, apt: apt, into: directory) != nil
    }
    return directory.flatMap(unpackedTree).map { SourceTree(path: $0, version: version) }
}

/// The versions are known; what follows works in the folder of the older one.
private struct PackageWork: Sendable {
    let request: PackageRequest
    let asked: PackageName
    let from: SourceVersion
    let newer: SourceTree?
    let installed: [InstalledPackage]
    let apt: PrivateApt
    let say: Say

    private var to: SourceVersion? { newer?.version }

    func outcome(in folder: CacheFolder) async throws -> PackageOutcome {
        let package = try await recordedPackage(from, apt: apt, folder: folder, say: say)
        let all = try await allFixes(package, folder)
        let selected = request.diffs.isEmpty ? try fixes(all, naming: request.cves) : all

        // From here on there are the fixes, and a build that has been recorded.
        let shipped = try ShippedFiles(package)
        let names = Set(shipped.files.map(\.package)).sorted()
        let official = try await officialPackages(
            names, of: from, installed: installed, apt: apt, folder: folder, say: say)
        try requireOfficial(official.packages, notes: official.notes)
        let touched = try all.flatMap(touchedPaths)
        let root = sourceRoot(
            of: package.tree.path, touched: touched, compiled: filesReadByCompilers(shipped.graphOfShipped))
        let patch = PackagePatch(
            package: package, shipped: shipped, root: root, official: official.packages, output: output,
            allowed: request.allowed, remark: remark)

        // From here on bundles can be built.
        let settled = try await settled(selected, among: all, patch)
        var outcome = PackageOutcome(name: asked.name, from: from.version, to: to?.version, settled)
        outcome.path = output
        outcome.notes =
            official.notes
            + shipped.unknown.map { "\($0): the build here did not link it, so that nothing is known of it" }
            + outcome.targets.compactMap { noteInstalled($0, official.packages, installed) } + outcome.notes
        return outcome
    }

    private func allFixes(_ package: RecordedPackage, _ folder: CacheFolder) async throws -> [Fix] {
        if let newer { return try await addedFixes(from: package.tree, to: newer, directory: folder.path) }
        return try givenFixes(request.diffs).map { fix in
            var fix = fix
            fix.cves = Set(fix.cves + request.cves.map { $0.uppercased() }).sorted()
            return fix
        }
    }

    private func requireOfficial(_ packages: [OfficialPackage], notes: [String]) throws {
        guard packages.isEmpty else { return }
        throw Refusal(
            .packageSource, subject: "\(from.source)=\(from.version)",
            why: notes.isEmpty
                ? "none of its packages has a program or a library"
                : "the archive has moved on: " + notes.joined(separator: "; "),
            remedy: "add a package source that has it (a snapshot of the archive)")
    }

    private var remark: String {
        "made for \(from.source) \(from.version), with fixes of " + (to?.version ?? "diffs that were given by hand")
    }

    private var output: String {
        let end = to?.fileVersion ?? request.diffs.first.map { String(baseName($0).prefix { $0 != "." }) } ?? "patch"
        let name = "\(asked.name)_\(from.fileVersion)_\(end)"
        let plain = String(
            name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._+-~".contains($0)) ? $0 : "-" }.prefix(120))
        return (request.directory.hasSuffix("/") ? request.directory : request.directory + "/") + plain + ".lpatch"
    }

    private func settled(_ selected: [Fix], among all: [Fix], _ patch: PackagePatch) async throws -> SettledFixes {
        let others = all.filter { !selected.contains($0) }
        let hoped = selected.map { FixVerdict(name: $0.name, cves: $0.cves, verdict: .patched, refused: []) }
        let claims = PackagePatch.Claims(cves: closedAndOpen(hoped, others: others).closed)
        let settlement = try await settle(selected) { fixes in
            say("building a bundle of \(fixes.count == 1 ? "1 fix" : "\(fixes.count) fixes")")
            return try await patch.attempt(fixes, claims)
        }
        var result = SettledFixes(verdicts: try patch.verdicts(settlement, selected))
        (result.closed, result.open) = closedAndOpen(result.verdicts, others: others)
        guard var bundle = settlement.bundle, settlement.refused.isEmpty || request.partial else { return result }
        let earned = PackagePatch.Claims(cves: result.closed, remarks: remarks(result))
        if earned != claims {
            // What it may say of itself is known only now.
            guard case .built(let again) = try await patch.attempt(settlement.accepted, earned) else {
                throw Failure("the bundle that was built just now can't be built again; is the cache being changed?")
            }
            bundle = again
        }
        result.bundle = bundle
        result.targets = patch.packagedTargets(in: bundle)
        return result
    }

    /// What a bundle of a part of the fixes says of the rest.
    private func remarks(_ result: SettledFixes) -> [String] {
        let refused = result.verdicts.filter { $0.verdict == .refused }
        return refused.map { verdict in
            let rules = Set(verdict.refused.map(\.rule)).sorted().joined(separator: ", ")
            return "left out by --partial: \(verdict.name) (\(rules))"
        } + (result.open.isEmpty ? [] : ["not closed by this patch: " + result.open.joined(separator: ", ")])
    }
}
