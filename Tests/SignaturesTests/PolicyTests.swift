import PatchFormat
import TestSupport
import Testing

@testable import Signatures

/// How principals are counted, and which texts are understood.
@Suite struct PolicyTests {
    /// Signs by keys, and tells by which rules a policy refuses.
    private func rules(
        signedBy keys: [String], _ signers: (KeyRing) -> String, policy: String?, allowUnsigned: Bool = false
    ) throws -> [String] {
        var rules: [String] = []
        try withKeyRing { ring in
            for name in ["a", "b", "c"] { try ring.make(name) }
            let bundle = try Samples.bundle()
            var signatures: [String: [UInt8]] = [:]
            for (index, key) in keys.enumerated() {
                signatures["\(index)\(key)"] = try ring.sign(bundle.manifestBytes, key)
            }
            let sealed = try Samples.sealed(bundle, signatures)
            rules = try Trust(signers(ring), policy: policy).rules(sealed, allowUnsigned: allowUnsigned)
        }
        return rules
    }

    private let two = "require 2 security\ngroup security alice,bob,carol\n"
    private let everyone: @Sendable (KeyRing) -> String = { ring in
        "alice \(ring.publicLine("a"))\nbob \(ring.publicLine("b"))\nmallory \(ring.publicLine("c"))"
    }

    @Test func distinctPrincipalsOfTheGroupCount() throws {
        #expect(try rules(signedBy: ["a", "b"], everyone, policy: two) == [])
        #expect(try rules(signedBy: ["a"], everyone, policy: two) == ["policy-unmet"])
        // Not in the group.
        #expect(try rules(signedBy: ["a", "c"], everyone, policy: two) == ["policy-unmet"])
        #expect(try rules(signedBy: ["a", "b", "c"], everyone, policy: two) == [])
    }

    @Test func theSameSignatureTwiceCountsOnce() throws {
        #expect(try rules(signedBy: ["a", "a"], everyone, policy: two) == ["policy-unmet"])
    }

    @Test func onePrincipalUnderTwoKeysCountsOnce() throws {
        let signers: (KeyRing) -> String = { "alice \($0.publicLine("a"))\nalice \($0.publicLine("b"))" }
        #expect(try rules(signedBy: ["a", "b"], signers, policy: two) == ["policy-unmet"])
        #expect(try rules(signedBy: ["a", "b"], signers, policy: "require 2 any") == ["policy-unmet"])
    }

    @Test func oneKeyUnderTwoPrincipalsCountsOnce() throws {
        let signers: (KeyRing) -> String = { "alice \($0.publicLine("a"))\nbob \($0.publicLine("a"))" }
        #expect(try rules(signedBy: ["a"], signers, policy: two) == ["policy-unmet"])
        #expect(try rules(signedBy: ["a"], { "alice,bob \($0.publicLine("a"))" }, policy: two) == ["policy-unmet"])
    }

    @Test func keysAreGivenToPrincipalsSoThatMostCount() throws {
        // The first key may be alice or bob; the second only alice: the first has to stand for bob.
        let signers: (KeyRing) -> String = { "alice,bob \($0.publicLine("a"))\nalice \($0.publicLine("b"))" }
        #expect(try rules(signedBy: ["a", "b"], signers, policy: two) == [])
        // A key under a pattern is still one signer, whoever of the group that is.
        #expect(try rules(signedBy: ["a"], { "* \($0.publicLine("a"))" }, policy: two) == ["policy-unmet"])
        let pattern: (KeyRing) -> String = { "* \($0.publicLine("a"))\nbob \($0.publicLine("b"))" }
        #expect(try rules(signedBy: ["a", "b"], pattern, policy: two) == [])
        // Without a group nobody knows whether the pattern means somebody else.
        #expect(try rules(signedBy: ["a", "b"], pattern, policy: "require 2 any") == ["policy-unmet"])
        #expect(try rules(signedBy: ["a"], { "* \($0.publicLine("a"))" }, policy: nil) == [])
    }

    @Test func allRequirementsMustBeMet() throws {
        let policy = "require 1 security\nrequire 1 release # both\ngroup security alice\ngroup release mallory\n"
        #expect(try rules(signedBy: ["a", "c"], everyone, policy: policy) == [])
        #expect(try rules(signedBy: ["a", "b"], everyone, policy: policy) == ["policy-unmet"])
        #expect(try rules(signedBy: ["b"], everyone, policy: policy) == ["policy-unmet", "policy-unmet"])
    }

