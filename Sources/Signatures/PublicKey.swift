import Crypto
import FoundationEssentials
import PatchFormat

/// A public key of one of the kinds that bundles are signed with.
public struct PublicKey: Hashable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        case ed25519 = "ssh-ed25519"
        case ecdsa = "ecdsa-sha2-nistp256"
        /// On a hardware token, as are those of the next kind (OpenSSH's PROTOCOL.u2f).
        case hardwareEd25519 = "sk-ssh-ed25519@openssh.com"
        case hardwareECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"

        var isHardware: Bool { self == .hardwareEd25519 || self == .hardwareECDSA }
        var isECDSA: Bool { self == .ecdsa || self == .hardwareECDSA }

        /// As ssh-keygen prints it.
        public var title: String {
            switch self {
            case .ed25519: "ED25519"
            case .ecdsa: "ECDSA"
            case .hardwareEd25519: "ED25519-SK"
            case .hardwareECDSA: "ECDSA-SK"
            }
        }
    }

    public let kind: Kind
    /// 32 bytes, or 65 of an uncompressed point.
    let point: [UInt8]
    /// Of a hardware key: what it was made for, usually `ssh:`.
    let application: [UInt8]

    static let curve = Array("nistp256".utf8)

    /// The fields of a key behind its type, as in key blobs and in certificates.
    init(_ kind: Kind, from reader: inout WireReader) throws(Malformed) {
        self.kind = kind
        if kind.isECDSA, try reader.string() != Self.curve { throw Malformed("the key's curve is not nistp256") }
        point = try reader.string()
        application = kind.isHardware ? try reader.string() : []
        guard application.count <= 1024 else { throw Malformed("the key's application is too long") }
        let isPoint: Bool
        if kind.isECDSA {
            isPoint = point.count == 65 && (try? P256.Signing.PublicKey(x963Representation: point)) != nil
        } else {
            isPoint = point.count == 32
        }
        guard isPoint else { throw Malformed("the key is not a point of its curve") }
    }

    /// - Parameter blob: the key in wire format.
    /// - Throws: where it is damaged, of another kind, or a certificate.
    public init(blob: [UInt8]) throws(Malformed) {
        var reader = WireReader(blob, of: "the key")
        let type = try reader.text()
        guard let kind = Kind(rawValue: type) else { throw Malformed("keys of type \(type) are not supported") }
        try self.init(kind, from: &reader)
        try reader.finish()
    }

    /// The key in wire format: there is one for each key.
    public var blob: [UInt8] {
        var bytes = Wire.string(kind.rawValue.utf8)
        if kind.isECDSA { bytes += Wire.string(Self.curve) }
        bytes += Wire.string(point)
        if kind.isHardware { bytes += Wire.string(application) }
        return bytes
    }

    /// `SHA256:` and base64 without padding, as ssh-keygen prints it.
    public var fingerprint: String {
        "SHA256:" + Base64.encode(Array(SHA256.hash(data: blob))).prefix { $0 != "=" }
    }

    /// The same digest as 64 hexadecimal digits, for the names of files.
    public var fingerprintDigits: String { Digest.sha256(blob) }

    public var description: String { "\(kind.title) \(fingerprint)" }

    // MARK: Signatures

    /// What a hardware token says of a signature.
    struct Presence: Hashable, Sendable {
        var flags: UInt8
        var isVerified: Bool { flags & 0x04 != 0 }
    }

    /// Checks a signature in wire format over `message`.
    /// - Returns: for a hardware key, what its token says.
    /// - Throws: where it does not hold, or a hardware token did not see its owner.
    @discardableResult
    func verify(_ signature: [UInt8], over message: [UInt8]) throws(Malformed) -> Presence? {
        var reader = WireReader(signature, of: "the signature")
        guard try reader.string() == Array(kind.rawValue.utf8) else {
            throw Malformed("the signature is not of the key's type, \(kind.rawValue)")
        }
        let value = try reader.string()
        guard kind.isHardware else {
            try reader.finish()
            try check(value, over: message)
            return nil
        }
        let flags = try reader.byte()
        let counter = try reader.bytes(4)
        try reader.finish()
        try check(value, over: SHA256.hash(data: application) + [flags] + counter + SHA256.hash(data: message))
        guard flags & 0x01 != 0 else { throw Malformed("nobody touched the hardware key when it signed") }
        return Presence(flags: flags)
    }

    private func check(_ value: [UInt8], over message: [UInt8]) throws(Malformed) {
        guard try kind.isECDSA ? holdsECDSA(value, message) : holdsEd25519(value, message) else {
            throw Malformed("it was not made by its key over this bundle")
        }
    }

    private func holdsEd25519(_ value: [UInt8], _ message: [UInt8]) -> Bool {
        guard value.count == 64, let key = try? Curve25519.Signing.PublicKey(rawRepresentation: point) else {
            return false
        }
        return key.isValidSignature(value, for: message)
    }

    private func holdsECDSA(_ value: [UInt8], _ message: [UInt8]) throws(Malformed) -> Bool {
        var reader = WireReader(value, of: "the ECDSA signature")
        let numbers = [try reader.positiveNumber(), try reader.positiveNumber()]
        try reader.finish()
        guard numbers.allSatisfy({ $0.count <= 32 }) else { return false }
        let raw = numbers.flatMap { [UInt8](repeating: 0, count: 32 - $0.count) + $0 }
        guard let key = try? P256.Signing.PublicKey(x963Representation: point),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: raw)
        else { return false }
        return key.isValidSignature(signature, for: message)
    }
}
