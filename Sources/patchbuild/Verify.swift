import ArgumentParser
import Diagnostics
import PatchFormat
import Releasing
import Reproducing

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say who signed a bundle and whether that is enough, or build it again and compare.",
        discussion: """
            --allowed-signers, --policy and --revoked name files of the form that a host has below /etc/livepatch. Without \
            --policy, one principal of the allowed signers must have signed.
            --rebuild takes the options of `build` that say what the bundle was made of. The tree may lie elsewhere than it \
            did. Every byte of the manifest and of every member is compared; the first difference is named.
            Exit status: 0 it is enough, and the same; 1 it is not.
            """)

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(help: "Who may sign, with which keys, in OpenSSH's allowed_signers format.")
    var allowedSigners: String?
    @Option(help: "How many of which group must have signed; `livepatch help trust` tells the form.")
    var policy: String?
    @Option(
        help:
            "What is revoked: an OpenSSH revocation list, or public keys and `bundle sha256:DIGEST` lines; may be given several times."
    )
    var revoked: [String] = []
    @OptionGroup var rebuild: Rebuild
    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard allowedSigners != nil || rebuild.rebuild else {
            throw ValidationError("verify needs --allowed-signers or --rebuild")
        }
        guard allowedSigners != nil || (policy == nil && revoked.isEmpty) else {
            throw ValidationError("--policy and --revoked need --allowed-signers")
        }
    }

    func run() async throws {
        var isAccepted = true
        try await reporting(json: json) {
            let report = try allowedSigners.map { signers in
                var options = VerifyOptions(bundle: bundle, allowedSigners: signers)
                (options.policy, options.revoked) = (policy, revoked)
                return try verifyBundle(options)
            }
            if let report, !json { print(report.description) }
            isAccepted = report?.accepted ?? true
            // What nobody vouches for is not built.
            let reproduction = isAccepted ? try await reproduce() : nil
            if let reproduction, !json { print(reproduction.text) }
            if json { print(try answer(report, reproduction)) }
            guard let refused = report?.refused else { return }
            printError(refused.map(\.description).joined(separator: "\n"))
            if let hint = Refusals.hint(refused, tool: "patchbuild") { printError("  \(hint)") }
        }
        if !isAccepted { throw Reported(status: .refused) }
    }

    private func reproduce() async throws -> Reproduction? {
        guard rebuild.rebuild else { return nil }
        return try await rebuild.run(try Bundle.read(path: bundle), path: bundle)
    }

    private struct Both: Encodable {
        var signatures: VerifyReport
        var reproduced: Reproduction?
    }

    private func answer(_ report: VerifyReport?, _ reproduction: Reproduction?) throws -> String {
        guard let report else { return try encoded(["reproduced": reproduction]) }
        return rebuild.rebuild ? try encoded(Both(signatures: report, reproduced: reproduction)) : try encoded(report)
    }
}
