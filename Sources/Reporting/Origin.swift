import PatchFormat
import Reviewing

/// What was proved, where the bundle comes from, and who has signed it.
struct Origin {
    let facts: ReportFacts
    private var manifest: Manifest { facts.manifest }

    var view: HTML { proof + provenance + signatures }

    private var proof: HTML {
        var rows: [HTML] = []
        for (target, described) in zip(facts.review?.targets ?? [], manifest.targets) {
            let proof = target.proof
            rows.append(
                """
                <li><strong>\(counted(proof.functions, "function")), \(grouped(proof.bytes)) bytes</strong> of \
                <code>\(described.file)</code> are byte for byte what the recorded commands make of the original sources of \
                \(counted(proof.units, "unit")), once addresses are filled in. A wrong compiler, flag or source would show.</li>
                """)
        }
        rows.append(
            """
            <li>All <strong>\(counted(facts.replaced, "replaced function"))</strong> are among them, each with an entry that takes \
            a jump. <code>livepatch</code> compares the same bytes with the process’s memory.</li>
            """)
        if facts.check.agreed > 0 {
            rows.append(
                """
                <li><code>patchbuild report</code> decoded the modules and found <strong>\(counted(facts.check.agreed, "listing"))</strong> above to be \
                their code: each instruction, register and number. Names in the place of addresses, and lines of source, are \
                what the builder’s tools say.</li>
                """)
        }
        return """
            <section id=proof><h2>What was proved</h2><ul>\(rows.joined())</ul><p class=quiet>Not proved, by anything: that the \
            fix is right. What code means can’t be compared. <code>patchbuild verify --rebuild</code> proves that the \
            bundle is what its diff makes.</p></section>

            """
    }

    private var provenance: HTML {
        let provenance = manifest.provenance
        var rows: [(String, HTML)] = []
        rows.append(("Manifest", digest(facts.bundle.manifestDigest)))
        rows.append(("Sequence", "\(manifest.sequence)"))
        if let created = manifest.created { rows.append(("Created", "\(created)")) }
        if let expires = manifest.expires { rows.append(("Expires", "\(expires)")) }
        rows.append(
            (
                "Switches",
                manifest.consistency == .stack
                    ? "when no thread is inside a replaced function"
                    : "for new calls; calls in progress finish in the old code"
            ))
        rows += relations
        rows += provenance.compilers.map { ("Compiler", "<code>\($0)</code>") }
        if !provenance.sourceDigest.isEmpty { rows.append(("Touched sources", digest(provenance.sourceDigest))) }
        rows += provenance.diffDigests.map { sum in
            let name = facts.review?.diffs.first { $0.digest == sum }?.name
            return ("Diff", (name.map { "\($0) " } ?? "") + digest(sum))
        }
        rows += manifest.members.map { ("Member", "\($0.name), \(grouped($0.size)) bytes, \(digest($0.digest))") }
        let body = rows.map { "<tr><th scope=row>\($0.0)</th><td>\($0.1)</td></tr>" as HTML }.joined()
        let commands = provenance.commands.map { "<li><code>\($0)</code></li>" as HTML }.joined()
        let list: HTML =
            provenance.commands.isEmpty
            ? ""
            : "<details><summary>\(counted(provenance.commands.count, "compile command"))</summary><ol class=cmds>\(commands)</ol></details>"
        return """
            <section id=provenance><h2>Provenance</h2><div class=scroll><table class=facts><tbody>\(body)</tbody></table></div>\
            \(list)</section>

            """
    }

    private var relations: [(String, HTML)] {
        manifest.requires.map { ("Requires", "\($0.id) \(digest($0.manifestDigest))") }
            + manifest.supersedes.map { ("Supersedes", "\($0.id) \(digest($0.manifestDigest))") }
            + manifest.conflicts.map { ("Conflicts with", "\($0)") }
            + (manifest.groups ?? []).map {
                ("Switch together", $0.map { "<code class=id>\($0)</code>" as HTML }.joined(", "))
            }
    }

    private func digest(_ text: String) -> HTML { "<code class=id>\(text)</code>" }

    private var signatures: HTML {
        let names = facts.bundle.signatures.keys.sorted()
        let rows = names.map { name -> HTML in
            let short = String(name.dropFirst("signatures/".count).dropLast(".sig".count))
            return "<li><strong>\(short)</strong> \(grouped(facts.bundle.signatures[name]?.count ?? 0)) bytes</li>"
        }.joined()
        let body: HTML = names.isEmpty ? "<p>None yet.</p>" : "<ul>\(rows)</ul>"
        return """
            <section id=signatures><h2>Signatures</h2>\(body)<p class=quiet>This page verifies no signature; \
            <code>patchbuild verify</code> does. Signatures are made over <code>manifest.json</code>, which names all \
            members by their digests, this page’s data among them.</p></section>

            """
    }
}
