import Testing

@testable import PatchFormat

@Suite struct BundleTests {
    private func refusal(_ bytes: [UInt8]) -> String? { Samples.rule { _ = try Bundle.parse(bytes) } }

    @Test func roundTripKeepsEverything() throws {
        let bundle = try Bundle.parse(try Samples.bundle())
        #expect(bundle.manifest.targets == Samples.manifest().targets)
        #expect(bundle.modules == Samples.modules())
        #expect(bundle.manifestDigest == Digest.sha256(bundle.manifestBytes))
        #expect(bundle.manifest.members.first?.digest == Digest.sha256(Samples.module))
    }

    @Test func sameInputsGiveSameBytes() throws {
        #expect(try Samples.bundle() == Samples.bundle())
    }

    @Test func signaturesLeaveTheManifestAsItIs() throws {
        let bundle = try Bundle.parse(try Samples.bundle())
        let bytes = try bundle.write(signatures: ["signatures/bob.sig": [1], "signatures/alice.sig": [2, 3]])
        let signed = try Bundle.parse(bytes)
        #expect(signed.manifestBytes == bundle.manifestBytes)
        #expect(signed.signatures == ["signatures/bob.sig": [1], "signatures/alice.sig": [2, 3]])
        #expect(try Ustar.read(bytes).map(\.name).suffix(2) == ["signatures/alice.sig", "signatures/bob.sig"])
    }

