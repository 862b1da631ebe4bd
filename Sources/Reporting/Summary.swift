import PatchFormat
import Reviewing

/// The top of the page: what the patch does, and whether anything needs an answer.
struct Summary {
    let facts: ReportFacts
    private var manifest: Manifest { facts.manifest }

    var view: HTML {
        """
        <header id=top>
        <p class=eyebrow>Live patch · review before signing</p>
        <h1>\(manifest.id)</h1>
        <p class=lead>\(closes) \(does)</p>
        \(alarms)<ul class=cards>\(cards)</ul>
        \(targets)\(steps)
        </header>

        """
    }

    private var closes: HTML {
        guard !manifest.cves.isEmpty else { return "<strong>Names no CVE.</strong>" }
        let names = manifest.cves.map { "<strong class=cve>\($0)</strong>" as HTML }
        return "Closes \(names.joined(", "))."
    }

    private var does: HTML {
        var parts: [String] = []
        if facts.replaced > 0 { parts.append("replaces " + counted(facts.replaced, "function")) }
        if facts.added > 0 { parts.append("adds " + counted(facts.added, "function")) }
        if facts.values > 0 { parts.append("sets " + counted(facts.values, "value")) }
        let files = manifest.targets.map { "<code>\($0.file)</code>" as HTML }.joined(", ")
        guard var text = parts.first else { return "Changes no function of \(files)." }
        if parts.count > 1 { text = parts.dropLast().joined(separator: ", ") + " and " + (parts.last ?? "") }
        return "It \(text) in \(files), in the running process, all at once."
    }

    private var alarms: HTML {
        var all: HTML = ""
        if !facts.contradictions.isEmpty {
            let items = facts.contradictions.prefix(20).map { "<li>\($0)</li>" as HTML }.joined()
            all += """
                <div class="alarm bad"><strong>Do not sign.</strong> What this bundle shows to a reviewer is not what it holds:\
                <ul>\(items)</ul></div>
                """
        }
        if facts.review == nil {
            all += """
                <div class="alarm"><strong>No review data.</strong> The bundle has no <code>review.json</code>: there is no source \
                diff here, and of the functions only the new code, as the module has it.</div>
                """
        }
        return all
    }

    private var cards: HTML {
        var cards: [HTML] = []
        cards.append(
            facts.questions == 0
                ? card("ok", "✓", "Nothing needs an answer", "No rule was overridden, and no note was left for you.")
                : card(
                    "ask", "?", counted(facts.questions, "point needs an answer", "points need an answer"),
                    "Somebody must be able to say why each is safe.", link: "#answers"))
        cards.append(codeCard)
        if let proof = proof {
            cards.append(
                card(
                    "ok", "✓", "Found in the target",
                    "\(counted(proof.functions, "function")), \(grouped(proof.bytes)) bytes, equal what the recorded build makes.",
                    link: "#proof"))
        }
        cards.append(signatureCard)
        return cards.joined()
    }

    private var codeCard: HTML {
        let listings = facts.functions.count { $0.review?.new != nil }
        if !facts.check.differences.isEmpty {
            return card("bad", "✗", "Code shown is not the code inside", "See the list above.")
        }
        if listings == 0 {
            return card("ask", "?", "Code from the module alone", "There is nothing to compare it with.")
        }
        return card(
            "ok", "✓", "Code shown is code shipped",
            "\(counted(listings, "function")): each instruction was compared with the module.")
    }

    private var signatureCard: HTML {
        let count = facts.bundle.signatures.count
        return count == 0
            ? card("none", "○", "Not signed yet", "Nobody has put a name to it.", link: "#signatures")
            : card(
                "none", "●", counted(count, "signature"), "Present, and not verified by this page.", link: "#signatures"
            )
    }

    private func card(_ kind: HTML, _ sign: HTML, _ title: String, _ text: String, link: HTML? = nil) -> HTML {
        let title: HTML = link.map { "<a href=\"\($0)\">\(title)</a>" } ?? "\(title)"
        return
            "<li class=\(kind)><span class=sign aria-hidden=true>\(sign)</span><div><h2>\(title)</h2><p>\(text)</p></div></li>"
    }

    private var proof: ReviewProof? {
        guard let targets = facts.review?.targets, !targets.isEmpty else { return nil }
        return targets.map(\.proof).reduce(ReviewProof(units: 0, functions: 0, bytes: 0)) {
            ReviewProof(
                units: $0.units &+ $1.units, functions: $0.functions &+ $1.functions, bytes: $0.bytes &+ $1.bytes)
        }
    }

    private var targets: HTML {
        let rows = manifest.targets.map { target -> HTML in
            let replaced = target.functions.count { $0.change == .changed }
            let data = target.data.reduce(UInt64(0)) { $0 &+ $1.size }
            return """
                <tr><th scope=row><code>\(target.file)</code></th><td><code class=id>\(target.buildID)</code></td>\
                <td class=n>\(grouped(replaced))</td><td class=n>\(grouped(target.functions.count - replaced))</td>\
                <td class=n>\(grouped(Int(clamping: data)))</td>\
                <td class=n>\(grouped(facts.bundle.modules[target.module]?.count ?? 0))</td></tr>
                """
        }.joined()
        return """
            <div class=scroll><table><thead><tr><th>Target</th><th>Build-id</th><th class=n>replaced</th><th class=n>new</th>\
            <th class=n>data bytes</th><th class=n>module bytes</th></tr></thead><tbody>\(rows)</tbody></table></div>
            """
    }

    private var steps: HTML {
        var steps: [HTML] = []
        if facts.questions > 0 {
            steps.append("<a href=\"#answers\">Get an answer</a> to each open point, and write down whose it is.")
        }
        if facts.review?.diffs.isEmpty == false {
            steps.append(
                "Read the <a href=\"#source\">source diff</a>: is it the fix that its CVE is about, and nothing else?")
        }
        steps.append(
            """
            Go through the <a href=\"#functions\">functions</a>: does each change follow from the diff? Lines that the diff touches \
            have a ◆. What changes without one deserves a second look.
            """)
        steps.append(
            "Compare the <a href=\"#provenance\">provenance</a> with what you expect: sources, compiler, digest of the manifest."
        )
        let items = steps.map { "<li>\($0)</li>" as HTML }.joined()
        return "<section class=steps><h2>Before you sign</h2><ol>\(items)</ol></section>"
    }
}
