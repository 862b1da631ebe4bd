import Reviewing

/// The disassembly of a function, before and after.
struct ListingView {
    /// `Review.files`.
    let files: [String]

    /// Both sides, with equal stretches folded.
    func pair(_ rows: [ListingRow], _ original: Listing, _ new: Listing) -> HTML {
        stretches(rows).map { stretch -> HTML in
            let body = sides(rows[stretch.rows], original, new)
            guard stretch.isEqual else { return body }
            let lines = span(of: rows[stretch.rows], new)
            return
                "<details class=eq><summary>\(counted(stretch.rows.count, "equal instruction"))\(lines)</summary>\(body)</details>"
        }.joined()
    }

    /// One side alone: a function that is new, or only known from the module.
    func single(_ listing: Listing) -> HTML {
        var column = Column(listing: listing, files: files)
        for row in listing.text.indices { column.add(row, .equal) }
        return "<div class=\"pair one\"><pre>\(column.markup)</pre></div>"
    }

    /// `, lines 12 to 40` of the file that the function lies in.
    private func span(of rows: ArraySlice<ListingRow>, _ new: Listing) -> String {
        let places = rows.compactMap { $0.new.flatMap { new.place($0) } }
        guard let file = new.places.first?.file else { return "" }
        let lines = places.filter { $0.file == file }.map(\.line)
        guard let low = lines.min(), let high = lines.max() else { return "" }
        return low == high ? ", line \(low)" : ", lines \(low) to \(high)"
    }

    private func sides(_ rows: ArraySlice<ListingRow>, _ original: Listing, _ new: Listing) -> HTML {
        var left = Column(listing: original, files: files)
        var right = Column(listing: new, files: files)
        for row in rows {
            // A line of source above its instructions takes a row on both sides.
            let (a, b) = (left.needsSource(row.original), right.needsSource(row.new))
            if a || b {
                left.addSource(a ? row.original : nil)
                right.addSource(b ? row.new : nil)
            }
            left.add(row.original, row.mark == .added ? .removed : row.mark)
            right.add(row.new, row.mark == .removed ? .added : row.mark)
        }
        return "<div class=pair><pre>\(left.markup)</pre><pre>\(right.markup)</pre></div>"
    }
}

/// One side of a listing: lines of text, which stand beside those of the other side.
private struct Column {
    let listing: Listing
    let files: [String]
    var markup: HTML = ""
    private var last: Int?
    private var lastFile: Int?

    init(listing: Listing, files: [String]) {
        self.listing = listing
        self.files = files
    }

    func needsSource(_ row: Int?) -> Bool {
        guard let row else { return false }
        return listing.lines[row] >= 0 && listing.lines[row] != last
    }

    mutating func addSource(_ row: Int?) {
        guard let row, let place = listing.place(row) else {
            markup += "<s></s>"
            return
        }
        last = listing.lines[row]
        let file =
            place.file == lastFile ? "" : (files[place.file].split(separator: "/").last.map(String.init) ?? "") + ":"
        lastFile = place.file
        let text = place.text.isEmpty ? "" : " " + place.text.unindented
        // Touched lines are marked by a sign as well, since not everybody sees colours.
        if place.isTouched {
            markup += "<b class=t>◆ \(file)\(place.line)\(text)</b>"
        } else {
            markup += "<b>\(file)\(place.line)\(text)</b>"
        }
    }

    mutating func add(_ row: Int?, _ mark: ListingRow.Mark) {
        guard let row else {
            markup += "<s class=g></s>"
            return
        }
        if needsSource(row) { addSource(row) }
        let label = listing.label(row)
        let text =
            String(repeating: " ", count: max(1, 6 - label.utf8.count)) + label + "  " + padded(listing.shown(row))
        switch mark {
        case .equal: markup += " \(text)\n"
        case .removed: markup += "<del>−\(text)</del>"
        case .added: markup += "<ins>+\(text)</ins>"
        case .otherTarget: markup += "<u>~\(text)</u>"
        }
    }

    /// Operands in a column of their own.
    private func padded(_ text: String) -> String {
        let mnemonic = text.prefix { $0 != " " }
        guard mnemonic.count < text.count else { return text }
        return mnemonic + String(repeating: " ", count: max(0, 6 - mnemonic.count)) + text.dropFirst(mnemonic.count)
    }
}

extension String {
    fileprivate var unindented: Substring { drop { $0 == " " || $0 == "\t" } }
}

extension HTML.Interpolation {
    mutating func appendInterpolation(_ value: Substring) { appendInterpolation(String(value)) }
}
