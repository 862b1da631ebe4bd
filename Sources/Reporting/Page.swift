import FoundationEssentials
import PatchFormat
import Reviewing

public struct ReviewPage: Sendable, Hashable {
    public var bytes: [UInt8]
    /// Where the bundle shows a reviewer something else than it holds: they stand on the page.
    public var contradictions: Int
}

/// One self-contained HTML page on a bundle, for whoever is to sign it.
///
/// The same bundle gives the same bytes. Everything from the bundle is shown as text; the page loads nothing, and its policy
/// allows no script and no style but its own.
/// - Throws: `Refusal` of rule bad-bundle or format-version when the review data is not of the format.
public func reportPage(_ bundle: Bundle) throws -> ReviewPage {
    let facts = try ReportFacts(bundle)
    var page: HTML = """
        <!doctype html>
        <html lang=en>
        <head>
        <meta charset=utf-8>
        <meta http-equiv="Content-Security-Policy" content="\(policy)">
        <meta name=viewport content="width=device-width, initial-scale=1">
        <meta name=referrer content=no-referrer>
        <title>\(facts.manifest.id) · review of a live patch</title>
        <style>\(pageStyle)</style>
        </head>
        <body>

        """
    page += navigation(facts)
    page += "<main>\n" + Summary(facts: facts).view + Answers(manifest: facts.manifest).view
    page += source(facts) + functions(facts)
    page += DataView(facts: facts).view + References(manifest: facts.manifest).view + Origin(facts: facts).view
    page += "</main>\n\(help)<script>\(pageScript)</script>\n</body>\n</html>\n"
    return ReviewPage(bytes: Array(page.text.utf8), contradictions: facts.contradictions.count)
}

private var policy: HTML {
    """
    default-src 'none'; style-src 'sha256-\(sum(pageStyle))'; script-src 'sha256-\(sum(pageScript))'; base-uri 'none'; \
    form-action 'none'
    """
}

/// In the form that the policy wants.
private func sum(_ markup: HTML) -> String {
    let digits = Array(Digest.sha256(Array(markup.text.utf8)))
    let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0..<$0 + 2]), radix: 16) }
    return Data(bytes).base64EncodedString()
}

private func navigation(_ facts: ReportFacts) -> HTML {
    let questions: HTML = facts.questions > 0 ? " <span class=cnt>\(facts.questions)</span>" : ""
    let items = facts.functions.map { entry -> HTML in
        let sign: HTML = entry.function.change == .new ? "+" : "~"
        return
            "<li><a href=\"#\(entry.id)\"><span aria-hidden=true>\(sign)</span> \(readable(entry.function.name))</a></li>"
    }.joined()
    return """
        <nav id=nav aria-label="Contents">
        <p class=brand><a href="#top">\(facts.manifest.id)</a></p>
        <ul><li><a href="#answers">Answers\(questions)</a></li><li><a href="#source">Source diff</a></li>\
        <li><a href="#functions">Functions <span class=cnt>\(facts.functions.count)</span></a></li></ul>
        <input id=filter type=search placeholder="Filter functions ( / )" aria-label="Filter functions" hidden>
        <ul id=list>\(items)</ul>
        <ul><li><a href="#data">Data and constants</a></li><li><a href="#bindings">Bindings</a></li>\
        <li><a href="#entries">Entries</a></li><li><a href="#proof">What was proved</a></li>\
        <li><a href="#provenance">Provenance</a></li><li><a href="#signatures">Signatures</a></li></ul>
        <p id=tools hidden><button id=theme type=button>Light or dark</button> <button id=keys type=button>Keys</button></p>
        <p id=progress role=status></p>
        </nav>

        """
}

private func source(_ facts: ReportFacts) -> HTML {
    let diffs = facts.review?.diffs ?? []
    let ignored = Dictionary((facts.review?.ignored ?? []).map { ($0.path, $0.why) }) { first, _ in first }
    let body: HTML =
        diffs.isEmpty
        ? "<p class=quiet>There is no source diff in this bundle: it was built from objects, or by an older tool.</p>"
        : diffs.enumerated().map { DiffView.view($1, number: $0, ignored: ignored) }.joined()
    return "<section id=source><h2>Source diff</h2>\(body)</section>\n"
}

private func functions(_ facts: ReportFacts) -> HTML {
    let listings = ListingView(files: facts.review?.files ?? [])
    let places = facts.diffPlaces
    let views = facts.functions.map {
        FunctionView(entry: $0, listings: listings, diffPlaces: places, isOpen: facts.functions.count <= 60).view
    }.joined()
    let body: HTML = views.text.isEmpty ? "<p class=quiet>No function is replaced or added.</p>" : views
    return """
        <section id=functions><h2>Functions</h2><p class=quiet>Original code on the left, new code on the right. \
        <ins>+</ins> and <del>−</del>: only there. <u>~</u>: the same branch, to another place. <b class=t>◆</b> a line of \
        source that the diff touches. Offsets are in bytes from the start of the function; names stand for addresses.</p>
        \(body)</section>

        """
}

private let help: HTML = """
    <dialog id=help><h2>Keys</h2><dl><dt><kbd>j</kbd> <kbd>n</kbd></dt><dd>next function</dd><dt><kbd>k</kbd> <kbd>p</kbd></dt>\
    <dd>previous function</dd><dt><kbd>x</kbd></dt><dd>looked at it</dd><dt><kbd>o</kbd></dt><dd>show or fold equal code</dd>\
    <dt><kbd>/</kbd></dt><dd>filter functions</dd><dt><kbd>t</kbd></dt><dd>light or dark</dd><dt><kbd>?</kbd></dt>\
    <dd>this help</dd></dl><form method=dialog><button>Close</button></form></dialog>

    """
