import Diagnostics
import PatchFormat
import TestSupport
import Testing

@testable import Signatures

/// What the real ssh-keygen makes, and what it says to what we have.
@Suite struct KeygenTests {
    @Test(arguments: ["ed25519", "ecdsa"])
    func whatKeygenSignsIsAccepted(_ type: String) throws {
        try withKeyRing { ring in
            try ring.make("alice", type: type)
            let bundle = try Samples.bundle()
            let sealed = try Samples.sealed(bundle, ["alice": try ring.sign(bundle.manifestBytes, "alice")])
            let trust = try Trust("alice@example.org \(ring.publicLine("alice"))")
            let report = trust.judge(sealed, allowUnsigned: false, at: Times.now())
            #expect(report.accepted, "\(report.refused)")
            #expect(report.signatures.map(\.principals) == [["alice@example.org"]])
            let shown = try ring.keygen("-l", "-f", ring.path("alice.pub")).stdout
            #expect(shown.contains(report.signatures.first?.fingerprint ?? "none"), "\(shown)")
        }
    }

    @Test func bothHashesAreAccepted() throws {
        try withKeyRing { ring in
            try ring.make("alice")
            let bundle = try Samples.bundle()
            for hash in ["sha256", "sha512"] {
                try writeBytes(bundle.manifestBytes, to: ring.path(hash))
                try ring.keygen(
                    "-q", "-Y", "sign", "-O", "hashalg=\(hash)", "-n", "livepatch-bundle", "-f", ring.path("alice"),
                    ring.path(hash))
                let sealed = try Samples.sealed(bundle, ["a": readBytes(ring.path(hash + ".sig"))])
                #expect(try Trust("alice \(ring.publicLine("alice"))").rules(sealed) == [], "\(hash)")
            }
        }
    }

    @Test func ourArmorIsWhatKeygenWrites() throws {
        try withKeyRing { ring in
            try ring.make("alice")
            let text = try ring.sign([1, 2, 3], "alice")
            #expect(Armor.encode(try Armor.decode(text)) == text)
        }
    }

    @Test func keysOfOtherKindsAreRefused() throws {
        try withKeyRing { ring in
            try ring.make("old", type: "rsa")
            let bundle = try Samples.bundle()
            let sealed = try Samples.sealed(bundle, ["old": try ring.sign(bundle.manifestBytes, "old")])
            try ring.make("alice")
            #expect(try Trust("alice \(ring.publicLine("alice"))").rules(sealed) == ["untrusted-signature"])
            #expect(refusedRule { _ = try Trust("old \(ring.publicLine("old"))") } == "untrusted-configuration")
        }
    }

