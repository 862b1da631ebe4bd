import PatchFormat

/// Decisions and notes: what somebody must answer for.
struct Answers {
    let manifest: Manifest

    var view: HTML {
        guard !manifest.decisions.isEmpty || !manifest.review.isEmpty else {
            return """
                <section id=answers><h2>Answers</h2><p class=quiet>No decision was recorded and no note was left. Every rule of \
                <code>patchbuild</code> was kept.</p></section>

                """
        }
        return """
            <section id=answers><h2>Answers</h2>
            \(decisions)\(notes)</section>

            """
    }

    private var decisions: HTML {
        guard !manifest.decisions.isEmpty else { return "" }
        let items = manifest.decisions.map { decision in
            """
            <li class=ask><h3><code>\(decision.rule)</code> was overridden for <code>\(decision.subject)</code></h3>
            <p>The rule said: \(decision.why)</p>\(answer("Who decided that it does not apply, and why?"))</li>
            """ as HTML
        }.joined()
        return """
            <p>Whoever built the bundle went on against a refusal, with <code>--allow</code>. Who signs relies on that \
            engineer's judgement.</p><ol class=points>\(items)</ol>
            """
    }

    private var notes: HTML {
        guard !manifest.review.isEmpty else { return "" }
        let items = manifest.review.map {
            "<li class=ask><p>\($0)</p>\(answer("Who looked at it, and what did they find?"))</li>" as HTML
        }.joined()
        return "<p>No rule can decide the following; somebody has to look.</p><ol class=points>\(items)</ol>"
    }

    /// To be filled in on paper, or before printing; it is kept nowhere.
    private func answer(_ question: String) -> HTML {
        "<label class=answer><span>\(question)</span><input type=text autocomplete=off spellcheck=false></label>"
    }
}
