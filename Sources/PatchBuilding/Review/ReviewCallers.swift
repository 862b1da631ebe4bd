import Closing
import ObjectFiles
import PatchFormat
import Reviewing
import Targets

extension ReviewWriter {
    /// Who calls each replaced function in the target, and who calls those.
    func addCallers(to functions: inout [ReviewFunction], _ target: ReviewedTarget) {
        let entries = target.plan.functions.map { $0.description.original?.range.address }
        var search = CallerSearch(target.image)
        let direct = search.references(to: Set(entries.compactMap(\.self)))
        let shown = direct.mapValues { shownCallers($0, search.holders) }
        let above = search.references(to: Set(shown.values.joined().map { search.holders[$0].start }))
        let data = addressesInData(of: Set(entries.compactMap(\.self)), target.image)
        for (index, entry) in entries.enumerated() {
            guard let entry, let found = direct[entry] ?? (data[entry] != nil ? CallerSearch.Found() : nil) else {
                continue
            }
            functions[index].callers = shown[entry, default: []].map { holder in
                let callers = above[search.holders[holder].start].map { shownCallers($0, search.holders) } ?? []
                return Caller(
                    name: search.holders[holder].name, sites: found.calls[holder] ?? 0,
                    callers: names(callers.filter { $0 != holder }.prefix(8), search.holders))
            }
            functions[index].moreCallers =
                found.calls.count + found.unchecked.count - functions[index].callers.count
            let takers = names(found.takes.sorted().prefix(24), search.holders)
            functions[index].addressTaken = takers.map { "code of \($0)" } + data[entry, default: []]
        }
    }

    private func shownCallers(_ found: CallerSearch.Found, _ holders: [CallerSearch.Holder]) -> [Int] {
        Array(found.calls.keys.sorted { (holders[$0].name, $0) < (holders[$1].name, $1) }.prefix(24))
    }

    /// Two functions of one name (statics) stand there once.
    private func names(_ found: some Sequence<Int>, _ holders: [CallerSearch.Holder]) -> [String] {
        Set(found.map { holders[$0].name }).sorted()
    }

    /// Words of the target's data that hold one of these addresses, by the name of the datum.
    private func addressesInData(of entries: Set<UInt64>, _ target: TargetImage) -> [UInt64: [String]] {
        var places = target.relativeValueAt.filter { entries.contains($0.value) }.map { ($0.key, $0.value) }
        let exported = Dictionary(
            target.exports.values.filter { entries.contains($0.value) }.map { ($0.name, $0.value) }
        ) { first, _ in first }
        places += target.symbolicNameAt.compactMap { place, name in
            target.slotNames[place] == nil ? exported[name].map { (place, $0) } : nil
        }
        guard !places.isEmpty else { return [:] }
        let objects = target.symbolFile.symbols.filter { $0.kind == .object && $0.size > 0 }
        var found: [UInt64: Set<String>] = [:]
        for (place, entry) in places where found[entry, default: []].count < 24 {
            let holder = objects.first { place >= $0.value && place - $0.value < $0.size }
            let section = target.file.sections.first {
                $0.isAllocated && place >= $0.address && place - $0.address < $0.size
            }
            found[entry, default: []].insert(
                "data: " + (holder.map { VersionedName($0.name).base } ?? section?.name ?? "unknown"))
        }
        return found.mapValues { $0.sorted() }
    }
}