    @Test func certificatesCountUnderTheirPrincipals() throws {
        try withKeyRing { ring in
            try ring.make("ca", type: "ecdsa")
            try ring.make("alice")
            try ring.certify("alice", by: "ca", "-I", "alice-1", "-n", "alice@example.org,root", "-z", "7")
            let bundle = try Samples.bundle()
            let text = try ring.sign(bundle.manifestBytes, "alice-cert.pub")
            let sealed = try Samples.sealed(bundle, ["alice": text])
            let authority = "*@example.org cert-authority,namespaces=\"livepatch-*\" \(ring.publicLine("ca"))"
            let report = try Trust(authority).judge(sealed, allowUnsigned: false, at: Times.now())
            #expect(report.accepted, "\(report.refused)")
            #expect(report.signatures.first?.principals == ["alice@example.org"])
            #expect(report.signatures.first?.certificate?.contains("\"alice-1\" serial 7") == true)
            // Neither the key alone, nor the authority's as a plain key, nor another name.
            for line in ["alice \(ring.publicLine("alice"))", "a \(ring.publicLine("ca"))"] {
                #expect(try Trust(line).rules(sealed) == ["policy-unmet"], "\(line)")
            }
            #expect(
                try Trust("*@elsewhere.org cert-authority \(ring.publicLine("ca"))").rules(sealed) == ["policy-unmet"])
        }
    }

    @Test(arguments: [
        (["-n", "alice", "-V", "20200101:20200201"], "has expired"),
        (["-n", "alice", "-V", "20990101:20990201"], "not valid yet"),
        (["-n", "alice", "-h"], "one of a host"), ([], "names no principal"),
        (["-n", "alice", "-O", "force-command=/bin/true"], "restricted by force-command"),
    ])
    func certificatesThatDoNotCount(_ options: [String], _ why: String) throws {
        try withKeyRing { ring in
            try ring.make("ca")
            try ring.make("alice")
            let arguments = ["-q", "-s", ring.path("ca"), "-I", "id"] + options + [ring.path("alice.pub")]
            #expect(try run("ssh-keygen", arguments).status == 0)
            let bundle = try Samples.bundle()
            let text = try ring.sign(bundle.manifestBytes, "alice-cert.pub")
            let sealed = try Samples.sealed(bundle, ["a": text])
            let trust = try Trust("* cert-authority \(ring.publicLine("ca"))")
            let report = trust.judge(sealed, allowUnsigned: false, at: Times.now())
            #expect(report.refused.map(\.rule) == ["policy-unmet"])
            // ssh-keygen looks for principals first.
            let reason = report.signatures.first?.why ?? ""
            #expect(
                reason.contains(why) || (why.contains("no principal") && reason.contains("none of the")), "\(reason)")
        }
    }

    /// What ssh-keygen's own verifier says of the same cases: printed, and equal to ours.
    @Test func keygenAndWeAgree() throws {
        try withKeyRing { ring in
            for name in ["alice", "bob", "ca"] { try ring.make(name) }
            try ring.certify("bob", by: "ca", "-I", "bob-1", "-n", "bob", "-z", "9")
            let bundle = try Samples.bundle()
            try writeBytes(bundle.manifestBytes, to: ring.path("manifest.json"))
            let alice = try ring.sign(bundle.manifestBytes, "alice")
            let certified = try ring.sign(bundle.manifestBytes, "bob-cert.pub")
            let other = try ring.sign(bundle.manifestBytes + [0x0a], "alice")
            let (a, ca) = (ring.publicLine("alice"), ring.publicLine("ca"))
            let cases: [(String, String, String, [UInt8])] = [
                ("listed", "alice \(a)", "alice", alice),
                ("comment and spaces", "# all\n\n  alice\t\(a) a comment\n", "alice", alice),
                ("quoted principals", "\"alice,x\" \(a)", "alice", alice),
                ("pattern", "al?c* \(a)", "alice", alice),
                ("negated pattern", "!alice,* \(a)", "alice", alice),
                ("namespace", "alice namespaces=\"livepatch-bundle,git\" \(a)", "alice", alice),
                ("other namespace", "alice namespaces=\"git\" \(a)", "alice", alice),
                ("valid", "alice valid-after=\"20200101\",valid-before=\"20900101Z\" \(a)", "alice", alice),
                ("valid to the minute", "alice valid-before=\"209001011230\" \(a)", "alice", alice),
                ("expired", "alice valid-before=\"20200101Z\" \(a)", "alice", alice),
                ("expired, local time", "alice valid-before=\"20200101123000\" \(a)", "alice", alice),
                ("not yet valid", "alice valid-after=\"20900101\" \(a)", "alice", alice),
                ("second line", "bob \(ring.publicLine("bob"))\nalice \(a)", "alice", alice),
                ("other key", "alice \(ring.publicLine("bob"))", "alice", alice),
                ("other bytes", "alice \(a)", "alice", other),
                ("certificate", "bob cert-authority \(ca)", "bob", certified),
                ("certificate, pattern", "b* cert-authority \(ca)", "bob", certified),
                ("certificate, no such principal", "alice cert-authority \(ca)", "bob", certified),
                ("certificate without cert-authority", "bob \(ca)", "bob", certified),
                ("plain key of a certificate", "bob \(ring.publicLine("bob"))", "bob", certified),
            ]
            for (title, signers, name, signature) in cases {
                let trust = try Trust(signers, policy: "require 1 signers\ngroup signers \(name)")
                let ours = trust.rules(try Samples.sealed(bundle, ["s": signature])).isEmpty
                let theirs = try verdict(of: ring, signers, name, signature)
                print(
                    "ssh-keygen -Y verify, \(title): \(theirs ? "accepts" : "refuses"), livepatch: \(ours ? "accepts" : "refuses")"
                )
                #expect(ours == theirs, "\(title)")
            }
        }
    }

    private func verdict(of ring: KeyRing, _ signers: String, _ name: String, _ signature: [UInt8]) throws -> Bool {
        try writeText(signers + "\n", to: ring.path("allowed"))
        try writeBytes(signature, to: ring.path("signature"))
        let command =
            "ssh-keygen -Y verify -n livepatch-bundle -f allowed -I \(name) -s signature < manifest.json"
        return try run("sh", ["-c", command], in: ring.directory).status == 0
    }
}
