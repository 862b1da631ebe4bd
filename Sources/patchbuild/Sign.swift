import ArgumentParser
import Diagnostics
import PatchFormat
import Releasing

struct Sign: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sign a bundle with an SSH key; any number of people may.",
        discussion: """
            The machine's own ssh-keygen signs: keys with a passphrase, keys in an agent (give the .pub file) and hardware \
            keys work. Ed25519 and ECDSA P-256, also on hardware, and certificates of these. The signature is made for the \
            namespace livepatch-bundle, over manifest.json, which names every other byte of the bundle by digest.
            Signing again with the same key replaces its signature; what does not hold is left out.
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
            for name in report.dropped { print("\(bundle): \(name) is left out: it does not hold") }
            let again = report.replaced ? ", again" : ""
            print(
                "\(bundle): signed by \(report.keyType) \(report.fingerprint)\(again); signatures: \(report.signatures)"
            )
        }
    }
}
