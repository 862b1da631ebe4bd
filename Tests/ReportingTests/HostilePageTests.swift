import PatchFormat
import TestSupport
import Testing

@testable import Reporting

/// Content from the bundle is data (the page runs in a browser of someone who is about to sign).
@Suite struct HostilePageTests {
    @Test func noTextOfABundleBecomesMarkup() throws {
        let page = String(decoding: try reportPage(try PageSamples.hostile()).bytes, as: UTF8.self)
        #expect(page.ranges(of: "<script").count == 1)
        #expect(!page.contains("<img"))
        #expect(!page.contains("onerror=\""))
        #expect(page.contains("&lt;script&gt;"))
        #expect(page.contains("onerror=&quot;document.title=&#39;owned&#39;&quot;"))
        // Nothing that turns or hides the text around it is left.
        let unseen = page.unicodeScalars.filter { scalar in
            switch scalar.properties.generalCategory {
            case .control: scalar != "\n" && scalar != "\t"
            case .format: true
            default: false
            }
        }
        #expect(unseen.isEmpty)
        for code in ["U+202E", "U+200B", "U+0001", "U+001B", "U+007F", "U+0085", "U+2066"] {
            #expect(page.contains("<i class=u>\(code)</i>"), "\(code)")
        }
    }

    @Test func thePageLoadsNothing() throws {
        let page = String(decoding: try reportPage(try PageSamples.hostile()).bytes, as: UTF8.self)
        #expect(page.contains("default-src 'none'"))
        for word in ["http:", "https:", "src=\"", "@import", "url(", "javascript:"] {
            #expect(!page.contains(word), "\(word)")
        }
    }

    @Test(.enabled(if: Browser.isInstalled, "chromium is not installed"))
    func nothingRunsInARealBrowser() throws {
        let page = try reportPage(try PageSamples.hostile()).bytes
        let document = try Browser.document(of: page)
        #expect(document.contains("<title>fix"))
        #expect(!document.contains("<title>owned"))
        #expect(!document.contains("<img"))
        #expect(document.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"))
        // The page's own script has run, so that its policy is right: it shows the filter.
        let filter = try #require(document.firstMatch(of: /<input id="filter"[^>]*>/))
        #expect(!filter.output.contains("hidden"))
        #expect(try Browser.shownText(of: page).contains("onerror=\"document.title='owned'\""))
    }

    @Test(.enabled(if: Browser.isInstalled, "chromium is not installed"))
    func whatABundleSmugglesInIsStoppedByThePolicy() throws {
        // As if a text had not been escaped: the policy of the page stands behind the escaping.
        let page = String(decoding: try reportPage(try PageSamples.hostile()).bytes, as: UTF8.self)
        let broken = page.replacing("<main>", with: "<main>\(PageSamples.attack)")
        let document = try Browser.document(of: Array(broken.utf8))
        #expect(document.contains("<img"))
        #expect(document.contains("<title>fix"))
    }
}

/// Debian's chromium, without a window.
enum Browser {
    private static let path = "/usr/bin/chromium"
    static var isInstalled: Bool { fileExists(path) }

    /// The document's markup after its scripts have run.
    static func document(of page: [UInt8]) throws -> String { try run(page, ["--dump-dom"]) }

    /// The page's text as a reader sees it, taken from a copy of its markup without tags.
    static func shownText(of page: [UInt8]) throws -> String {
        let markup = try document(of: page).replacing(/<[^>]*>/, with: "")
        return markup.replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&quot;", with: "\"")
            .replacing("&amp;", with: "&")
    }

    private static func run(_ page: [UInt8], _ arguments: [String]) throws -> String {
        try withTemporaryDirectory { directory in
            try writeBytes(page, to: directory + "/page.html")
            let output = try runOrThrow(
                path,
                ["--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(directory)/profile"] + arguments
                    + ["file://\(directory)/page.html"], seconds: 120)
            return output.stdout
        }
    }
}
