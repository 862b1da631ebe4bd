import Diagnostics
import FoundationEssentials
import Toolchain

/// An unpacked source package.
struct SourceTree: Sendable {
    /// Absolute.
    var path: String
    /// What it stands for.
    var version: SourceVersion
    /// The source package that was unpacked.
    var unpacked: SourceVersion
    /// Patches of that one's series that were taken off.
    var removed: [String] = []

    init(path: String, version: SourceVersion) {
        self.path = path
        self.version = version
        unpacked = version
    }

    /// The names of its patches, in their order; nil where its format has none (1.0 and 3.0 native).
    var series: [String]? {
        if let series = text(ofFile: path + "/debian/patches/series") {
            return patchNames(series: series).filter { !removed.contains($0) }
        }
        return text(ofFile: path + "/debian/source/format").map(trimmed) == "3.0 (quilt)" ? [] : nil
    }

    func patch(_ name: String) -> String { path + "/debian/patches/" + name }

    var changelog: [ChangelogEntry] { text(ofFile: path + "/debian/changelog").map(changelogEntries) ?? [] }
}

/// The names in a series of patches, as quilt reads it: options and comments stand behind them.
func patchNames(series text: String) -> [String] {
    text.split(whereSeparator: \.isNewline).compactMap { line in
        line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).first.map(String.init)
    }
}

/// Fetches a source package and unpacks it, patches applied, below `directory`.
/// - Returns: nil where the archive does not give its files.
/// - Throws: `JobFailure`.
func fetchTree(_ version: SourceVersion, apt: PrivateApt, into directory: String) async throws -> SourceTree? {
    guard let description = try await apt.fetchSource(version, into: directory) else { return nil }
    try await run(job("dpkg-source", ["--no-check", "-x", description], in: directory)).checked()
    guard let tree = unpackedTree(in: directory) else {
        throw Failure("dpkg-source left no tree in \(directory)")
    }
    return SourceTree(path: tree, version: version)
}

/// The one tree of a package below a directory.
func unpackedTree(in directory: String) -> String? {
    names(in: directory).map { directory + "/" + $0 }
        .first { FileManager.default.fileExists(atPath: $0 + "/debian/changelog") }
}
