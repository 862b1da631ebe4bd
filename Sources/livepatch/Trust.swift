import ArgumentParser
import Diagnostics
import PatchApplying
import PatchFormat
import Signatures
import TrustedHost

struct TrustCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust", abstract: "Say whom this host trusts, and whether it would accept a bundle.",
        discussion: """
            What counts stands below /etc/livepatch, in files that only root can write: allowed_signers (OpenSSH's format), \
            revoked and revoked.krl (public keys, `bundle sha256:DIGEST` lines, or an OpenSSH revocation list) and policy.
            Without a policy, a bundle must be signed by one principal of allowed_signers, or --allow-unsigned be said. \
            A policy has lines like these; what it does not permit is forbidden:

              require 2 security        (distinct principals; `any`: whoever)
              group security alice@example.org,bob@example.org
              allow-unsigned no
              allow-rollback yes
              longest-age 90d           (since it was made; h, d or w)

            Exit status: 0 the bundle would be accepted; 1 it would be refused, or a file can't be believed.
            """)

    @Argument(help: "A bundle.")
    var bundle: String?

    @Flag(help: "Judge as if --allow-unsigned were said.")
    var allowUnsigned = false

    @Flag(help: "Judge as if --allow-rollback were said.")
    var allowRollback = false

    @Option(help: "Judge as if these signers were given.")
    var allowedSigners: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let presentation = Presentation(json: json)
        do {
            let claims = TrustClaims(
                allowUnsigned: allowUnsigned, allowRollback: allowRollback, allowedSigners: allowedSigners)
            let account = try HostTrust().account(of: bundle, claims)
            throw ExitCode(presentation.show(account).rawValue)
        } catch let error where !(error is ExitCode) {
            throw ExitCode(presentation.show(error).rawValue)
        }
    }
}