    @Test func unsignedIsForThePolicyToPermit() throws {
        #expect(try rules(signedBy: [], everyone, policy: nil) == ["unsigned"])
        #expect(try rules(signedBy: [], everyone, policy: nil, allowUnsigned: true) == [])
        #expect(try rules(signedBy: [], everyone, policy: "allow-unsigned yes", allowUnsigned: true) == [])
        for policy in ["allow-unsigned no", "", two] {
            #expect(
                try rules(signedBy: [], everyone, policy: policy, allowUnsigned: true) == ["policy-unmet", "unsigned"])
        }
    }

    @Test(arguments: [
        "require", "require 1", "require 0 any", "require -1 any", "require 2 security", "require x any",
        "require 3 two\ngroup two a,b", "group any a", "group x a,,b", "group x a,*", "group x a,a", "group x",
        "allow-unsigned", "allow-unsigned maybe", "allow-rollback 1", "longest-age", "longest-age 90",
        "longest-age 0d", "longest-age 99999999999999999999d", "longest-age d", "longest-age 9y", "trust everyone",
        "require 1 any\nrequire 2 any", "group x a\ngroup x b", "allow-unsigned no\nallow-unsigned yes",
        "require 1 any extra",
    ])
    func whatIsNotUnderstoodIsRefused(_ text: String) {
        #expect(refusedRule { _ = try Policy(Array(text.utf8), name: "policy") } == "untrusted-configuration")
    }

    @Test(arguments: [
        "alice", "alice ssh-ed25519", "alice ssh-ed25519 !!!!", "alice unknown-option KEY", "alice namespaces=git KEY",
        "alice namespaces=\"git KEY", "alice namespaces=\"a\",namespaces=\"b\" KEY", "alice valid-before=\"soon\" KEY",
        "alice valid-before=\"20260230\" KEY", "alice valid-after=\"2026\" KEY", "alice cert-authority=yes KEY",
        "alice valid-after=\"20270101Z\",valid-before=\"20260101Z\" KEY", ",alice KEY", "!alice KEY",
        "alice cert-authority, KEY", "alice ecdsa-sha2-nistp384 AAAA", "alice restrict KEY", "a\"lice KEY",
    ])
    func signersThatAreNotUnderstoodAreRefused(_ line: String) throws {
        let key =
            "ssh-ed25519 "
            + Base64.encode(Wire.string("ssh-ed25519".utf8) + Wire.string([UInt8](repeating: 9, count: 32)))
        let good = "# who\nbob \(key)\n"
        #expect(refusedRule { _ = try AllowedSigners(Array(good.utf8), name: "signers") } == nil)
        do {
            _ = try AllowedSigners(Array((good + line.replacing("KEY", with: key)).utf8), name: "signers")
            Issue.record("accepted: \(line)")
        } catch {
            #expect("\(error)".contains("signers, line 3"), "\(error)")
        }
    }

    @Test func timesOfBothForms() {
        #expect(Times.seconds(rfc3339: "2026-01-31T12:00:00Z") == 1_769_860_800)
        #expect(Times.seconds(compact: "20260131120000Z") == 1_769_860_800)
        #expect(Times.seconds(compact: "202601311200Z") == 1_769_860_800)
        #expect(Times.seconds(compact: "20260131Z") == 1_769_817_600)
        #expect(Times.rfc3339(1_769_860_800) == "2026-01-31T12:00:00Z")
        for text in ["20260231Z", "2026-01-31", "20261301Z", "20260131250000Z", "0x260131Z", "", "Z"] {
            #expect(Times.seconds(compact: text) == nil, "\(text)")
        }
        for text in ["2026-02-30T00:00:00Z", "2026-01-31T12:00:00+", "2026-01-31 12:00:00Z", "1960-01-01T00:00:00Z"] {
            #expect(Times.seconds(rfc3339: text) == nil, "\(text)")
        }
    }

    @Test func expiryAndAge() throws {
        func rules(_ expires: String?, _ created: String?, policy: String) throws -> [String] {
            var manifest = Samples.manifest()
            (manifest.expires, manifest.created) = (expires, created)
            var trust = Trust(signersPath: "allowed_signers")
            trust.policy = try Policy(Array(policy.utf8), name: "policy")
            return trust.refusals(ofAge: manifest, at: 1_769_860_800).map(\.rule)
        }
        #expect(try rules(nil, nil, policy: "") == [])
        #expect(try rules("2026-01-31T12:00:01Z", nil, policy: "") == [])
        #expect(try rules("2026-01-31T11:59:59Z", nil, policy: "") == ["expired"])
        #expect(try rules("2026-99-99T11:59:59Z", nil, policy: "") == ["expired"])
        #expect(try rules(nil, "2025-12-01T00:00:00Z", policy: "longest-age 90d") == [])
        #expect(try rules(nil, "2025-10-01T00:00:00Z", policy: "longest-age 90d") == ["expired"])
        #expect(try rules(nil, nil, policy: "longest-age 90d") == ["expired"])
        #expect(try rules(nil, "2027-01-01T00:00:00Z", policy: "longest-age 90d") == ["expired"])
    }
}
