import Diagnostics

/// What is known of one signature of a bundle.
public struct SignatureReport: Codable, Hashable, Sendable {
    /// The archive's member.
    public var name: String
    /// `ED25519`, `ECDSA-SK`; nil where the signature can't be read.
    public var keyType: String?
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    public var fingerprint: String?
    /// Of a certificate: its key id, serial and authority.
    public var certificate: String?
    /// Under which names it counts.
    public var principals: [String] = []
    /// It holds over this bundle, and its signer is trusted.
    public var valid: Bool
    /// Why it does not count.
    public var why: String?
}

/// One line of the policy, and how the bundle meets it.
public struct RequirementReport: Codable, Hashable, Sendable {
    /// Nil: any principal.
    public var group: String?
    public var required: Int
    /// Distinct principals that count.
    public var principals: [String]
    public var met: Bool
}

/// Who signed a bundle, and whether that is enough.
public struct TrustReport: Codable, Hashable, Sendable {
    public var manifestDigest: String
    public var signatures: [SignatureReport] = []
    public var requirements: [RequirementReport] = []
    /// Why the bundle is not accepted; empty where it is.
    public var refused: [Refusal] = []
    public var accepted: Bool { refused.isEmpty }

    public init(
        manifestDigest: String, signatures: [SignatureReport] = [], requirements: [RequirementReport] = []
    ) {
        (self.manifestDigest, self.signatures, self.requirements) = (manifestDigest, signatures, requirements)
    }

    private enum CodingKeys: String, CodingKey { case manifestDigest, signatures, requirements, refused }
}

extension TrustReport: CustomStringConvertible {
    /// Made for reading, without the refusals.
    public var description: String { lines.map(onOneLine).joined(separator: "\n") }

    public var lines: [String] {
        var lines = ["manifest sha256:\(manifestDigest)"]
        for signature in signatures {
            let key = [signature.keyType, signature.fingerprint].compactMap { $0 }.joined(separator: " ")
            let who = signature.principals.isEmpty ? "" : "\(signature.principals.joined(separator: ", ")), "
            lines.append("signed by \(who)\(key.isEmpty ? signature.name : key)")
            if let certificate = signature.certificate { lines.append("  certificate \(certificate)") }
            lines.append("  \(signature.valid ? "valid" : "does not count: \(signature.why ?? "not known")")")
        }
        if signatures.isEmpty { lines.append("not signed") }
        lines += requirements.map(\.description)
        return lines
    }
}

extension RequirementReport: CustomStringConvertible {
    public var description: String {
        let who =
            principals.isEmpty ? "nobody who counts has signed" : "signed by \(principals.joined(separator: ", "))"
        return "\(met ? "met" : "missed"): \(required) of \(group ?? "any principal"); \(who)"
    }
}
