import Diagnostics
import Dispatch
import Synchronization
import TestSupport
import Testing

@testable import PatchFormat
@testable import Signatures

/// Nothing of a signed bundle can change unseen; the table that is printed says how much was tried.
@Suite struct EveryBitTests {
    /// Exactly what livepatch does: the archive, the signatures, then the rest.
    private func isAccepted(_ bytes: [UInt8], _ trust: Trust) -> Bool {
        guard let sealed = try? SealedBundle.split(bytes) else { return false }
        guard trust.judge(sealed, allowUnsigned: false, at: 1_790_000_000).accepted else { return false }
        guard let bundle = try? sealed.open() else { return false }
        return trust.refusals(ofAge: bundle.manifest, at: 1_790_000_000).isEmpty
    }

    private func expect(_ title: String, _ variants: [[UInt8]], _ trust: Trust) {
        expect(title, variants.count, trust) { variants[$0] }
    }

    /// Tries `count` variants on all processors.
    private func expect(_ title: String, _ count: Int, _ trust: Trust, _ variant: @Sendable (Int) -> [UInt8]) {
        let total = Mutex(0)
        let chunks = 32
        DispatchQueue.concurrentPerform(iterations: chunks) { chunk in
            let found = stride(from: chunk, to: count, by: chunks).count { isAccepted(variant($0), trust) }
            total.withLock { $0 += found }
        }
        let accepted = total.withLock { $0 }
        let padded = title + String(repeating: " ", count: max(0, 46 - title.count))
        print("every bit: \(padded) \(count) tried, \(accepted) accepted")
        #expect(count > 0 && accepted == 0, "\(title)")
    }

    @Test func nothingCanChangeUnseen() throws {
        try withKeyRing { ring in
            for name in ["alice", "bob", "ca"] { try ring.make(name, type: name == "bob" ? "ecdsa" : "ed25519") }
            let bundle = try Samples.bundle(Samples.small())
            let alice = try ring.sign(bundle.manifestBytes, "alice")
            let bob = try ring.sign(bundle.manifestBytes, "bob")
            let trust = try Trust("alice \(ring.publicLine("alice"))\nbob \(ring.publicLine("bob"))")
            let one = try signed(bundle, ["a": alice])
            #expect(isAccepted(one, trust))
            expect("single bits", one.count * 8, trust) { flipped($0, of: one) }
            expect("truncated", one.count, trust) { Array(one.prefix($0)) }
            expect("appended", appended(to: one), trust)
            // One signature would be enough; the second must hold nevertheless.
            let two = try signed(bundle, ["a": alice, "b": bob])
            #expect(isAccepted(two, trust))
            let second = one.count - 1024
            expect("single bits of a signature not asked for", (two.count - one.count) * 8, trust) {
                flipped(second * 8 + $0, of: two)
            }
            expect("truncated in a signature not asked for", two.count - second, trust) {
                Array(two.prefix(second + $0))
            }
            try expectSwapped(ring, bundle, alice, trust)
        }
    }

    private func signed(_ bundle: Bundle, _ signatures: [String: [UInt8]]) throws -> [UInt8] {
        let named = signatures.map { ("signatures/\($0.key).sig", $0.value) }
        return try bundle.write(signatures: Dictionary(uniqueKeysWithValues: named))
    }

    private func flipped(_ bit: Int, of bytes: [UInt8]) -> [UInt8] {
        var changed = bytes
        changed[bit / 8] ^= 1 << UInt8(bit % 8)
        return changed
    }

    private func appended(to bytes: [UInt8]) -> [[UInt8]] {
        let zeros = (1...1100).map { bytes + [UInt8](repeating: 0, count: $0) }
        return zeros + (0...255).map { bytes + [UInt8($0)] } + [bytes + bytes]
    }

    /// Members of other bundles, doubled members, signatures for something else.
    private func expectSwapped(_ ring: KeyRing, _ bundle: Bundle, _ alice: [UInt8], _ trust: Trust) throws {
        let members = try Ustar.read(try signed(bundle, ["a": alice]))
        let other = try Samples.bundle(Samples.small(id: "FIX-2"))
        let manifest = try #require(members.first)
        let foreign = ArchiveMember(name: manifest.name, bytes: other.manifestBytes)
        expect(
            "two manifests",
            [
                Ustar.write([manifest] + members), Ustar.write(members + [manifest]), Ustar.write([foreign] + members),
                Ustar.write(members + [foreign]), Ustar.write(members.prefix(1) + [foreign] + members.dropFirst()),
            ], trust)
        expect("another bundle's manifest", [Ustar.write([foreign] + members.dropFirst())], trust)
        expect("a signature of another bundle", [try signed(other, ["a": alice])], trust)
        let git = try ring.sign(bundle.manifestBytes, "alice", namespace: "git")
        let file = try ring.sign(bundle.manifestBytes, "alice", namespace: "file")
        expect(
            "a signature of another namespace", [try signed(bundle, ["a": git]), try signed(bundle, ["a": file])], trust
        )
        expect("no signature", [try signed(bundle, [:])], trust)
        let stranger = try ring.sign(bundle.manifestBytes, "ca")
        expect("a signer nobody knows", [try signed(bundle, ["a": stranger])], trust)
        let line = ring.publicLine("alice")
        let good = try signed(bundle, ["a": alice])
        expect("an expired key", [good], try Trust("alice valid-before=\"20260101Z\" \(line)"))
        expect("a key that is not valid yet", [good], try Trust("alice valid-after=\"20290101Z\" \(line)"))
        expect("a revoked key", [good], try Trust("alice \(line)", revoked: Array(line.utf8)))
        try ring.keygen("-q", "-k", "-f", ring.path("krl"), ring.path("alice.pub"))
        expect(
            "a key revoked by ssh-keygen -k", [good], try Trust("alice \(line)", revoked: readBytes(ring.path("krl"))))
        let withdrawn = "bundle sha256:\(bundle.manifestDigest)"
        expect("a withdrawn bundle", [good], try Trust("alice \(line)", revoked: Array(withdrawn.utf8)))
        expect(
            "a signer who is not in the group", [good], try Trust("alice \(line)", policy: "require 1 g\ngroup g bob"))
        let twice = try signed(bundle, ["a": alice, "b": try ring.sign(bundle.manifestBytes, "bob")])
        let both = "alice \(line)\nalice \(ring.publicLine("bob"))"
        expect("the same signer under two keys", [twice], try Trust(both, policy: "require 2 g\ngroup g alice,bob"))
    }
}