    @Test func whatAReviewerSeesIsListedAndChecked() throws {
        let bytes = try Bundle.write(
            manifest: Samples.manifest(), modules: Samples.modules(), review: Array(#"{"diffs":[]}"#.utf8))
        let bundle = try Bundle.parse(bytes)
        #expect(bundle.review == Array(#"{"diffs":[]}"#.utf8))
        #expect(bundle.manifest.members.map(\.name) == bundle.manifest.targets.map(\.module) + ["review.json"])
        let signed = try Bundle.parse(try bundle.write(signatures: ["signatures/bob.sig": [1]]))
        #expect(signed.review == bundle.review)
        let members = try Ustar.read(bytes)
        #expect(refusal(Ustar.write(members.dropLast())) == "bad-bundle")
        let other = ArchiveMember(name: "review.json", bytes: Array(#"{"diffs":[1]}"#.utf8))
        #expect(refusal(Ustar.write(members.dropLast() + [other])) == "bad-bundle")
        #expect(refusal(Ustar.write(try Samples.members() + [other])) == "bad-bundle")
    }

    @Test func everyTruncationIsRefused() throws {
        let bytes = try Samples.bundle()
        for length in stride(from: 0, to: bytes.count, by: 512) {
            #expect(refusal(Array(bytes.prefix(length))) == "bad-bundle")
        }
        #expect(refusal(Array(bytes.dropLast())) == "bad-bundle")
    }

    @Test func everyFlippedByteIsRefusedOrInTheManifestsText() throws {
        let bytes = try Samples.bundle()
        let manifestEnd = 512 + (try Bundle.parse(bytes)).manifestBytes.count
        for offset in bytes.indices where !(512..<manifestEnd).contains(offset) {
            var changed = bytes
            changed[offset] ^= 0x01
            #expect(refusal(changed) == "bad-bundle", "byte \(offset)")
        }
    }

    @Test func flippedBytesOfTheManifestNeverCrash() throws {
        let bytes = try Samples.bundle()
        let digest = try Bundle.parse(bytes).manifestDigest
        for offset in stride(from: 512, to: 512 + 2400, by: 3) {
            var changed = bytes
            changed[offset] ^= 0x10
            let parsed = try? Bundle.parse(changed)
            #expect(parsed?.manifestDigest != digest)
        }
    }

    @Test func trailingBytesAreRefused() throws {
        let bytes = try Samples.bundle()
        #expect(refusal(bytes + [0]) == "bad-bundle")
        #expect(refusal(bytes + Array(repeating: 0, count: 512)) == "bad-bundle")
        #expect(refusal(bytes + bytes) == "bad-bundle")
    }

    @Test("trap two-manifests: a member that occurs twice is refused")
    func twoManifests() throws {
        let members = try Samples.members()
        #expect(refusal(Ustar.write([members[0], members[0], members[1]])) == "bad-bundle")
        #expect(refusal(Ustar.write(members + [members[0]])) == "bad-bundle")
        #expect(refusal(Ustar.write(members + [members[1]])) == "bad-bundle")
    }

    @Test("trap two-manifests: a key that stands twice is refused, however it is spelled")
    func duplicateKeys() throws {
        let members = try Samples.members()
        let text = String(decoding: members[0].bytes, as: UTF8.self)
        for key in ["\"id\"", "\"\\u0069d\""] {
            let doubled = "{\(key) : \"OTHER\"," + text.dropFirst()
            let archive = Ustar.write([ArchiveMember(name: "manifest.json", bytes: Array(doubled.utf8)), members[1]])
            let error = #expect(throws: (any Error).self) { try Bundle.parse(archive) }
            #expect("\(error!)".contains("stands twice"))
        }
    }

    @Test func membersOutOfOrderAreRefused() throws {
        let members = try Samples.members()
        #expect(refusal(Ustar.write(members.reversed())) == "bad-bundle")
        #expect(refusal(Ustar.write([members[0]])) == "bad-bundle")
        #expect(refusal(Ustar.write([])) == "bad-bundle")
    }

    @Test(arguments: [
        "signatures/../../etc/passwd.sig", "../evil.sig", "/etc/cron.d/x", "signatures/.sig", "signatures/.x.sig",
        "signatures/a/b.sig", "extra", "modules/../x.so", "./manifest.json", "signatures/x.sig/",
    ])
    func namesThatHaveNoPlaceAreRefused(name: String) throws {
        let extra = ArchiveMember(name: name, bytes: [1])
        #expect(refusal(Ustar.write(try Samples.members() + [extra])) == "bad-bundle")
    }

    @Test func unsortedSignaturesAreRefused() throws {
        let signatures = ["signatures/b.sig", "signatures/a.sig"].map { ArchiveMember(name: $0, bytes: [1]) }
        #expect(refusal(Ustar.write(try Samples.members() + signatures)) == "bad-bundle")
    }

    /// With a checksum that agrees, so that the field itself is what is refused.
    @Test(arguments: [
        (156, "2"), (156, "5"), (156, "1"), (156, "x"), (157, "/etc/passwd"), (100, "0000755"), (108, "0000001"),
        (136, "00000000001"), (265, "root"), (345, "prefix"), (124, "77777777777"), (124, "-0000000001"),
    ])
    func otherHeadersAreRefused(offset: Int, text: String) throws {
        var bytes = try Samples.bundle()
        for (index, byte) in text.utf8.enumerated() { bytes[offset + index] = byte }
        for index in 148..<156 { bytes[index] = 0x20 }
        let sum = bytes[..<512].reduce(0) { $0 + Int($1) }
        let field = String(sum, radix: 8)
        let digits = Array((String(repeating: "0", count: 6 - field.count) + field).utf8) + [0, 0x20]
        for (index, byte) in digits.enumerated() { bytes[148 + index] = byte }
        #expect(refusal(bytes) == "bad-bundle")
    }

    @Test func anUnknownMajorVersionIsRefusedAsSuch() throws {
        for (version, rule) in [("2.0", "format-version"), ("1", "format-version"), ("", "format-version")] {
            var manifest = Samples.manifest()
            manifest.formatVersion = version
            let bytes = try manifest.encoded()
            #expect(Samples.rule { _ = try Manifest.decode(bytes) } == rule)
        }
        let unlike = Array("{\"formatVersion\": \"7.1\", \"everything\": \"else\"}".utf8)
        #expect(Samples.rule { _ = try Manifest.decode(unlike) } == "format-version")
    }

    @Test func errorsNameTheOffset() throws {
        let bytes = try Samples.bundle()
        let error = #expect(throws: (any Error).self) { try Bundle.parse(Array(bytes.dropLast(1024))) }
        #expect("\(error!)".contains("at byte \(bytes.count - 1024)"))
    }

    @Test func onlyRegularFilesAreRead() {
        #expect(Samples.rule { _ = try Bundle.read(path: "/dev/zero") } == "bad-bundle")
        #expect(Samples.rule { _ = try Bundle.read(path: "/") } == "bad-bundle")
        #expect(Samples.rule { _ = try Bundle.read(path: "/nonexistent") } == "bad-bundle")
    }
}
