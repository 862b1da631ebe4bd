import Diagnostics
import FoundationEssentials
import Glibc
import Toolchain

/// apt with the machine's own package sources, source packages enabled, and lists of its own: nothing of the machine's apt is
/// written.
struct PrivateApt: Sendable {
    /// A version of a package that the archive lists.
    struct Listed: Sendable, Hashable {
        var version: String
        var isSource: Bool
    }

    private let folder: CacheFolder
    private let options: [String]
    private let sources: String

    /// - Parameter configuration: where the machine has its package sources.
    init(_ cache: CacheFolder, configuration: String) throws {
        folder = try CacheFolder(path: cache.path + "/apt")
        sources = folder.path + "/sources"
        for name in ["sources", "lists/partial", "cache/archives/partial"] {
            try createDirectory(folder.path + "/" + name)
        }
        options = [
            "-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=\(sources)",
            "-o", "Dir::State::lists=\(folder.path)/lists", "-o", "Dir::Cache=\(folder.path)/cache",
            "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none",
            "-o", "DPkg::Lock::Timeout=600",
        ]
        try writeSources(from: configuration)
    }

    private func writeSources(from configuration: String) throws {
        var texts: [String: String] = [:]
        texts["sources.list"] = text(ofFile: configuration + "/sources.list").map(AptSources.withSourcePackages(lines:))
        let parts = configuration + "/sources.list.d"
        for name in names(in: parts) {
            guard let whole = text(ofFile: parts + "/" + name) else { continue }
            if name.hasSuffix(".list") { texts["part-" + name] = AptSources.withSourcePackages(lines: whole) }
            if name.hasSuffix(".sources") { texts["part-" + name] = AptSources.withSourcePackages(stanzas: whole) }
        }
        let kept = texts.filter { !$0.value.isEmpty }
        guard !kept.isEmpty else {
            throw Refusal(
                .packageSource, subject: configuration, why: "no package source is enabled there",
                remedy: "let root enable the distribution's package sources (man sources.list)")
        }
        for name in names(in: sources) where kept[name] == nil { unlink(sources + "/" + name) }
        for (name, whole) in kept where text(ofFile: sources + "/" + name) != whole {
            try writeWhole(Array(whole.utf8), to: sources + "/" + name)
            unlink(updated)
        }
    }

    private var updated: String { folder.path + "/updated" }

    /// Fetches the lists, unless that was done within the last hour.
    ///
    /// A package source that can't be reached does not matter as long as others have the package.
    func update() async throws {
        try await folder.locked(waits: true) {
            var status = stat()
            if stat(updated, &status) == 0, time(nil) - status.st_mtim.tv_sec < 3600 { return }
            let result = try await run(
                job("apt-get", options + ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=1", "update"]))
            let lists = names(in: folder.path + "/lists").contains {
                $0.hasSuffix("Sources") || $0.contains("_Sources")
            }
            guard result.status == 0 || lists else {
                throw Refusal(
                    .packageSource, subject: "the package archive",
                    why: "it can't be reached: \(result.message(lines: 3))",
                    remedy: "see that apt-get update works on this machine")
            }
            try writeWhole(Array(result.errorText.utf8), to: updated)
        }
    }

    /// What the archive lists of a package, sources and binaries.
    func versions(of name: String) async throws -> [Listed] {
        let result = try await run(job("apt-cache", options + ["madison", "--", name]))
        return Self.versions(madison: result.outputText, of: name)
    }

    /// - Parameter text: lines such as `redis | 5:7.0.15-1 | http://deb.debian.org/debian bookworm/main Sources`.
    static func versions(madison text: String, of name: String) -> [Listed] {
        var listed: [Listed] = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: "|").map(trimmed)
            guard fields.count == 3, fields[0] == name else { continue }
            let entry = Listed(version: fields[1], isSource: fields[2].hasSuffix("Sources"))
            if !listed.contains(entry) { listed.append(entry) }
        }
        return listed
    }

    /// The archive's entries of a binary package, all versions.
    func entries(of name: String) async throws -> [Stanza] {
        stanzas(of: try await run(job("apt-cache", options + ["show", "--", name])).outputText)
    }

    /// Fetches the files of a source package into `directory`.
    /// - Returns: nil where the archive does not give them, though it may list them.
    func fetchSource(_ version: SourceVersion, into directory: String) async throws -> String? {
        let words = ["source", "--download-only", "--only-source", "\(version.source)=\(version.version)"]
        guard try await run(job("apt-get", options + words, in: directory)).status == 0 else { return nil }
        let name = "\(version.source)_\(version.fileVersion).dsc"
        return names(in: directory).contains(name) ? directory + "/" + name : nil
    }

    /// Fetches a binary package into `directory`; nil where the archive does not give it.
    func fetchPackage(_ name: String, _ version: String, into directory: String) async throws -> String? {
        let before = Set(names(in: directory))
        let result = try await run(job("apt-get", options + ["download", "\(name)=\(version)"], in: directory))
        guard result.status == 0 else { return nil }
        return names(in: directory).first { $0.hasSuffix(".deb") && !before.contains($0) }.map { directory + "/" + $0 }
    }

    /// The command by which root installs what a source package needs to be built. Of the cache only the machine's own is used,
    /// or files would be left that their user can't remove.
    func buildDependencies(of version: SourceVersion) -> [String] {
        ["apt-get"] + options + [
            "-o", "Dir::Cache=/var/cache/apt", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
            "-y", "--no-install-recommends", "build-dep", "\(version.source)=\(version.version)",
        ]
    }
}

/// Versions in their order, the oldest first, each once.
func sortedVersions(_ versions: [String]) async throws -> [String] {
    var sorted: [String] = []
    for version in versions where !sorted.contains(version) {
        var place = sorted.count
        while place > 0, try await isVersion(version, "lt", sorted[place - 1]) { place -= 1 }
        sorted.insert(version, at: place)
    }
    return sorted
}

/// Whether dpkg says so: `isVersion("1.0~rc1", "lt", "1.0")`.
func isVersion(_ version: String, _ relation: String, _ other: String) async throws -> Bool {
    try await run(job("dpkg", ["--compare-versions", version, relation, other])).status == 0
}
