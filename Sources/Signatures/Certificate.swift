/// An OpenSSH certificate (PROTOCOL.certkeys): a key that an authority vouches for, under names and for a time.
///
/// A value of this type bears a valid signature of `authority`. Whether that authority is trusted, and the certificate
/// for now, is for others to say.
public struct Certificate: Hashable, Sendable {
    public let key: PublicKey
    public let authority: PublicKey
    public let serial: UInt64
    public let keyID: String
    public let principals: [String]
    let type: UInt32
    let validAfter: UInt64
    let validBefore: UInt64
    let criticalOptions: [String]

    private static let ending = "-cert-v01@openssh.com"
    private static let user: UInt32 = 1
    /// More names than any certificate has: OpenSSH's own limit.
    private static let maximumPrincipals = 256

    /// The type that a certificate of this kind of key has: `sk-ssh-ed25519-cert-v01@openssh.com`.
    static func typeName(_ kind: PublicKey.Kind) -> String {
        String(kind.rawValue.prefix { $0 != "@" }) + ending
    }

    static func kind(ofType name: String) -> PublicKey.Kind? {
        PublicKey.Kind.allCases.first { typeName($0) == name }
    }

    /// - Throws: where it is damaged, or the authority's signature does not hold.
    init(blob: [UInt8]) throws(Malformed) {
        var reader = WireReader(blob, of: "the certificate")
        let type = try reader.text()
        guard let kind = Self.kind(ofType: type) else { throw Malformed("keys of type \(type) are not supported") }
        _ = try reader.string()  // A nonce.
        key = try PublicKey(kind, from: &reader)
        serial = try reader.uint64()
        self.type = try reader.uint32()
        keyID = try reader.text()
        principals = try Self.texts(try reader.string(), step: 1)
        (validAfter, validBefore) = (try reader.uint64(), try reader.uint64())
        criticalOptions = try Self.texts(try reader.string(), step: 2)
        _ = try reader.string()  // Extensions may be passed over, and so may what is reserved.
        _ = try reader.string()
        authority = try PublicKey(blob: try reader.string())
        let signature = try reader.string()
        try reader.finish()
        let signed = Array(blob.dropLast(4 + signature.count))
        do { try authority.verify(signature, over: signed) } catch {
            throw Malformed("the certificate's own signature does not hold")
        }
    }

    /// The strings of a list; with `step` 2, names of which each is followed by its data.
    private static func texts(_ bytes: [UInt8], step: Int) throws(Malformed) -> [String] {
        var reader = WireReader(bytes, of: "a list in the certificate")
        var texts: [String] = []
        while !reader.isAtEnd {
            texts.append(try reader.text())
            if step == 2 { _ = try reader.string() }
            guard texts.count <= maximumPrincipals else { throw Malformed("a list in the certificate is too long") }
        }
        return texts
    }

    /// Why it does not count for a signature at a time; nil where nothing is against it.
    ///
    /// - Parameter presence: what a hardware token said of the signature.
    func objection(at now: Int64, presence: PublicKey.Presence?) -> String? {
        guard type == Self.user else { return "the certificate is one of a host" }
        guard !principals.isEmpty else { return "the certificate names no principal" }
        let now = UInt64(max(0, now))
        guard now >= validAfter else { return "the certificate is not valid yet" }
        guard now < validBefore else { return "the certificate has expired" }
        for option in criticalOptions {
            guard option == "verify-required" else { return "the certificate is restricted by \(option)" }
            guard presence?.isVerified == true else { return "the certificate asks that the key's owner be verified" }
        }
        return nil
    }
}
