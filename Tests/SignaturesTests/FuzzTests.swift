import PatchFormat
import TestSupport
import Testing

@testable import Signatures

/// Bytes bent at random: every parser answers, and none crashes.
@Suite struct FuzzTests {
    /// Flips, deletes, doubles and overwrites a few bytes.
    private func bent(_ bytes: [UInt8], _ random: inout SplitMix) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[at] = [0, 0x7f, 0x80, 0xff, 0x22, 0x2c].randomElement(using: &random) ?? 0
            case 2: bytes.remove(at: at)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
            case 4: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...40, using: &random)))
            default: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 20)], at: at)
            }
        }
        return bytes
    }

    @Test func parsersSurvive() throws {
        try withKeyRing { ring in
            for name in ["ca", "alice"] { try ring.make(name) }
            try ring.certify("alice", by: "ca", "-I", "i", "-n", "alice,bob", "-z", "3", "-O", "verify-required")
            try writeText("serial: 1-40\nserial: 90\nid: x\nsha1: \(ring.publicLine("alice"))\n", to: ring.path("spec"))
            try ring.keygen("-q", "-k", "-f", ring.path("krl"), "-s", ring.path("ca.pub"), ring.path("spec"))
            let plain = try ring.sign([1], "alice")
            let certified = try ring.sign([1], "alice-cert.pub")
            let signers = Array(
                """
                # all of them
                alice,"b" namespaces="a,b*",valid-after="20260101Z" \(ring.publicLine("alice"))
                *@x cert-authority \(ring.publicLine("ca"))
                """.utf8)
            let policy = Array("require 2 g\ngroup g a,b,c\nallow-unsigned no\nlongest-age 90d\n".utf8)
            var random = SplitMix(state: 0x11ce)
            var counts: [String: Int] = [:]
            func attempt(_ title: String, _ seed: [UInt8], _ parse: ([UInt8]) throws -> Void) {
                for _ in 0..<5_000 {
                    let bytes = bent(seed, &random)
                    // What was bent back says nothing.
                    if bytes == seed { continue }
                    let isRefused = (try? parse(bytes)) == nil
                    counts["\(title) \(isRefused ? "refused" : "read")", default: 0] += 1
                }
            }
            attempt("armor", plain) { _ = try SSHSignature(armored: $0) }
            attempt("signature", try Armor.decode(plain)) { try SSHSignature(blob: $0).check([1]) }
            attempt("certificate", try Armor.decode(certified)) { try SSHSignature(blob: $0).check([1]) }
            attempt("signers", signers) { _ = try AllowedSigners($0, name: "s") }
            attempt("policy", policy) { _ = try Policy($0, name: "p") }
            attempt("krl", readBytes(ring.path("krl"))) { _ = try RevocationList($0) }
            print("fuzz: \(counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
            #expect(counts.values.reduce(0, +) > 29_000)
            // No bent signature holds.
            #expect(counts["signature read"] == nil && counts["certificate read"] == nil)
        }
    }
}
