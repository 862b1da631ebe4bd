import Diagnostics
import PatchBuilding
import PatchFormat

/// What became of one fix.
package struct FixVerdict: Sendable, Hashable, Codable {
    package enum Verdict: String, Sendable, Codable {
        case patched
        case nothingToPatch = "nothing-to-patch"
        case refused
    }

    package var name: String
    package var cves: [String]
    package var verdict: Verdict
    package var refused: [Refusal]
    /// Why there is nothing to patch.
    package var why: String?
}

/// How a try to build a bundle of some fixes ended.
enum Attempt: Sendable {
    case built(BuiltBundle)
    /// They change nothing in the targets.
    case nothing([Refusal])
    case refused([Refusal])
}

/// The fixes that make a bundle together, and those that are refused.
struct Settlement: Sendable {
    /// In their order; all of them are in the bundle's source, whether they do something there or not.
    var accepted: [Fix] = []
    /// The bundle of the accepted fixes; nil where they do nothing.
    var bundle: BuiltBundle?
    var refused: [(fix: Fix, refusals: [Refusal])] = []
    /// Why an accepted fix does nothing, where it was tried alone.
    var idle: [String: String] = [:]
}

/// Finds as many fixes as make a bundle together: all at once, else half by half, so that few refused ones among many cost
/// few tries. The fixes of one CVE go in together or not at all. What was accepted has been built as a whole, whatever the
/// order of the tries was.
///
/// - Parameter attempt: builds a bundle of some fixes; is given them in their order.
func settle(_ fixes: [Fix], attempt: ([Fix]) async throws -> Attempt) async throws -> Settlement {
    var settlement = Settlement()
    var open = [groups(of: fixes)]
    while let next = open.popLast(), !next.isEmpty {
        let added = Set(next.joined())
        let tried = fixes.filter { added.contains($0) || settlement.accepted.contains($0) }
        switch try await attempt(tried) {
        case .built(let bundle):
            settlement.accepted = tried
            settlement.bundle = bundle
        case .nothing(let refusals):
            settlement.accepted = tried
            settlement.bundle = nil
            for fix in added { settlement.idle[fix.name] = refusals.first?.why }
        case .refused(let refusals) where next.count == 1:
            settlement.refused += next[0].map { ($0, refusals) }
        case .refused:
            let half = next.count / 2
            open += [Array(next[half...]), Array(next[..<half])]
        }
    }
    return settlement
}

/// Fixes that share a CVE, directly or through others, in the order of the first of each.
func groups(of fixes: [Fix]) -> [[Fix]] {
    var groups: [[Fix]] = []
    for fix in fixes {
        let shares = { (group: [Fix]) in group.contains { !Set($0.cves).isDisjoint(with: fix.cves) } }
        guard let first = groups.firstIndex(where: shares) else {
            groups.append([fix])
            continue
        }
        let all = groups.filter(shares).flatMap { $0 } + [fix]
        groups[first] = fixes.filter(all.contains)
        groups = groups.enumerated().filter { $0.offset <= first || !shares($0.element) }.map(\.element)
    }
    return groups
}

/// The CVEs that a bundle closes, and those that stay open: a CVE is closed when all that is known of its fixes is in the
/// bundle, or does nothing there, and one of them does something.
///
/// - Parameter others: fixes of the same update that were not asked for.
func closedAndOpen(_ verdicts: [FixVerdict], others: [Fix]) -> (closed: [String], open: [String]) {
    var (closed, open): ([String], [String]) = ([], [])
    for cve in Set(verdicts.flatMap(\.cves)).sorted() {
        let fixes = verdicts.filter { $0.cves.contains(cve) }
        let isWhole = !fixes.contains { $0.verdict == .refused } && !others.contains { $0.cves.contains(cve) }
        if !isWhole {
            open.append(cve)
        } else if fixes.contains(where: { $0.verdict == .patched }) {
            closed.append(cve)
        }
    }
    return (closed, open)
}
