import ArgumentParser
import Diagnostics
import PatchBuilding
import PatchFormat

struct Sign: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sign a bundle with an SSH key; any number of people may.",
        discussion: """
            The machine's own ssh-keygen signs: keys with a passphrase, keys in an agent (give the .pub file) and hardware \
            keys work. Ed25519 and ECDSA P-256, also on hardware, and certificates of these. The signature is made for the \
            namespace livepatch-bundle, over manifest.json, which names every other byte of the bundle by digest.
            Signing again with the same key replaces its signature.
            """)

    @Argument(help: "The bundle; the signature is added to this file.")
    var bundle: String
    @Option(help: "A private key, or the public key (.pub) of one that ssh-agent holds.")
    var key: String
    @Option(help: "The signature's name in the bundle (default: the key's fingerprint).")
    var name: String?
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await reporting(json: json) {
            let report = try await signBundle(SigningOptions(bundle: bundle, key: key, name: name))
            if json { return print(try encoded(report)) }
            let again = report.replaced ? ", again" : ""
            print(
                "\(bundle): signed by \(report.keyType) \(report.fingerprint)\(again); signatures: \(report.signatures)"
            )
        }
    }
}

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say who signed a bundle, and whether that is enough.",
        discussion: """
            The files are those that a host has below /etc/livepatch. Without --policy, one principal of the allowed \
            signers must have signed.
            Exit status: 0 it is enough; 1 it is not.
            """)

    @Argument(help: "The bundle.")
    var bundle: String
    @Option(help: "Who may sign, with which keys, in OpenSSH's allowed_signers format.")
    var allowedSigners: String
    @Option(help: "How many of which group must have signed; `livepatch help trust` tells the form.")
    var policy: String?
    @Option(
        help:
            "What is revoked: an OpenSSH revocation list, or public keys and `bundle sha256:DIGEST` lines; may be given several times."
    )
    var revoked: [String] = []
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        var options = VerifyOptions(bundle: bundle, allowedSigners: allowedSigners)
        (options.policy, options.revoked) = (policy, revoked)
        var isAccepted = true
        try await reporting(json: json) {
            let report = try verifyBundle(options)
            print(json ? try encoded(report) : report.description)
            isAccepted = report.accepted
            guard let refused = report.refused else { return }
            printError(refused.map(\.description).joined(separator: "\n"))
            if let hint = Refusals.hint(refused, tool: "patchbuild") { printError("  \(hint)") }
        }
        if !isAccepted { throw Reported(status: .refused) }
    }
}
