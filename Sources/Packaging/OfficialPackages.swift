import BuildGraph
import Diagnostics
import Glibc
import ObjectFiles
import SourceChanges
import Toolchain

/// A binary package as the distribution built it: unpacked aside, or as it is installed.
struct OfficialPackage: Sendable {
    var name: String
    var version: String
    /// What the paths of its files are relative to.
    var root: String
}

/// Finds the official binary packages of a version: the archive's, or where it has them no more those that are installed here.
/// - Returns: them, and what is said of those that can't be had.
func officialPackages(
    _ names: [String], of source: SourceVersion, installed: [InstalledPackage], apt: PrivateApt, folder: CacheFolder,
    say: Say
) async throws -> (packages: [OfficialPackage], notes: [String]) {
    var packages: [OfficialPackage] = []
    var notes: [String] = []
    for name in names {
        let here = installed.first { $0.name == name && $0.source == source }
        let listed = try await apt.entries(of: name).filter {
            SourceVersion(field: $0["Source"], package: name, version: $0["Version"] ?? "") == source
        }
        // After a rebuild without changes there may be several: the one that runs here, else the last.
        let versions = try await sortedVersions(listed.compactMap { $0["Version"] })
        if let version = versions.first(where: { $0 == here?.version }) ?? versions.last,
            let root = try await unpacked(name, version, apt: apt, folder: folder, say: say)
        {
            packages.append(OfficialPackage(name: name, version: version, root: root))
        } else if let here {
            packages.append(OfficialPackage(name: name, version: here.version, root: ""))
        } else {
            notes.append(
                "\(name): left out, since the archive no longer has \(source.version) of it, and it is not installed")
        }
    }
    return (packages, notes)
}

private func unpacked(
    _ name: String, _ version: String, apt: PrivateApt, folder: CacheFolder, say: Say
) async throws -> String? {
    try await folder.directory("official/" + name, stamp: version) { directory in
        say("fetching \(name) \(version)")
        let downloads = try ScratchDirectory()
        defer { downloads.remove() }
        guard let file = try await apt.fetchPackage(name, version, into: downloads.path) else { return false }
        try await run(job("dpkg-deb", ["-x", file, directory])).checked()
        return true
    }
}

/// A file to be patched, as the distribution built it.
package struct PackagedTarget: Sendable, Hashable, Codable {
    package var package: String
    /// Relative to the root of the file system.
    package var file: String
    package var buildID: String
}

/// The official file of one that the build here made; nil where there is none.
func officialFile(of file: ShippedFile, in packages: [OfficialPackage]) -> (path: String, target: PackagedTarget)? {
    guard let package = packages.first(where: { $0.name == file.package }) else { return nil }
    let path = package.root + "/" + file.path
    guard linkKind(ofFile: path) == .linked, let buildID = (try? ObjectFile.read(path: path))?.buildID else {
        return nil
    }
    return (path, PackagedTarget(package: file.package, file: file.path, buildID: buildID))
}

/// Says where a file that is installed here is not the distribution's.
func noteInstalled(_ target: PackagedTarget, _ packages: [OfficialPackage], _ installed: [InstalledPackage]) -> String?
{
    guard let package = packages.first(where: { $0.name == target.package }),
        installed.contains(where: { $0.name == package.name && $0.version == package.version }),
        let here = (try? ObjectFile.read(path: "/" + target.file))?.buildID, here != target.buildID
    else { return nil }
    return
        "/\(target.file) as it is installed here is not the distribution's (build-id \(here)); the patch is not for it"
}
