import Crypto

/// A signature as `ssh-keygen -Y sign` makes it (OpenSSH's PROTOCOL.sshsig).
public struct SSHSignature: Hashable, Sendable {
    public enum Signer: Hashable, Sendable {
        case key(PublicKey)
        case certificate(Certificate)

        public var key: PublicKey {
            switch self {
            case .key(let key): key
            case .certificate(let certificate): certificate.key
            }
        }
    }

    public let signer: Signer
    public let namespace: String
    let hash: String
    let value: [UInt8]

    /// What bundles are signed for: a signature made for anything else does not count.
    public static let bundleNamespace = "livepatch-bundle"
    private static let preamble = Array("SSHSIG".utf8)
    private static let version: UInt32 = 1

    /// - Parameter armored: the text of a `.sig` file.
    /// - Throws: where it is not in the one form of such a file, or of a kind that is not known.
    public init(armored: [UInt8]) throws(Malformed) {
        try self.init(blob: try Armor.decode(armored))
    }

    init(blob: [UInt8]) throws(Malformed) {
        var reader = WireReader(blob, of: "it")
        guard try reader.bytes(6) == Self.preamble, try reader.uint32() == Self.version else {
            throw Malformed("it is not an SSH signature of version 1")
        }
        signer = try Self.signer(try reader.string())
        namespace = try reader.text()
        guard try reader.string().isEmpty else { throw Malformed("it has something in a field that is reserved") }
        hash = try reader.text()
        value = try reader.string()
        try reader.finish()
        guard Self.digest(of: [], by: hash) != nil else { throw Malformed("the hash \(hash) is not supported") }
    }

    private static func signer(_ blob: [UInt8]) throws(Malformed) -> Signer {
        var reader = WireReader(blob, of: "the key")
        let type = try reader.text()
        return Certificate.kind(ofType: type) == nil
            ? .key(try PublicKey(blob: blob)) : .certificate(try Certificate(blob: blob))
    }

    private static func digest(of message: [UInt8], by hash: String) -> [UInt8]? {
        switch hash {
        case "sha256": Array(SHA256.hash(data: message))
        case "sha512": Array(SHA512.hash(data: message))
        default: nil
        }
    }

    /// The bytes that the key signs.
    static func signedData(_ message: [UInt8], namespace: String, hash: String) throws(Malformed) -> [UInt8] {
        guard let digest = digest(of: message, by: hash) else { throw Malformed("the hash \(hash) is not supported") }
        return preamble + Wire.string(namespace.utf8) + Wire.string([]) + Wire.string(hash.utf8) + Wire.string(digest)
    }

    /// - Throws: unless the key named in the signature made it over `message`, for bundles.
    @discardableResult
    func verify(_ message: [UInt8]) throws(Malformed) -> PublicKey.Presence? {
        guard namespace == Self.bundleNamespace else {
            throw Malformed("it was made for the namespace \(namespace), not for \(Self.bundleNamespace)")
        }
        return try signer.key.verify(
            value, over: try Self.signedData(message, namespace: namespace, hash: hash))
    }

    /// Whether it holds over `message`, for `patchbuild sign`, which believes no signature that it has not checked.
    public func check(_ message: [UInt8]) throws(Malformed) { try verify(message) }
}
