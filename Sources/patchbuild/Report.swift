import ArgumentParser
import Diagnostics
import PatchFormat
import Reporting
import Toolchain

struct Report: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a page for whoever is to sign a bundle: what changes, why, and what was proved.",
        discussion: """
            One HTML file that loads nothing else. It shows the source diff, and of each function the code before and after with
            its lines of source and its callers. The listings are compared with the modules' own code: where they differ,
            the page says so, and the exit status is 1. No signature is verified.
            """)

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(name: .shortAndLong, help: "The page to write.")
    var output: String

    func run() async throws {
        try await reporting(json: false) {
            let page = try reportPage(try Bundle.read(path: bundle))
            try writeWhole(page.bytes, to: output)
            // A script that goes on to sign must stop here.
            guard page.contradictions == 0 else {
                throw Refusal(
                    .badBundle, subject: bundle,
                    why: "what it shows to a reviewer is not what it holds; \(output) says where",
                    remedy: "do not sign it; have it built again")
            }
        }
    }
}
