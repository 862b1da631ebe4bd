import Diagnostics
import PatchFormat
import Testing

@testable import Reproducing

/// What is said of two bundles that are not the same; those of real builds are compared in `ReproductionTests`.
@Suite struct BundleDifferenceTests {
    private static let buildID = "00112233445566778899aabbccddeeff00112233"

    private func bundle(
        module: [UInt8] = Array(repeating: 0x5a, count: 700), review: [UInt8]? = nil,
        _ change: (inout Manifest) -> Void = { _ in }
    ) throws -> Bundle {
        let layout = ModuleLayout(switchAddress: 0x3008, bindingTable: 0x2000, bindingCount: 0, memorySize: 0x4000)
        let target = ManifestTarget(
            file: "served", buildID: Self.buildID, functions: [], bindings: [], data: [], layout: layout)
        var manifest = Manifest(id: "FIX-1", targets: [target])
        manifest.provenance.compilers = ["GNU C17 12.2.0"]
        manifest.provenance.linker = "GNU ld 2.40"
        change(&manifest)
        let modules = ["modules/\(Self.buildID).so": module]
        return try Bundle.parse(try Bundle.write(manifest: manifest, modules: modules, review: review))
    }

    private func said(_ one: Bundle, _ other: Bundle) throws -> [Refusal] {
        try differences(one, rebuilt: other, path: "x.lpatch")
    }

    @Test func signaturesAreLeftAside() throws {
        let one = try bundle()
        let signed = try Bundle.parse(try one.write(signatures: ["signatures/alice.sig": [1]]))
        #expect(try said(signed, one).isEmpty)
    }

    /// Whoever takes the reviewers' member out of a bundle must not pass.
    @Test func aMissingMemberIsNamed() throws {
        let refusals = try said(try bundle(), try bundle(review: Array("{}".utf8)))
        #expect(refusals.map(\.subject) == ["x.lpatch: its members"])
        #expect(refusals.first?.why.contains("the rebuild modules/\(Self.buildID).so, review.json") == true)
    }

    @Test func whatReviewersSeeIsCompared() throws {
        let one = try bundle(review: Array(#"{"diffs": [{"name": "a.diff"}]}"#.utf8))
        let other = try bundle(review: Array(#"{"diffs": [{"name": "b.diff"}]}"#.utf8))
        let refusals = try said(one, other)
        #expect(refusals.map(\.subject) == ["x.lpatch, review.json"])
        #expect(refusals.first?.why.hasPrefix("diffs[0 a.diff].name: the bundle has \"a.diff\"") == true)
    }

    /// All inputs that differ come first; what follows from them is no reason for suspicion.
    @Test func everyInputThatDiffersIsNamedFirst() throws {
        let other = try bundle(module: Array(repeating: 0x5b, count: 700)) {
            $0.provenance.compilers = ["GNU C17 13.1"]
            $0.provenance.linker = "LLD 14"
        }
        let refusals = try said(try bundle(), other)
        let subjects = refusals.map(\.subject)
        #expect(subjects.count == 3)
        #expect(subjects.first == "x.lpatch, manifest.json: provenance.compilers[0]")
        #expect(subjects.dropFirst().first == "x.lpatch, manifest.json: provenance.linker")
        #expect(subjects.last?.hasSuffix("for served") == true)
        #expect(refusals.last?.remedy.contains("follow") == true)
        #expect(refusals.allSatisfy { $0.rule == Rule.notReproduced.rawValue })
    }

    @Test func aModuleAloneIsReasonForSuspicion() throws {
        let refusals = try said(try bundle(), try bundle(module: Array(repeating: 0x5a, count: 701)))
        #expect(refusals.count == 1)
        #expect(refusals.first?.why.contains("700 bytes in the bundle, 701 in the rebuild") == true)
        #expect(refusals.first?.remedy.contains("don't sign") == true)
    }

    /// The same values in another spelling are other bytes, under another signature.
    @Test func spellingCounts() throws {
        let one = try bundle()
        let spelled = Array(String(decoding: one.manifestBytes, as: UTF8.self).replacing("\n  ", with: "\n   ").utf8)
        let other = try Bundle.parse(try Bundle.write(manifestBytes: spelled, modules: one.modules))
        let refusals = try said(one, other)
        #expect(refusals.count == 1 && refusals.first?.why.contains("written otherwise") == true)
    }
}
