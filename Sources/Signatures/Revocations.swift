import Diagnostics
import PatchFormat

/// What is not trusted any more: keys, certificates, and whole bundles.
public struct Revocations: Sendable {
    private var lists: [RevocationList] = []
    private var keys: Set<PublicKey> = []
    private var bundles: Set<String> = []

    public init() {}

    /// Adds an OpenSSH revocation list, or a text of lines: a public key as in `authorized_keys`, or
    /// `bundle sha256:DIGEST` with the digest of a withdrawn bundle's manifest.
    /// - Throws: `Refusal` of rule untrusted-configuration that names the line.
    public mutating func add(_ bytes: [UInt8], name: String) throws {
        if bytes.starts(with: RevocationList.magic) {
            do throws(Malformed) { lists.append(try RevocationList(bytes)) } catch {
                throw Refusal(
                    .untrustedConfiguration, subject: name, why: error.description,
                    remedy: "make it again with `ssh-keygen -k -f \(name) KEY…`")
            }
            return
        }
        var (keys, bundles) = (self.keys, self.bundles)
        try ConfigurationLines(bytes, name: name).eachLine { line throws(Malformed) in
            var words = Words(line.text)
            guard let first = try words.next(), let second = try words.next() else {
                throw Malformed("a line has a public key, or the word bundle and a digest")
            }
            guard first == "bundle" else {
                keys.insert(try AllowedSigners.key(first, second))
                return
            }
            bundles.insert(try Self.digest(second))
            if let comment = try words.next(), !comment.hasPrefix("#") {
                throw Malformed("something follows the digest that is no comment")
            }
        }
        (self.keys, self.bundles) = (keys, bundles)
    }

    private static func digest(_ text: String) throws(Malformed) -> String {
        let digits = text.dropFirst("sha256:".count)
        guard text.hasPrefix("sha256:"), digits.utf8.count == 64,
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { throw Malformed("a digest is sha256: and 64 hexadecimal digits in lower case") }
        return String(digits)
    }

    public func revokes(bundle manifestDigest: String) -> Bool { bundles.contains(manifestDigest) }

    /// Why the signer does not count; nil where nothing is against it.
    func objection(to signer: SSHSignature.Signer) -> String? {
        switch signer {
        case .key(let key): return revokes(key) ? "the key has been revoked" : nil
        case .certificate(let certificate):
            if revokes(certificate.key) { return "the key has been revoked" }
            if revokes(certificate.authority) { return "the key of the certificate's authority has been revoked" }
            return lists.contains { $0.revokes(certificate) } ? "the certificate has been revoked" : nil
        }
    }

    private func revokes(_ key: PublicKey) -> Bool { keys.contains(key) || lists.contains { $0.revokes(key) } }
}
