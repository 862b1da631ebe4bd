import Diagnostics
import FoundationEssentials
import Glibc
import Toolchain

/// A root directory of its own, with the release of this machine, in which a package is built: nothing is installed outside of it.
///
/// This very program runs in it, with its own cache, and writes the bundle to the directory that the user named.
struct CleanRoot: Sendable {
    private let path: String
    /// Where this program and its libraries lie in the root.
    private static let program = "/opt/patchbuild"

    /// Makes the root, or takes the one that is there.
    /// - Throws: `Refusal` package-source where this user or this machine can't make one.
    init(_ cache: CacheFolder, configuration: String, say: @escaping Say) async throws {
        let (tool, release) = try Self.requirements()
        guard let archive = AptSources.address(of: release, in: configuration) else {
            throw Refusal(
                .packageSource, subject: release, why: "no package source of this machine has that release",
                remedy: "let root enable the distribution's package sources (man sources.list)")
        }
        let made = try await cache.locked(waits: true) {
            try await cache.directory("chroot", stamp: "1 \(release) \(archive)") { directory in
                say("making a clean root of \(release) with \(baseName(tool)) (some minutes)")
                let packages = "--include=strace,fakeroot,patch,ca-certificates"
                // In a namespace of its own, so that a run that is killed leaves no mounts.
                let make = ["--mount", "--propagation", "private", "--", tool, "--variant=buildd", packages]
                try await run(job("unshare", make + [release, directory, archive], title: tool)).checked()
                return true
            }
        }
        guard let made else { throw Failure("no clean root is in \(cache.path)") }
        path = made
        try await copyConfiguration(configuration)
        try await copyProgram()
    }

    private static func requirements() throws -> (tool: String, release: String) {
        guard geteuid() == 0 else {
            throw Refusal(
                .packageSource, subject: "--chroot", why: "only root can make a root directory of its own and enter it",
                remedy: "run it as root, or leave --chroot out")
        }
        guard let tool = findProgram("mmdebstrap") ?? findProgram("debootstrap") else {
            throw Refusal(
                .packageSource, subject: "--chroot", why: "neither mmdebstrap nor debootstrap is installed",
                remedy: "let root run: apt-get install -y mmdebstrap")
        }
        let release = (text(ofFile: "/etc/os-release") ?? "").split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix("VERSION_CODENAME=") }.map { $0.dropFirst("VERSION_CODENAME=".count) }
        guard let release, !release.isEmpty else {
            throw Refusal(
                .packageSource, subject: "/etc/os-release", why: "it does not say which release this machine runs",
                remedy: "leave --chroot out")
        }
        return (tool, release.filter { $0.isLetter || $0.isNumber })
    }

    /// The machine's package sources, their keys, and how they are reached.
    private func copyConfiguration(_ configuration: String) async throws {
        let names = [
            "sources.list", "sources.list.d", "keyrings", "trusted.gpg", "trusted.gpg.d", "apt.conf", "apt.conf.d",
            "auth.conf.d",
        ]
        var files = names.map { (from: configuration + "/" + $0, to: "/etc/apt/") }
        files += [("/usr/share/keyrings", "/usr/share/"), ("/etc/resolv.conf", "/etc/"), ("/etc/hosts", "/etc/")]
        // What the tool wrote may name the same archive with another key.
        unlink(path + "/etc/apt/sources.list")
        for (from, to) in files where access(from, R_OK) == 0 {
            try await run(job("cp", ["-r", "-L", "--remove-destination", from, path + to])).checked()
        }
    }

    /// This program, and the libraries that it needs but for those of the C library, which the root has.
    private func copyProgram() async throws {
        let own = resolvedPath("/proc/self/exe")
        let place = path + Self.program
        try createDirectory(place + "/lib")
        let needed = libraries(ldd: try await output("ldd", [own]))
        try await run(job("cp", ["-L", "--remove-destination"] + needed + [place + "/lib"])).checked()
        try await run(job("cp", ["--remove-destination", own, place + "/patchbuild"])).checked()
    }

    /// Runs `patchbuild package` in the root, on this process's own standard output and error.
    /// - Returns: its exit status.
    func package(_ request: PackageRequest, json: Bool) async throws -> Int32 {
        let directory = resolvedPath(request.directory)
        let command = ["package"] + (try options(request, directory: directory)) + (json ? ["--json"] : [])
        let loader = [
            "/lib64/ld-linux-x86-64.so.2", "--library-path", Self.program + "/lib", Self.program + "/patchbuild",
        ]
        // The root must be a mount of its own, or no private view of a tree can be made in it.
        let script = """
            set -e
            root=$1 out=$2
            shift 2
            mkdir -p "$root$out"
            mount --bind "$root" "$root"
            mount --rbind /dev "$root/dev"
            mount -t proc proc "$root/proc"
            mount --bind "$out" "$root$out"
            exec chroot "$root" "$@"
            """
        let words = ["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", path, directory]
        var inside = job("unshare", words + loader + command, in: "/", title: "patchbuild in a clean root")
        inside.environment.merge(["HOME": "/root", "XDG_CACHE_HOME": "/var/cache", "TMPDIR": nil]) { $1 }
        return try await runInForeground(inside)
    }

    private func options(_ request: PackageRequest, directory: String) throws -> [String] {
        var words = [request.package, "-o", directory] + (request.partial ? ["--partial"] : [])
        if let to = request.to { words += ["--to", to] }
        for cve in request.cves { words += ["--cve", cve] }
        for rule in request.allowed { words += ["--allow", "\(rule.rule.rawValue)=\(rule.subject)"] }
        for (number, diff) in request.diffs.enumerated() {
            guard let contents = FileManager.default.contents(atPath: diff) else {
                throw Refusal(.badInput, subject: diff, why: "the diff can't be read")
            }
            let place = "/var/cache/patchbuild/given/\(number)"
            try createDirectory(path + place)
            try writeWhole([UInt8](contents), to: path + place + "/" + baseName(diff))
            words += ["--diff", place + "/" + baseName(diff)]
        }
        return words
    }
}

