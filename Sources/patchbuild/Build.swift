import ArgumentParser
import Diagnostics
import FoundationEssentials
import PatchBuilding
import PatchFormat
import Signatures

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

    @Option(help: "The source tree that the target was built from.")
    var source: String?
    @Option(help: "The recorded compile commands (default: compile_commands.json of the source tree).")
    var compileCommands: String?
    @Option(help: "A diff to apply; may be given several times, in order.")
    var diff: [String] = []
    @Option(
        help:
            "A second tree with the change in it, instead of diffs; if recorded, sources that it adds are compiled as there."
    )
    var newSource: String?
    @Option(help: "An original object; each with a --new.")
    var original: [String] = []
    @Option(help: "A new object; each with an --original.")
    var new: [String] = []
    @Option(help: "The ELF file to patch, as it runs; may be given several times.")
    var target: [String] = []
    @Option(help: "An ELF with the symbols and debug information of the --target at the same place in the order.")
    var symbols: [String] = []
    @Option(name: .shortAndLong, help: "The bundle to write.")
    var output: String
    @Option(help: "The patch's id (default: the output's name).")
    var id: String?
    @Option(help: "A CVE that the patch fixes.")
    var cve: [String] = []
    @Option(help: "A bundle that must be applied before this one.")
    var requires: [String] = []
    @Option(help: "A bundle that this one replaces.")
    var supersedes: [String] = []
    @Option(
        help: "A number that grows with each bundle of this id: hosts refuse one lower than what they have applied.")
    var sequence = 0
    @Option(help: "When the bundle ends, in UTC: 2026-12-31 (that day is the last) or 2026-12-31T12:00:00Z.")
    var expires: String?
    @Option(help: "RULE=SUBJECT: record the decision that a refusal does not apply.")
    var allow: [String] = []
    @Option(help: "A command to compile with, such as ccache, distcc or icecc.")
    var launcher: String?
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
        guard !target.isEmpty else { throw UsageError("build needs --target, the ELF file to patch") }
        guard symbols.isEmpty || symbols.count == target.count else {
            throw UsageError("give one --symbols for each --target, or none")
        }
        let targets = target.enumerated().map { index, path in
            BuildOptions.Target(path: path, symbols: symbols.isEmpty ? nil : symbols[index])
        }
        var options = BuildOptions(input: try input(), targets: targets, output: output)
        options.id = id
        options.cves = cve
        options.requires = requires
        options.supersedes = supersedes
        guard sequence >= 0 else { throw UsageError("--sequence is 0 or a positive number") }
        options.sequence = sequence
        options.expires = try expires.map(endOfLife)
        options.launcher = launcher.map(shellWords) ?? []
        options.allowed = try allow.map { try AllowedRule($0) }
        if let epoch = ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap(Double.init) {
            options.created = Date(timeIntervalSince1970: epoch).formatted(.iso8601)
        }
        return options
    }

    private func endOfLife(_ text: String) throws -> String {
        let time = text.utf8.count == 10 ? text + "T23:59:59Z" : text
        guard Times.seconds(rfc3339: time) != nil else {
            throw UsageError("--expires is a day, 2026-12-31, or a time in UTC, 2026-12-31T12:00:00Z: \(text)")
        }
        return time
    }

    private func input() throws -> BuildOptions.Input {
        if !original.isEmpty || !new.isEmpty {
            guard source == nil, diff.isEmpty, newSource == nil, compileCommands == nil else {
                throw UsageError(
                    "give either sources (--source with --diff or --new-source) or objects (--original, --new)")
            }
            guard original.count == new.count else { throw UsageError("each --original needs a --new") }
            return .objects(zip(original, new).map { BuildOptions.ObjectPair(original: $0, new: $1) })
        }
        guard let source else { throw UsageError("build needs --source, or --original and --new") }
        switch (diff.isEmpty, newSource) {
        case (false, nil): return .diffs(source: source, compileCommands: compileCommands, diffs: diff)
        case (true, let newSource?):
            return .newSource(source: source, compileCommands: compileCommands, newSource: newSource)
        default: throw UsageError("build needs either --diff or --new-source")
        }
    }
}
