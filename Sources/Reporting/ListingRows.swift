import Reviewing
import SourceChanges

/// Two listings side by side: rows of equal code stand beside each other.
struct ListingRow {
    enum Mark: Sendable { case equal, removed, added, otherTarget }
    /// Rows of the listings.
    var original: Int?
    var new: Int?
    var mark: Mark
    var isEqual: Bool { mark == .equal }
}

/// Aligns two listings by what their instructions say, wherever they lie. A branch within a function is the same if it leads to
/// the same instruction, or to code that does the same and goes on at the same instruction.
func alignListings(_ original: Listing, _ new: Listing) -> [ListingRow] {
    let matches = alignedLines(original: original.keys, new: new.keys)
    var newOf: [Int: Int] = [:]
    for (row, match) in matches.enumerated() { if let match { newOf[match] = row } }
    let alike = Alike(original: original, new: new, newOf: newOf)
    var rows: [ListingRow] = []
    var (old, next) = (0, 0)
    func change(until oldEnd: Int, _ newEnd: Int) {
        let (gone, fresh) = (Array(old..<max(old, oldEnd)), Array(next..<max(next, newEnd)))
        for index in 0..<max(gone.count, fresh.count) {
            let (a, b) = (gone.dropFirst(index).first, fresh.dropFirst(index).first)
            rows.append(ListingRow(original: a, new: b, mark: a == nil ? .added : .removed))
        }
        (old, next) = (max(old, oldEnd), max(next, newEnd))
    }
    for (row, match) in matches.enumerated() {
        guard let match else { continue }
        change(until: match, row)
        let isSame = alike.branches(match, row)
        rows.append(ListingRow(original: match, new: row, mark: isSame ? .equal : .otherTarget))
        (old, next) = (match + 1, row + 1)
    }
    change(until: original.text.count, new.text.count)
    return rows
}

/// Whether two places do the same, where compilers put equal pieces of code in another order.
private struct Alike {
    let original: Listing
    let new: Listing
    let newOf: [Int: Int]
    /// Longer pieces, and branches out of branches beyond this, count as different.
    private static let length = 24
    private static let depth = 3

    func branches(_ a: Int, _ b: Int, depth: Int = depth) -> Bool {
        let (x, y) = (original.targets[a], new.targets[b])
        guard x >= 0, y >= 0 else { return x < 0 && y < 0 }
        return newOf[x] == y || (depth > 0 && places(x, y, depth: depth - 1))
    }

    /// From both places on the same instructions stand, until control leaves or comes to a row that both listings share.
    private func places(_ a: Int, _ b: Int, depth: Int) -> Bool {
        for step in 0..<Self.length {
            let (x, y) = (a + step, b + step)
            guard x < original.text.count, y < new.text.count else {
                return x >= original.text.count && y >= new.text.count
            }
            if step > 0, newOf[x] == y { return true }
            guard mnemonic(original, x) == mnemonic(new, y) else { return false }
            let isInside = original.targets[x] >= 0
            guard isInside ? branches(x, y, depth: depth) : new.targets[y] < 0 && original.text[x] == new.text[y] else {
                return false
            }
            let word = mnemonic(original, x)
            if word == "ret" || word == "jmp" || word == "ud2" || original.text[x] == "call __stack_chk_fail" {
                return true
            }
        }
        return false
    }

    private func mnemonic(_ listing: Listing, _ row: Int) -> Substring { listing.text[row].prefix { $0 != " " } }
}

extension Listing {
    /// What an instruction says without its place. Padding is padding, whatever its length.
    fileprivate var keys: [ArraySlice<UInt8>] {
        zip(text, targets).map { text, target in
            let mnemonic = text.prefix { $0 != " " }
            if ["nop", "nopw", "nopl", "nopq"].contains(mnemonic) || text == "xchg %ax,%ax" {
                return ArraySlice("nop".utf8)
            }
            let words = target < 0 ? text : mnemonic + " ."
            return ArraySlice(words.utf8)
        }
    }

    /// The name of a row for a reader: its offset, in a `.cold` half with the half's name.
    func label(_ row: Int) -> String {
        var first = 0
        for (part, count) in parts.enumerated() {
            if row < first + count {
                let offset = String(offsets[row], radix: 16)
                return part == 0 ? offset : "cold\(part > 1 ? String(part) : "")+" + offset
            }
            first += count
        }
        return "?"
    }

    /// The instruction as it is shown: branches within the function by the place they lead to.
    func shown(_ row: Int) -> String {
        guard targets[row] >= 0 else { return readable(text[row]) }
        return text[row].prefix { $0 != " " } + " → " + label(targets[row])
    }

    func place(_ row: Int) -> SourcePlace? {
        let index = lines[row]
        return places.indices.contains(index) ? places[index] : nil
    }

    var touchedLines: Int { places.filter(\.isTouched).count }
}

/// Rows that differ with a few around them, and stretches of equal ones between.
func stretches(_ rows: [ListingRow], around: Int = 4, atLeast: Int = 10) -> [(rows: Range<Int>, isEqual: Bool)] {
    var shown: [Range<Int>] = []
    for index in rows.indices where !rows[index].isEqual {
        let range = max(0, index - around)..<min(rows.count, index + around + 1)
        if let last = shown.last, range.lowerBound <= last.upperBound + atLeast {
            shown[shown.count - 1] = last.lowerBound..<range.upperBound
        } else {
            shown.append(range)
        }
    }
    var all: [(rows: Range<Int>, isEqual: Bool)] = []
    var end = 0
    for range in shown {
        if range.lowerBound > end { all.append((end..<range.lowerBound, true)) }
        all.append((range, false))
        end = range.upperBound
    }
    if end < rows.count { all.append((end..<rows.count, true)) }
    // A short stretch at either end is not worth folding.
    return all.map { ($0.rows, $0.isEqual && $0.rows.count >= atLeast) }
}