/// The files that `ldd` names, without those of the C library.
func libraries(ldd text: String) -> [String] {
    let ofC = ["libc.so.", "libm.so.", "libpthread.so.", "libdl.so.", "librt.so.", "libresolv.so.", "libutil.so."]
    return text.split(whereSeparator: \.isNewline).compactMap { line in
        let words = line.split(whereSeparator: \.isWhitespace)
        guard let arrow = words.firstIndex(of: "=>"), arrow + 1 < words.count, words[arrow + 1].hasPrefix("/") else {
            return nil
        }
        let path = String(words[arrow + 1])
        return ofC.contains(where: baseName(path).hasPrefix) ? nil : path
    }
}

/// As `makePackage`, in a root directory of its own, with the same output.
///
/// - Returns: the exit status.
/// - Throws: `UsageError`; `Refusal` package-source; `JobFailure` where the root can't be made.
package func makePackageInCleanRoot(_ request: PackageRequest, json: Bool, say: @escaping Say) async throws -> Int32 {
    var request = request
    let asked = try PackageName(request.package)
    try requireDebian()
    if asked.version == nil {
        // Nothing of it is installed in the root.
        let installed = try await InstalledPackage.all()
        let binary = installed.first { $0.name == asked.name }?.version
        let source = installed.first { $0.source.source == asked.name }?.source.version
        guard let version = binary ?? source else {
            throw Refusal(
                .packageSource, subject: asked.name, why: "it is not installed here",
                remedy: "name the version that runs elsewhere: patchbuild package \(asked.name)=VERSION")
        }
        request.package = "\(asked.name)=\(version)"
    }
    let cache = try request.cache.map { try CacheFolder(path: $0) } ?? CacheFolder()
    let root = try await CleanRoot(cache, configuration: request.configuration, say: say)
    return try await root.package(request, json: json)
}
