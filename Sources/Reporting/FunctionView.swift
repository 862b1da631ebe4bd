import PatchFormat
import Reviewing

/// One function of the patch.
struct FunctionView {
    let entry: ReportFacts.Entry
    let listings: ListingView
    /// By source file: the place of its diff.
    let diffPlaces: [String: HTML]
    /// Its code is shown without being asked for.
    let isOpen: Bool

    /// Both sides aligned; none where one is missing.
    private let rows: [ListingRow]

    init(entry: ReportFacts.Entry, listings: ListingView, diffPlaces: [String: HTML], isOpen: Bool) {
        self.entry = entry
        self.listings = listings
        self.diffPlaces = diffPlaces
        self.isOpen = isOpen
        guard let original = entry.review?.original, let new = entry.review?.new else {
            rows = []
            return
        }
        rows = alignListings(original, new)
    }

    private var function: PatchedFunction { entry.function }
    private var review: ReviewFunction? { entry.review }

    var view: HTML {
        let isNew = function.change == .new
        let tag: HTML = isNew ? "<span class=\"tag new\">new</span>" : "<span class=\"tag changed\">changed</span>"
        return """
            <article class=fn id=\(entry.id)>
            <h3><a class=num href="#\(entry.id)">\(entry.number)</a> \(HTML.symbol(function.name)) \(tag)\
            <label class=seen><input type=checkbox> looked at</label></h3>
            <p class=why>\(why)</p>
            \(remarks)\(callers)\(code)</article>

            """
    }

    private var why: HTML {
        var parts: [HTML] = ["\(sentence(readable(function.reason)))"]
        if let difference { parts.append("\(difference).") }
        let file = review?.new?.places.first.flatMap {
            listings.files.indices.contains($0.file) ? listings.files[$0.file] : nil
        }
        if let file {
            let link: HTML =
                diffPlaces[file].map { "<a href=\"#\($0)\"><code>\(file)</code></a>" } ?? "<code>\(file)</code>"
            parts.append("Source: \(link).")
        }
        parts.append("Object: <code>\(function.object)</code>.")
        return parts.joined(" ")
    }

    private func sentence(_ text: String) -> String {
        guard let first = text.first else { return "" }
        return first.uppercased() + text.dropFirst() + (text.hasSuffix(".") ? "" : ".")
    }

    /// How much of it is another than before.
    private var difference: String? {
        guard let new = review?.new else { return nil }
        guard review?.original != nil else { return counted(new.size, "byte") }
        let differing = rows.count { !$0.isEqual }
        let lines = new.touchedLines
        let source = lines > 0 ? ", from " + counted(lines, "line") + " that the diff adds or changes" : ""
        return "\(grouped(differing)) of \(counted(new.text.count, "instruction")) differ\(source)"
    }

    /// What a reader may not expect.
    private var remarks: HTML {
        var items: [HTML] = []
        if let review, let original = review.original, let new = review.new, !new.places.isEmpty,
            original.touchedLines + new.touchedLines == 0
        {
            items.append(
                "None of its compiled lines is touched by the diff. It changes through what it uses: a type, a constant, or a callee whose code the compiler took into account."
            )
        }
        if let original = function.original {
            if original.abiCoupled {
                items.append(
                    "Calls in progress can’t finish in the old code beside new ones; the switch waits until no thread is inside."
                )
            }
            if !original.aliases.isEmpty {
                items.append("Also known as \(original.aliases.map { HTML.symbol($0) }.joined(", ")).")
            }
        }
        if let why = review?.omitted { items.append("Its code is not shown: \(why).") }
        guard !items.isEmpty else { return "" }
        return "<ul class=remarks>\(items.map { "<li>\($0)</li>" as HTML }.joined())</ul>"
    }

    private var callers: HTML {
        guard let review, function.change == .changed else { return "" }
        var text: HTML = ""
        if let graph = CallGraph(function: review).svg {
            let all = review.callers.count + review.moreCallers
            text +=
                "<details class=who open><summary>Called by \(counted(all, "function")) of the target</summary><div class=scroll>\(graph)</div>"
            let rest = review.callers.dropFirst(10)
            if all > 10 {
                let names = rest.map { HTML.symbol($0.name, parameters: false) }.joined(", ")
                let more = review.moreCallers > 0 ? " and \(grouped(review.moreCallers)) more" : ""
                text += "<p class=quiet>Not drawn: \(names)\(more).</p>"
            }
            text += "</details>"
        } else {
            text += "<p class=quiet>No direct call of it was found in the target’s code.</p>"
        }
        if !review.addressTaken.isEmpty {
            let places = review.addressTaken.map { "<code>\(readable($0))</code>" as HTML }.joined(", ")
            text += "<p class=quiet>Its address is taken, so it may be called through a pointer: \(places).</p>"
        }
        return text
    }

    private var code: HTML {
        let open: HTML = isOpen ? " open" : ""
        if let review, let original = review.original, let new = review.new {
            return """
                <details class=body\(open)><summary>Machine code, before and after</summary>
                <div class="heads"><span>before · \(grouped(original.text.count)) instructions</span>\
                <span>after · \(grouped(new.text.count)) instructions</span></div>
                \(listings.pair(rows, original, new))</details>
                """
        }
        if let listing = review?.new ?? entry.module {
            let from = review?.new == nil ? ", from the module" : ""
            return """
                <details class=body\(open)><summary>Machine code, \(grouped(listing.text.count)) instructions\(from)</summary>
                \(listings.single(listing))</details>
                """
        }
        return "<p class=quiet>Its code can’t be shown.</p>"
    }
}
