import Crypto
import FoundationEssentials
import PatchFormat
import TestSupport
import Testing

@testable import Signatures

/// Keys on hardware tokens, whose signatures are made here as OpenSSH's PROTOCOL.u2f says.
@Suite struct HardwareKeyTests {
    enum Token {
        case ed25519(Curve25519.Signing.PrivateKey)
        case ecdsa(P256.Signing.PrivateKey)

        var type: String {
            switch self {
            case .ed25519: "sk-ssh-ed25519@openssh.com"
            case .ecdsa: "sk-ecdsa-sha2-nistp256@openssh.com"
            }
        }

        func blob(_ application: String) -> [UInt8] {
            let type = Wire.string(self.type.utf8)
            switch self {
            case .ed25519(let key):
                return type + Wire.string(Array(key.publicKey.rawRepresentation)) + Wire.string(application.utf8)
            case .ecdsa(let key):
                return type + Wire.string("nistp256".utf8) + Wire.string(Array(key.publicKey.x963Representation))
                    + Wire.string(application.utf8)
            }
        }

        func sign(_ bytes: [UInt8]) throws -> [UInt8] {
            switch self {
            case .ed25519(let key): return Array(try key.signature(for: bytes))
            case .ecdsa(let key):
                let raw = Array(try key.signature(for: bytes).rawRepresentation)
                return number(raw.prefix(32)) + number(raw.suffix(32))
            }
        }

        private func number(_ bytes: some Collection<UInt8>) -> [UInt8] {
            let digits = Array(bytes.drop { $0 == 0 })
            return Wire.string((digits.first ?? 0) >= 0x80 ? [0] + digits : digits)
        }
    }

    /// What the token signs: the application's digest, flags, the counter, the message's digest.
    private func signature(
        _ token: Token, _ message: [UInt8], flags: UInt8 = 1, application: String = "ssh:", signedFor: String? = nil,
        claimedFlags: UInt8? = nil, counter: UInt32 = 7, claimedCounter: UInt32? = nil, certificate: [UInt8]? = nil
    ) throws -> [UInt8] {
        let namespace = SSHSignature.bundleNamespace
        let inner = try SSHSignature.signedData(message, namespace: namespace, hash: "sha512")
        let signed =
            SHA256.hash(data: Array((signedFor ?? application).utf8)) + [flags] + Wire.uint32(counter)
            + SHA256.hash(data: inner)
        let value =
            Wire.string(token.type.utf8) + Wire.string(try token.sign(signed)) + [claimedFlags ?? flags]
            + Wire.uint32(claimedCounter ?? counter)
        let blob =
            Array("SSHSIG".utf8) + Wire.uint32(1) + Wire.string(certificate ?? token.blob(application))
            + Wire.string(namespace.utf8) + Wire.string([]) + Wire.string("sha512".utf8) + Wire.string(value)
        return Armor.encode(blob)
    }

    private static let tokens: [Token] = [.ed25519(.init()), .ecdsa(.init())]

    private func rules(_ token: Token, _ text: [UInt8], _ bundle: Bundle) throws -> [String] {
        let line = "alice \(token.type) \(Base64.encode(token.blob("ssh:"))) a token"
        return try Trust(line).rules(try Samples.sealed(bundle, ["alice": text]))
    }

    @Test func aTouchedTokensSignatureCounts() throws {
        let bundle = try Samples.bundle()
        for token in Self.tokens {
            #expect(try rules(token, try signature(token, bundle.manifestBytes), bundle) == [])
            #expect(try rules(token, try signature(token, bundle.manifestBytes, flags: 5), bundle) == [])
        }
    }

    @Test func anUntouchedTokensSignatureDoesNot() throws {
        let bundle = try Samples.bundle()
        for token in Self.tokens {
            for flags in [0, 4] as [UInt8] {
                let text = try signature(token, bundle.manifestBytes, flags: flags)
                #expect(try rules(token, text, bundle) == ["untrusted-signature"])
            }
        }
    }

    @Test func flagsCounterAndApplicationAreSigned() throws {
        let bundle = try Samples.bundle()
        let message = bundle.manifestBytes
        for token in Self.tokens {
            let forged = [
                try signature(token, message, flags: 0, claimedFlags: 1),
                try signature(token, message, claimedCounter: 8),
                try signature(token, message, signedFor: "ssh:other"),
            ]
            for text in forged { #expect(try rules(token, text, bundle) == ["untrusted-signature"]) }
            // Another application is another key.
            let other = try signature(token, message, application: "ssh:other")
            #expect(try rules(token, other, bundle) == ["policy-unmet"])
        }
    }

    @Test func certificatesOfTokensMayAskForTheOwnerToBeVerified() throws {
        let bundle = try Samples.bundle()
        for token in Self.tokens {
            try withKeyRing { ring in
                try ring.make("ca")
                try writeText("\(token.type) \(Base64.encode(token.blob("ssh:"))) token\n", to: ring.path("token.pub"))
                for (options, flags, expected) in [
                    ([], 1, []), (["-O", "verify-required"], 5, []),
                    (["-O", "verify-required"], 1, ["policy-unmet"]), ([], 0, ["untrusted-signature"]),
                ] as [([String], UInt8, [String])] {
                    let arguments = ["-q", "-s", ring.path("ca"), "-I", "token", "-n", "alice"] + options
                    try runOrThrow("ssh-keygen", arguments + [ring.path("token.pub")])
                    let line = readText(ring.path("token-cert.pub")).split(separator: " ")
                    let blob = try #require(Base64.decode(line.dropFirst().prefix(1).joined().utf8))
                    let text = try signature(token, bundle.manifestBytes, flags: flags, certificate: blob)
                    let trust = try Trust("alice cert-authority \(ring.publicLine("ca"))")
                    #expect(trust.rules(try Samples.sealed(bundle, ["alice": text])) == expected, "\(options) \(flags)")
                }
            }
        }
    }
}
