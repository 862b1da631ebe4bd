import PatchFormat
import TestSupport
import Testing

@testable import Documents

/// The shape of the documents; `Tests/documents` has them judged by the schemas that their authors publish.
@Suite struct DocumentTests {
    private func json(_ document: Document, _ change: (inout Manifest) -> Void = { _ in }) throws -> JSON {
        try JSON(try document.text(of: try sampleBundle(change)))
    }

    @Test func statementNamesBundleManifestAndModules() throws {
        let bundle = try sampleBundle()
        let statement = try json(.inToto)
        #expect(statement["_type"].text == "https://in-toto.io/Statement/v1")
        #expect(statement["predicateType"].text == "https://slsa.dev/provenance/v1")
        let subjects = statement["subject"].elements
        let digests = subjects.map { $0["digest"]["sha256"].text }
        #expect(
            subjects.map { $0["name"].text } == ["FIX-1.lpatch", "manifest.json", bundle.manifest.targets[0].module])
        #expect(digests == [try bundle.unsignedDigest(), bundle.manifestDigest, bundle.manifest.members[0].digest])
    }

    @Test func aSignatureDoesNotChangeTheDocuments() throws {
        let bundle = try sampleBundle()
        let signed = try Bundle.parse(try bundle.write(signatures: ["signatures/alice.sig": [1, 2, 3]]))
        for document in Document.allCases {
            #expect(try document.text(of: signed) == document.text(of: bundle))
        }
    }

    @Test func provenanceTellsInputsToolsAndDecisions() throws {
        let predicate = try json(.inToto)["predicate"]
        let definition = predicate["buildDefinition"]
        #expect(definition["buildType"].text == InTotoStatement.buildType)
        let parameters = definition["externalParameters"]
        #expect(parameters["cves"].elements.map(\.text) == ["CVE-2099-0001", "CVE-2099-0002"])
        #expect(parameters["diffs"].elements.map(\.text) == [Digest.sha256([3]), Digest.sha256([4])])
        #expect(parameters["decisions"][0]["subject"].text == "count (parse.o)")
        #expect(parameters["decisions"][0]["why"].text == "it starts \"anew\"")
        let dependencies = definition["resolvedDependencies"].elements
        #expect(
            dependencies.map { $0["name"].text } == ["source", "diff 1", "diff 2", "served", "manifest.json of FIX-0"])
        #expect(dependencies.map { $0["digest"]["sha256"].text?.count } == [64, 64, 64, 64, 64])
        let version = predicate["runDetails"]["builder"]["version"]
        #expect(version["patchbuild"].text == "9.8.7")
        #expect(version["compiler 2"].text == "GNU C++17 12.2.0 -O2")
        #expect(version["linker"].text == "GNU ld 2.40")
    }

    /// A bundle that says little of its origin still names its targets.
    @Test func bundlesOfOlderVersions() throws {
        let statement = try json(.inToto) { $0.provenance = Provenance() }
        let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].elements
        #expect(dependencies.map { $0["name"].text } == ["served", "manifest.json of FIX-0"])
        #expect(dependencies.first?["uri"].text?.hasPrefix("urn:gnu-build-id:0011") == true)
        #expect(dependencies.first?["digest"] == .null)
    }

    @Test func modulesHaveAPedigree() throws {
        let bill = try json(.cycloneDX)
        #expect(bill["bomFormat"].text == "CycloneDX" && bill["specVersion"].text == "1.6")
        #expect(bill["metadata"]["component"]["name"].text == "FIX-1.lpatch")
        let pedigree = bill["components"][0]["pedigree"]
        #expect(pedigree["ancestors"][0]["name"].text == "served")
        #expect(pedigree["ancestors"][0]["hashes"][0]["content"].text == Digest.sha256([5]))
        let issues = pedigree["patches"][0]["resolves"].elements
        #expect(issues.map { $0["id"].text } == ["CVE-2099-0001", "CVE-2099-0002"])
        #expect(issues.allSatisfy { $0["type"].text == "security" })
    }

    /// Whether a host is fixed can only be said of its processes' memory.
    @Test func noStatementOfVulnerability() throws {
        let text = try Document.cycloneDX.text(of: try sampleBundle())
        #expect(!text.contains("\"vulnerabilities\"") && !text.contains("\"analysis\""))
    }

    @Test func serialNumberFollowsFromTheManifest() throws {
        let first = try json(.cycloneDX)["serialNumber"].text
        let again = try json(.cycloneDX)["serialNumber"].text
        let other = try json(.cycloneDX) { $0.sequence = 7 }["serialNumber"].text
        #expect(first == again && first != other)
        let pattern = try Regex("urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}")
        #expect(try pattern.wholeMatch(in: first ?? "") != nil)
    }
}
