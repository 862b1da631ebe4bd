import PatchFormat
import Reviewing
import Testing

@testable import Reporting

@Suite struct PageTests {
    private func page(_ bundle: Bundle) throws -> String {
        String(decoding: try reportPage(bundle).bytes, as: UTF8.self)
    }

    @Test func theSameBundleGivesTheSamePage() throws {
        let bundle = try PageSamples.hostile()
        #expect(try reportPage(bundle) == (try reportPage(bundle)))
    }

    @Test func aBundleWithoutReviewDataSaysSo() throws {
        let text = try page(try PageSamples.bundle(PageSamples.manifest([PageSamples.changed("parse")]), nil))
        #expect(text.contains("No review data."))
        #expect(text.contains("parse"))
    }

    @Test func codeThatIsNotTheModulesIsAnAlarm() throws {
        let function = ReviewFunction(name: "parse", new: PageSamples.listing(["ret"]))
        let bundle = try PageSamples.bundle(
            PageSamples.manifest([PageSamples.changed("parse")]), PageSamples.review([function]))
        #expect(try page(bundle).contains("Do not sign."))
    }

    @Test func aDiffThatTheManifestDoesNotNameIsAnAlarm() throws {
        var review = PageSamples.review([ReviewFunction(name: "parse")])
        let text = "--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-a\n+b\n"
        let digest = Digest.sha256(Array(text.utf8))
        review.diffs = [ReviewDiff(name: "fix.diff", digest: digest, text: text)]
        var manifest = PageSamples.manifest([PageSamples.changed("parse")])
        #expect(try page(try PageSamples.bundle(manifest, review)).contains("Do not sign."))
        manifest.provenance.diffDigests = [digest]
        #expect(try !page(try PageSamples.bundle(manifest, review)).contains("Do not sign."))
        review.diffs[0].text = text.replacing("+b", with: "+c")
        #expect(try page(try PageSamples.bundle(manifest, review)).contains("Do not sign."))
    }

    @Test func decisionsAndNotesNeedAnAnswer() throws {
        var manifest = PageSamples.manifest([PageSamples.changed("parse")])
        manifest.decisions = [Decision(rule: "type-layout", subject: "struct s", why: "it grows")]
        manifest.review = ["a note"]
        let text = try page(try PageSamples.bundle(manifest, PageSamples.review([ReviewFunction(name: "parse")])))
        #expect(text.contains("2 points need an answer"))
        #expect(text.contains("was overridden for <code>struct s</code>"))
    }

    @Test func aThousandFunctionsAreUsable() throws {
        let code = (0..<40).map { "mov 0x\(String($0, radix: 16))(%rdi),%eax" }
        let names = (0..<1000).map { "function_\($0)" }
        let functions = names.map { name in
            ReviewFunction(
                name: name, original: PageSamples.listing(code),
                new: PageSamples.listing(Array(code.prefix(10)) + ["nop", "hlt"] + code.dropFirst(20)),
                callers: (0..<6).map { Caller(name: "caller_\($0)", sites: 1, callers: ["main"]) })
        }
        let manifest = PageSamples.manifest(names.enumerated().map { PageSamples.changed($1, number: $0) })
        let bytes = try reportPage(try PageSamples.bundle(manifest, PageSamples.review(functions))).bytes
        #expect(bytes.count < 10 << 20)
        // The bodies are folded: the browser lays out what is looked at.
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.ranges(of: "<details class=body>").count == 1000)
    }
}
