import ArgumentParser
import Diagnostics
import PatchFormat
import Releasing

struct Pack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a bundle together with what a maintenance engineer needs to apply it.",
        discussion: """
            The directory, or the tar archive if the name ends in .tar, holds the bundle; livepatch, one static file that \
            needs nothing else of the machine; SIGNERS, the fingerprints of those who signed; and README, one page of \
            instructions. The same inputs give the same bytes.
            """)

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(name: .shortAndLong, help: "The directory to make, or the archive to write if its name ends in .tar.")
    var output: String
    @Option(help: "The static livepatch to add (default: the one beside patchbuild, else the installed one).")
    var livepatch: String?
    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Report: Encodable {
        var output: String
        var id: String
        var files: [String]
        var signers: [String]
    }

    func run() async throws {
        try await reporting(json: json) {
            let handOver = try handOver(bundle: bundle, applier: livepatch)
            try writeHandOver(handOver, to: output)
            let report = Report(
                output: output, id: handOver.id, files: handOver.files.map(\.name), signers: handOver.signers.map(\.key)
            )
            if json { return print(try encoded(report)) }
            print("\(output): \(report.files.joined(separator: ", "))")
            print("signed by: \(report.signers.isEmpty ? "nobody" : report.signers.joined(separator: ", "))")
        }
    }
}
