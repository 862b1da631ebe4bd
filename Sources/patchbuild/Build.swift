import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
import Guarding
import PatchBuilding
import PatchFormat
import Signatures
import Toolchain

struct Build: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Build a patch bundle from a diff, a second source tree, or pairs of objects.",
        discussion: """
            Diffs apply with -p1 to the source that the target was built from; nothing in that tree is written.
            --symbols names an unstripped ELF of the same build for the --target before it.
            Where the diff touches what source is generated from, the build that `record` saw is repeated in a private
            view of the tree.
            A patch that could be wrong is refused, with the rule, its subject, the reason and the way out.
            """)

    @OptionGroup var input: BuildInput
    @Option(name: .shortAndLong, help: "The bundle to write.")
    var output: String
    @Option(help: "The patch's id (default: the output's name).")
    var id: String?
    @Option(help: "A CVE that the patch fixes.")
    var cve: [String] = []
    @Option(
        help: "A number that grows with each bundle of this id: hosts refuse one lower than what they have applied.")
    var sequence = 0
    @Option(help: "When the bundle ends, in UTC: 2026-12-31 (that day is the last) or 2026-12-31T12:00:00Z.")
    var expires: String?
    @Option(help: "RULE=SUBJECT: record the decision that a refusal does not apply.")
    var allow: [String] = []
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let options = try options()
        try await reporting(json: json) {
            let built = try await buildBundle(options)
            try writeWhole(built.bytes, to: output)
            if json {
                print(try encoded(BuildReport(built, output: output)))
            } else {
                print(BuildReport.text(built, output: output))
            }
        }
    }

    private func options() throws -> BuildOptions {
        var options = try input.options(output: output)
        options.id = id
        guard ManifestRules.isIdentifier(options.bundleID) else {
            throw UsageError(
                "an id has 1 to 128 printable characters without spaces and slashes, and begins with neither - nor .: "
                    + options.bundleID)
        }
        options.cves = cve
        try requirePlace()
        guard sequence >= 0 else { throw UsageError("--sequence is 0 or a positive number") }
        options.sequence = sequence
        options.expires = try expires.map(endOfLife)
        options.allowed = try allow.map { try AllowedRule($0) }
        if let epoch = ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap(Double.init) {
            options.created = Date(timeIntervalSince1970: epoch).formatted(.iso8601)
        }
        return options
    }

    /// Before anything is compiled.
    private func requirePlace() throws {
        let folder = output.lastIndex(of: "/").map { String(output[...$0]) } ?? "."
        try requireFolder(folder, option: "-o \(output)")
    }

    private func endOfLife(_ text: String) throws -> String {
        let time = text.utf8.count == 10 ? text + "T23:59:59Z" : text
        guard Times.seconds(rfc3339: time) != nil else {
            throw UsageError("--expires is a day, 2026-12-31, or a time in UTC, 2026-12-31T12:00:00Z: \(text)")
        }
        return time
    }
}

/// - Throws: `UsageError` where nothing can be written there.
func requireFolder(_ folder: String, option: String) throws {
    var status = stat()
    guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
        throw UsageError("\(option): there is no folder \(folder)")
    }
    guard access(folder, W_OK) == 0 else {
        throw UsageError("\(option): \(folder) can't be written: \(String(cString: strerror(errno)))")
    }
}
