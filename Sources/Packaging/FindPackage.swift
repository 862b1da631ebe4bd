import Diagnostics
import Toolchain

/// A package as it is asked for: `NAME` or `NAME=VERSION`.
struct PackageName: Sendable, Hashable {
    var name: String
    var version: String?

    /// - Throws: `UsageError`.
    init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        name = parts[0]
        version = parts.count == 2 ? parts[1] : nil
        guard Self.isName(name), version.map(Self.isVersion) ?? true else {
            throw UsageError("\(text) is no name of a package, nor NAME=VERSION")
        }
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, first != UInt8(ascii: "-") else { return false }
        return text.utf8.allSatisfy { isPlain($0) || "+-.".utf8.contains($0) }
    }

    static func isVersion(_ text: String) -> Bool {
        guard let first = text.utf8.first, first != UInt8(ascii: "-") else { return false }
        return text.utf8.allSatisfy { isPlain($0) || "+-.:~".utf8.contains($0) }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }
}

/// A version of a source package.
struct SourceVersion: Sendable, Hashable {
    var source: String
    var version: String

    /// The source that a binary package was made of: its field `Source`, which has a version where that is another than the
    /// package's own (`glibc (2.36-9)`), as after a rebuild without changes.
    init(field: String?, package: String, version: String) {
        let words = (field ?? package).split(separator: " ")
        source = words.first.map(String.init) ?? package
        self.version = words.count > 1 ? String(words[1].drop { $0 == "(" }.prefix { $0 != ")" }) : version
    }

    init(source: String, version: String) {
        self.source = source
        self.version = version
    }

    /// Without the epoch, as files of packages have it.
    var fileVersion: String { Self.withoutEpoch(version) }

    static func withoutEpoch(_ version: String) -> String {
        version.firstIndex(of: ":").map { String(version[version.index(after: $0)...]) } ?? version
    }

    /// What the version says of the original program: without epoch and Debian's revision.
    var upstream: String {
        fileVersion.lastIndex(of: "-").map { String(fileVersion[..<$0]) } ?? fileVersion
    }
}

/// A binary package that is installed here.
struct InstalledPackage: Sendable, Hashable {
    var name: String
    var version: String
    var source: SourceVersion

    /// What `dpkg-query` says with `format`, of installed packages alone.
    static func list(_ text: String) -> [InstalledPackage] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard words.count == 5, words[4] == "installed" else { return nil }
            return InstalledPackage(
                name: words[0], version: words[1], source: SourceVersion(source: words[2], version: words[3]))
        }
    }

    static let format = "${Package}\\t${Version}\\t${source:Package}\\t${source:Version}\\t${db:Status-Status}\\n"

    /// All that are installed.
    static func all() async throws -> [InstalledPackage] {
        list(try await output("dpkg-query", ["-W", "-f", format]))
    }
}

/// Finds the version of the source package that is meant.
/// - Throws: `Refusal` package-source.
func findSource(
    of package: PackageName, installed: [InstalledPackage], apt: PrivateApt
) async throws -> SourceVersion {
    let here = installed.first { $0.name == package.name } ?? installed.first { $0.source.source == package.name }
    guard let version = package.version else {
        if let here { return here.source }
        throw notInstalled(package.name, try await apt.versions(of: package.name))
    }
    if let here, here.version == version || here.source.version == version { return here.source }
    for entry in try await apt.entries(of: package.name) where entry["Version"] == version {
        return SourceVersion(field: entry["Source"], package: package.name, version: version)
    }
    let listed = try await apt.versions(of: package.name)
    if listed.contains(where: { $0.isSource && $0.version == version }) {
        return SourceVersion(source: package.name, version: version)
    }
    throw Refusal(
        .packageSource, subject: "\(package.name)=\(version)",
        why: "the machine's package sources do not have that version: \(listedVersions(listed))",
        remedy: "name one of these, or add a package source that has it (a snapshot of the archive)")
}

private func notInstalled(_ name: String, _ listed: [PrivateApt.Listed]) -> Refusal {
    guard !listed.isEmpty else {
        return Refusal(
            .packageSource, subject: name,
            why: "no package of that name is installed, and the machine's package sources have none",
            remedy: "check the name (apt-cache search)")
    }
    return Refusal(
        .packageSource, subject: name, why: "it is not installed here: \(listedVersions(listed))",
        remedy: "name the version that runs elsewhere: patchbuild package \(name)=VERSION")
}

/// Finds the versions whose fixes may be taken: the one asked for; else all newer ones, the newest first, since an archive may
/// list what it does not give.
///
/// - Throws: `Refusal` package-source.
func findNewer(than from: SourceVersion, asked: String?, apt: PrivateApt) async throws -> [SourceVersion] {
    let listed = try await apt.versions(of: from.source).filter(\.isSource)
    func refusal(_ version: String, _ why: String, _ remedy: String) -> Refusal {
        Refusal(.packageSource, subject: "\(from.source)=\(version)", why: why, remedy: remedy)
    }
    if let asked {
        guard listed.contains(where: { $0.version == asked }) else {
            throw refusal(
                asked, "the machine's package sources do not have its source: \(listedVersions(listed))",
                "name one of these with --to, or give the fixes with --diff")
        }
        guard try await isVersion(asked, "gt", from.version) else {
            throw refusal(
                asked, "it is not newer than \(from.version)",
                "name a newer version with --to, or give the fixes with --diff")
        }
        return [SourceVersion(source: from.source, version: asked)]
    }
    var newer: [SourceVersion] = []
    for version in try await sortedVersions(listed.map(\.version)).reversed()
    where try await isVersion(version, "gt", from.version) {
        newer.append(SourceVersion(source: from.source, version: version))
    }
    guard !newer.isEmpty else {
        throw refusal(
            from.version,
            "the machine's package sources have no newer version of its source: \(listedVersions(listed))",
            "nothing is to be done; or give fixes with --diff")
    }
    return newer
}

func listedVersions(_ listed: [PrivateApt.Listed]) -> String {
    func list(_ kind: Bool) -> String {
        let versions = listed.filter { $0.isSource == kind }.map(\.version)
        return versions.isEmpty ? "none" : versions.joined(separator: ", ")
    }
    return "of its source they have \(list(true)); of its binary package \(list(false))"
}
