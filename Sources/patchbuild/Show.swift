import ArgumentParser
import Diagnostics
import Documents
import PatchFormat
import Releasing

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is in a bundle.",
        discussion: """
            As in-toto, a Statement with SLSA provenance: what the bundle was made of, and by what. As cyclonedx, a bill of
            materials that names the CVEs that the patch closes. Neither says that a host is fixed: that depends on the memory
            of its processes.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text, json
        case inToto = "in-toto"
        case cyclonedx
    }

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(help: "What to print.")
    var format: Format?
    @Flag(help: "Print one JSON object: the same as --format json.")
    var json = false

    func run() async throws {
        let format = try chosenFormat()
        try await reporting(json: format != .text) {
            let bundle = try Bundle.read(path: bundle)
            switch format {
            case .text: print(Releasing.Show.text(bundle), terminator: "")
            case .json: print(Releasing.Show.json(bundle))
            case .inToto: print(try Document.inToto.text(of: bundle))
            case .cyclonedx: print(try Document.cycloneDX.text(of: bundle))
            }
        }
    }

    private func chosenFormat() throws -> Format {
        guard json else { return format ?? .text }
        guard format == nil || format == .json else { throw UsageError("give either --json or --format") }
        return .json
    }
}
