import Diagnostics
import FoundationEssentials
import Packaging
import PatchFormat
import Synchronization
import TestSupport
import Testing

/// What was said while a package was made.
private final class Remarks: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    func contains(_ text: String) -> Bool { lines.withLock { $0.contains { $0.contains(text) } } }
}

extension MiniArchive {
    fileprivate func package(
        _ name: String, _ remarks: Remarks = Remarks(), change: (inout PackageRequest) -> Void = { _ in }
    ) async throws -> PackageOutcome {
        var request = PackageRequest(package: name)
        request.configuration = configuration
        request.cache = cache
        request.directory = root
        change(&request)
        return try await makePackage(request) { remarks.add($0) }
    }
}

private func bundle(_ outcome: PackageOutcome) throws -> Bundle {
    try writeBytes(try #require(outcome.bytes), to: outcome.path)
    return try Bundle.read(path: outcome.path)
}

/// From a version in an archive to a bundle.
@Suite(
    .needsTracing,
    .needs("apt-get", "dpkg-buildpackage", "dpkg-scanpackages", "dpkg-checkbuilddeps", "fakeroot", "patch"),
    .serialized)
struct MakePackageTests {
    /// The fix is patched, a changed start value and other flags are refused, and for a text and an unshipped program there is
    /// nothing to do.
    private let patches = [
        ("CVE-2031-0001.patch", "greet.c", "s/count > 100/count > 10/"),
        ("readme.patch", "README", "s/nothing/something/"),
        ("0003-limit.patch", "greet.c", "s/limit = 50/limit = 60/"),
        ("CVE-2031-0004.patch", "probe.c", "s/return 0/return 1/"),
        ("0005-flags.patch", "Makefile", "s/-O2/-O1/"),
    ].map { (name: $0.0, file: $0.1, edit: $0.2) }

    @Test func `from a version to a bundle for its official program, and what can't be patched is said for each fix`()
        async throws
    {
        let archive = try MiniArchive()
        defer { archive.remove() }
        try archive.addVersion("1.0-2", says: "0003-limit.patch: CVE-2031-0003", patches: patches)

        let refused = try await archive.package("hello-mini=1.0-1")
        let verdicts: [FixVerdict.Verdict] = [.patched, .nothingToPatch, .refused, .nothingToPatch, .refused]
        #expect(refused.verdicts.map(\.verdict) == verdicts)
        #expect(refused.bytes == nil && refused.from == "1.0-1" && refused.to == "1.0-2")
        let rules = refused.verdicts.map { $0.refused.map(\.rule) }
        #expect(rules == [[], [], ["data-initial-value"], [], ["no-compile-command"]])
        #expect(refused.open == ["CVE-2031-0003"], "\(refused.text)")

        let remarks = Remarks()
        let partial = try await archive.package("hello-mini=1.0-1", remarks) { $0.partial = true }
        #expect(!remarks.contains("building hello-mini") && !remarks.contains("fetching"))
        #expect(partial.verdicts.map(\.verdict) == verdicts)
        #expect(partial.path == archive.root + "/hello-mini_1.0-1_1.0-2.lpatch")
        #expect(partial.targets.map(\.file) == ["usr/bin/hello-mini"])
        let manifest = try bundle(partial).manifest
        #expect(manifest.cves == ["CVE-2031-0001"])
        #expect(manifest.targets.flatMap(\.functions).filter { $0.change == .changed }.map(\.name) == ["greeting"])
        #expect(manifest.review.contains("not closed by this patch: CVE-2031-0003"))
        #expect(manifest.review.contains { $0.contains("1.0-1") && $0.contains("1.0-2") })

        let one = try await archive.package("hello-mini=1.0-1") { $0.cves = ["CVE-2031-0001"] }
        #expect(one.verdicts.map(\.name) == ["CVE-2031-0001.patch"] && one.bytes != nil)
        let json = try outcomeJSON(one)
        #expect(json.contains("\"verdict\":\"patched\"") && json.contains("\"closed\":[\"CVE-2031-0001\"]"))
    }

    @Test func `where the archive has only a newer source, its added patches are taken off`() async throws {
        let archive = try MiniArchive()
        defer { archive.remove() }
        try archive.addVersion("1.0-2", says: "Fix CVE-2031-0001", patches: [patches[0]])
        try archive.forget("hello-mini_1.0-1.*")
        let outcome = try await archive.package("hello-mini=1.0-1")
        #expect(outcome.verdicts.map(\.verdict) == [.patched])
        #expect(try bundle(outcome).manifest.cves == ["CVE-2031-0001"])
    }

    @Test func `without a series of patches, the fix is the difference between the trees`() async throws {
        let archive = try MiniArchive()
        defer { archive.remove() }
        try archive.newOriginal("1.1", edit: patches[0].edit, of: patches[0].file)
        try archive.addVersion("1.1-1", says: "New upstream version: CVE-2031-0001")
        let outcome = try await archive.package("hello-mini=1.0-1")
        #expect(outcome.verdicts.map(\.name) == ["hello-mini_1.1-1.diff"])
        #expect(outcome.verdicts.map(\.cves) == [["CVE-2031-0001"]] && outcome.bytes != nil)
    }

    @Test func `what a newer version changes in an earlier patch is a fix, too`() async throws {
        let archive = try MiniArchive()
        defer { archive.remove() }
        try archive.addVersion("1.0-2", says: "First", patches: [patches[1]])
        try archive.revise("readme.patch", edit: "s/+something/+something else/")
        try archive.addVersion("1.0-3", says: "CVE-2031-0001", patches: [patches[0]])
        let outcome = try await archive.package("hello-mini=1.0-2")
        #expect(outcome.verdicts.map(\.name) == ["CVE-2031-0001.patch", "revised: readme.patch"])
        #expect(outcome.verdicts.map(\.verdict) == [.patched, .nothingToPatch])
        #expect(outcome.closed == ["CVE-2031-0001"])
    }

    @Test func `what the archive does not have is refused by the rule package-source`() async throws {
        let archive = try MiniArchive()
        defer { archive.remove() }
        for (name, words) in [
            ("hello-mini", "is not installed"), ("no-such-package", "none"), ("hello-mini=0.9-1", "1.0-1"),
            ("hello-mini=1.0-1", "no newer version"),
        ] {
            let refusal = await #expect(throws: Refusal.self) { _ = try await archive.package(name) }
            #expect(
                refusal?.rule == "package-source" && refusal?.why.contains(words) == true,
                "\(name): \(refusal?.why ?? "")")
        }
        await #expect(throws: UsageError.self) { _ = try await archive.package("../etc") }
        try writeText("# none\n", to: archive.configuration + "/sources.list")
        await #expect(throws: Refusal.self) { _ = try await archive.package("hello-mini=1.0-1") }
    }

    private func outcomeJSON(_ outcome: PackageOutcome) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(PackageReport(outcome)), as: UTF8.self)
    }
}
