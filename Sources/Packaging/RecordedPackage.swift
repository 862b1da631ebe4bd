import BuildGraph
import Diagnostics
import FoundationEssentials
import Recompiling
import Toolchain

/// Tells a person what goes on.
package typealias Say = @Sendable (String) -> Void

/// A source package that was built here, with the record of that.
struct RecordedPackage: Sendable {
    var tree: SourceTree
    /// Compile commands of all that was built; the graph is beside them.
    var database: String
    /// The same of what lies behind the programs and libraries of the packages alone.
    var shipped: String
    /// Holds the binary packages that the build made, each unpacked in a directory of its name.
    var packages: String
}

/// Changes whenever earlier caches can't be used any more.
private let layoutVersion = 1

/// Builds a version of a source package as the distribution does, and records that; from the cache where that was done.
///
/// - Throws: `Refusal` package-source, `Failure` where the build fails.
func recordedPackage(_ version: SourceVersion, apt: PrivateApt, folder: CacheFolder, say: Say) async throws
    -> RecordedPackage
{
    let stamp = "\(layoutVersion) \(version.source) \(version.version)"
    let directory = try await folder.directory("built", stamp: stamp) { directory in
        say("fetching the source of \(version.source) \(version.version)")
        let tree = try await originalTree(of: version, apt: apt, into: directory)
        try await requireBuildDependencies(of: tree, source: tree.unpacked, apt: apt, say: say)
        try await build(tree, directory: directory, say: say)
        try await unpackBuilt(in: directory)
        let package = try package(in: directory, of: version)
        // Packages would be written outside of the tree, which a repeated build must not do.
        try writeRecord(
            ShippedFiles(package).graphOfShipped, of: package.database, to: package.shipped,
            rebuild: ["dpkg-buildpackage", "--rules-target=clean,build"])
        return true
    }
    guard let directory else { throw Failure("nothing was built in \(folder.path)") }
    return try package(in: directory, of: version)
}

private func package(in directory: String, of version: SourceVersion) throws -> RecordedPackage {
    guard let path = unpackedTree(in: directory) else { throw Failure("no source tree is in \(directory); remove it") }
    var tree = SourceTree(path: path, version: version)
    tree.removed = text(ofFile: directory + "/removed").map(patchNames(series:)) ?? []
    return RecordedPackage(
        tree: tree, database: directory + "/compile_commands.json", shipped: directory + "/shipped.json",
        packages: directory + "/packages")
}

private func build(_ tree: SourceTree, directory: String, say: Say) async throws {
    say("building \(tree.version.source) \(tree.version.version) as the distribution does, recorded (some minutes)")
    let log = directory + "/build.log"
    var environment = quietEnvironment
    environment["DEB_BUILD_OPTIONS"] = "nocheck parallel=\(processorCount)"
    // What a user has set for builds of his own is not the distribution's.
    for name in ["CC", "CXX", "CPP", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "DEB_BUILD_PROFILES"] {
        environment.updateValue(nil, forKey: name)
    }
    let place = BuildPlace(directory: tree.path, environment: environment, log: log)
    let result = try await record(
        command: ["dpkg-buildpackage", "-b", "-uc", "-us"], output: directory + "/compile_commands.json", place: place,
        progress: terminalProgress())
    guard result.status == 0 else {
        let lines = (text(ofFile: log) ?? "").split(separator: "\n").suffix(12).joined(separator: "\n")
        throw Failure(
            "the build of \(tree.version.source) \(tree.version.version) failed with status \(result.status); all that it said is in \(log), and in the end:\n\(lines)"
        )
    }
}

/// The binary packages with code, each unpacked.
private func unpackBuilt(in directory: String) async throws {
    try createDirectory(directory + "/packages")
    for name in names(in: directory) where name.hasSuffix(".deb") && !name.hasSuffix("_all.deb") {
        let package = String(name.prefix { $0 != "_" })
        if package.hasSuffix("-dbgsym") { continue }
        try await run(job("dpkg-deb", ["-x", directory + "/" + name, directory + "/packages/" + package])).checked()
    }
}

/// The tree of a version as it was before any build: of its own source, or of a newer one whose added patches are taken off.
///
/// - Throws: `Refusal` package-source.
private func originalTree(of version: SourceVersion, apt: PrivateApt, into directory: String) async throws -> SourceTree
{
    if let tree = try await fetchTree(version, apt: apt, into: directory) { return tree }
    let listed = try await apt.versions(of: version.source).filter(\.isSource)
    for newer in try await sortedVersions(listed.map(\.version)) where try await isVersion(newer, "gt", version.version)
    {
        let unpacked = SourceVersion(source: version.source, version: newer)
        guard unpacked.upstream == version.upstream,
            var tree = try await fetchTree(unpacked, apt: apt, into: directory)
        else { continue }
        let added = addedPatches(series: tree.series ?? [], changelog: tree.changelog, after: version.version)
        guard !added.isEmpty else { break }
        for name in added.reversed() {
            try await run(job("patch", ["-R", "-p1", "-s", "-i", "debian/patches/" + name], in: tree.path)).checked()
        }
        try writeWhole(Array(added.joined(separator: "\n").utf8), to: directory + "/removed")
        tree.version = version
        return tree
    }
    throw Refusal(
        .packageSource, subject: "\(version.source)=\(version.version)",
        why: "the archive has moved on, and no longer gives that source: \(listedVersions(listed))",
        remedy: "add a package source that has it (a snapshot of the archive), or upgrade and restart")
}

/// The patches of a newer series that an older version lacks, by the newer changelog: from the first on that only the newer
/// entries name, by its file's name or its CVE.
///
/// Whether this is right, the official file tells: its code must be that of the build.
func addedPatches(series: [String], changelog: [ChangelogEntry], after version: String) -> [String] {
    let newer = entries(changelog, after: version)
    let older = changelog.dropFirst(newer.count)
    guard !newer.isEmpty, !older.isEmpty else { return [] }
    let said = older.map(\.text).joined(separator: "\n")
    let known = Set(vulnerabilities(in: said))
    let cves = Set(newer.flatMap { vulnerabilities(in: $0.text) }).subtracting(known)
    let first = series.firstIndex { name in
        let file = baseName(name)
        let isNamed = newer.contains { $0.text.contains(file) } && !said.contains(file)
        return isNamed || vulnerabilities(in: name).contains(where: cves.contains)
    }
    return first.map { Array(series[$0...]) } ?? []
}
