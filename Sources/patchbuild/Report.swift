import ArgumentParser
import PatchBuilding
import PatchFormat
import Reporting

struct Report: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a page for whoever is to sign a bundle: what changes, why, and what was proved.",
        discussion: """
            One HTML file that loads nothing else. It shows the source diff, and of each function the code before and after with
            its lines of source and its callers. The listings are compared with the modules' own code. No signature is verified.
            """)

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(name: .shortAndLong, help: "The page to write.")
    var output: String

    func run() async throws {
        try await reporting(json: false) {
            let bundle = try Bundle.read(path: bundle)
            try writeWhole(try reportPage(bundle), to: output)
        }
    }
}
