import ArgumentParser
import Diagnostics
import Guarding
import Packaging
import Toolchain

struct MakePackage: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "package",
        abstract: "Make a patch bundle for a package of the distribution.",
        discussion: """
            NAME is a binary package, such as redis-server, or a source package, such as redis. Without a version, the \
            installed one is meant.

            The source of that version is fetched from the machine's own package sources and built as the distribution \
            builds it, and the build is recorded. The fixes are the patches that a newer version adds. The bundle is for the \
            official programs and libraries that they reach. Builds are kept in $XDG_CACHE_HOME/patchbuild/packages.

            Root installs what the build needs (apt-get build-dep). Another user needs sudo without a password, or is told \
            what root has to install. /etc/apt is only read. With --chroot all of it happens in a root directory of its own.
            """)

    @Argument(help: "The package: NAME or NAME=VERSION.")
    var package: String
    @Option(help: "The version whose fixes are taken (default: the newest in the package sources).")
    var to: String?
    @Option(
        help: ArgumentHelp(
            "Take only the fixes that name this CVE; may be given several times. With --diff: a CVE that the diffs close."
        ))
    var cve: [String] = []
    @Option(help: "Take this diff instead of a newer version's fixes; may be given several times, in order.")
    var diff: [String] = []
    @Option(help: "RULE=SUBJECT: record the decision that a refusal does not apply.")
    var allow: [String] = []
    @Flag(help: "Build in a clean root (mmdebstrap or debootstrap), so that nothing is installed on this machine.")
    var chroot = false
    @Flag(help: "Leave refused fixes out. The bundle says which CVEs it closes and which it does not.")
    var partial = false
    @Option(name: .shortAndLong, help: "The directory for the bundle, NAME_FROM_TO.lpatch.")
    var output = "."
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let request = try request()
        try await reporting(json: json) {
            if chroot {
                let status = try await makePackageInCleanRoot(request, json: json) { printError("patchbuild: \($0)") }
                throw ExitCode(status)
            }
            let outcome = try await makePackage(request) { printError("patchbuild: \($0)") }
            if let bytes = outcome.bytes { try writeWhole(bytes, to: outcome.path) }
            if json {
                print(try encoded(PackageReport(outcome)))
            } else {
                print(outcome.text)
            }
            guard let bytes = outcome.bytes else { throw refused(outcome) }
            if !json { print("wrote \(outcome.path) (\(bytes.count) bytes)") }
        }
    }

    private func request() throws -> PackageRequest {
        guard to == nil || diff.isEmpty else { throw UsageError("give either --to or --diff") }
        try requireFolder(output, option: "-o \(output)")
        var request = PackageRequest(package: package)
        request.to = to
        request.cves = cve
        request.diffs = diff
        request.allowed = try allow.map { try AllowedRule($0) }
        request.partial = partial
        request.directory = output
        return request
    }

    private func refused(_ outcome: PackageOutcome) -> Reported {
        let count = outcome.verdicts.count { $0.verdict == .refused }
        printError(
            count == 0
                ? "patchbuild: there is nothing to patch; nothing was written"
                : "patchbuild: \(count) of \(outcome.verdicts.count) fixes are refused; nothing was written"
                    + " (--partial leaves them out)")
        if let hint = Refusals.hint(outcome.refusals, tool: "patchbuild") { printError("  \(hint)") }
        return Reported(status: .refused)
    }
}
