import PatchFormat
import TestSupport
import Testing

@testable import Signatures

/// Lists that the real `ssh-keygen -k` makes, and lists of keys and bundles.
@Suite struct RevocationTests {
    /// Revokes by a specification in ssh-keygen's language, and tells whether alice's certificate still counts.
    private func isAccepted(_ specification: (KeyRing) -> String, wholeKey: Bool = false) throws -> Bool {
        var accepted = false
        try withKeyRing { ring in
            for name in ["ca", "alice", "bob"] { try ring.make(name) }
            try ring.certify("alice", by: "ca", "-I", "alice-1", "-n", "alice", "-z", "70")
            try writeText(specification(ring) + "\n", to: ring.path("spec"))
            try ring.keygen("-q", "-k", "-f", ring.path("krl"), "-s", ring.path("ca.pub"), ring.path("spec"))
            let bundle = try Samples.bundle()
            let sealed = try Samples.sealed(bundle, ["a": try ring.sign(bundle.manifestBytes, "alice-cert.pub")])
            let revoked = readBytes(ring.path("krl"))
            let trust = try Trust("alice cert-authority \(ring.publicLine("ca"))", revoked: revoked)
            let rules = trust.rules(sealed)
            accepted = rules.isEmpty
            #expect(accepted || rules == ["revoked", "policy-unmet"], "\(rules)")
            let theirs = try run("ssh-keygen", ["-Q", "-f", ring.path("krl"), ring.path("alice-cert.pub")]).status == 0
            #expect(theirs == accepted, "ssh-keygen -Q says \(theirs)")
        }
        return accepted
    }

    @Test func serialsAreRevoked() throws {
        #expect(try !isAccepted { _ in "serial: 70" })
        #expect(try isAccepted { _ in "serial: 71" })
    }

    @Test func rangesAndBitmapsAreRevoked() throws {
        #expect(try !isAccepted { _ in "serial: 60-900000" })
        #expect(try isAccepted { _ in "serial: 71-900000" })
        // Close to each other: ssh-keygen makes a bitmap.
        let dense = stride(from: 64, to: 200, by: 3).map { "serial: \($0)" }.joined(separator: "\n")
        #expect(try !isAccepted { _ in dense })
        #expect(try isAccepted { _ in dense.replacing("serial: 70\n", with: "") })
    }

    @Test func keyIDsAreRevoked() throws {
        #expect(try !isAccepted { _ in "id: alice-1" })
        #expect(try isAccepted { _ in "id: alice-2" })
    }

    @Test func keysAndDigestsAreRevoked() throws {
        #expect(try !isAccepted { "key: \($0.publicLine("alice"))" })
        #expect(try !isAccepted { "sha1: \($0.publicLine("alice"))" })
        #expect(try !isAccepted { "sha256: \($0.publicLine("alice"))" })
        #expect(try isAccepted { "key: \($0.publicLine("bob"))" })
        #expect(try !isAccepted { "key: \($0.publicLine("ca"))" })
    }

    @Test func textListsRevokeKeysAndBundles() throws {
        try withKeyRing { ring in
            for name in ["alice", "bob"] { try ring.make(name) }
            let bundle = try Samples.bundle()
            let sealed = try Samples.sealed(bundle, ["a": try ring.sign(bundle.manifestBytes, "alice")])
            func rules(_ list: String, allowUnsigned: Bool = false) throws -> [String] {
                try Trust("alice \(ring.publicLine("alice"))", revoked: Array(list.utf8))
                    .rules(sealed, allowUnsigned: allowUnsigned)
            }
            #expect(try rules("# none\n\n") == [])
            #expect(try rules(ring.publicLine("bob")) == [])
            #expect(try rules(ring.publicLine("alice")) == ["revoked", "policy-unmet"])
            #expect(try rules("bundle sha256:\(bundle.manifestDigest)  # has a fault") == ["revoked"])
            #expect(try rules("bundle sha256:\(bundle.manifestDigest)", allowUnsigned: true) == ["revoked"])
            #expect(try rules("bundle sha256:\(Digest.sha256([]))") == [])
        }
    }

    @Test(arguments: [
        "bundle", "bundle sha256:12", "bundle md5:00", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAA", "serial: 7",
        "bundle sha256:\(Digest.sha256([])) and more", "\u{1}",
    ])
    func whatIsNotUnderstoodIsRefused(_ line: String) {
        let rule = refusedRule {
            var list = Revocations()
            try list.add(Array("# first\n\(line)\n".utf8), name: "revoked")
        }
        #expect(rule == "untrusted-configuration")
    }

    @Test func damagedListsAreRefused() throws {
        try withKeyRing { ring in
            for name in ["ca", "alice"] { try ring.make(name) }
            try writeText("serial: 5\nid: x\nsha256: \(ring.publicLine("alice"))\n", to: ring.path("spec"))
            try ring.keygen("-q", "-k", "-f", ring.path("krl"), "-s", ring.path("ca.pub"), ring.path("spec"))
            let bytes = readBytes(ring.path("krl"))
            let header = 8 + 4 + 8 + 8 + 8 + 4 + 4
            for length in RevocationList.magic.count..<bytes.count where length != header {
                let rule = refusedRule { try addList(Array(bytes.prefix(length))) }
                // Cut between two sections, what is left is a list.
                #expect(rule == "untrusted-configuration" || Self.isWhole(bytes.prefix(length)), "\(length)")
            }
            #expect(refusedRule { try addList(bytes + [9, 0, 0, 0, 0]) } == "untrusted-configuration")
            let critical = Wire.string([0x78]) + [1] + Wire.string([])
            #expect(refusedRule { try addList(bytes + [255] + Wire.string(critical)) } == "untrusted-configuration")
            let optional = Wire.string([0x78]) + [0] + Wire.string([])
            #expect(refusedRule { try addList(bytes + [255] + Wire.string(optional)) } == nil)
        }
    }

    private func addList(_ bytes: [UInt8]) throws {
        var list = Revocations()
        try list.add(bytes, name: "revoked")
    }

    private static func isWhole(_ bytes: some Collection<UInt8>) -> Bool {
        var rest = Array(bytes.dropFirst(8 + 4 + 8 + 8 + 8 + 4 + 4))[...]
        while rest.count >= 5 {
            let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(5 + length)
        }
        return rest.isEmpty
    }
}
