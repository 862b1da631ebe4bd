import Diagnostics
import PatchBuilding

/// The verdicts about fixes, and the bundle of those that were accepted.
struct SettledFixes: Sendable {
    var verdicts: [FixVerdict]
    var closed: [String] = []
    var open: [String] = []
    var targets: [PackagedTarget] = []
    /// nil where there is nothing to patch, or where a fix was refused and all were asked for.
    var bundle: BuiltBundle?
}

/// What became of a package's fixes, and the bundle.
package struct PackageOutcome: Sendable {
    package var name: String
    package var from: String
    package var to: String?
    package var verdicts: [FixVerdict]
    package var targets: [PackagedTarget]
    package var closed: [String]
    package var open: [String]
    package var notes: [String]
    /// Where the bundle goes.
    package var path = ""
    /// nil where there is none.
    package var bytes: [UInt8]?

    init(name: String, from: String, to: String?, _ settled: SettledFixes) {
        self.name = name
        self.from = from
        self.to = to
        verdicts = settled.verdicts
        targets = settled.targets
        closed = settled.closed
        open = settled.open
        notes = settled.bundle?.notes ?? []
        bytes = settled.bundle?.bytes
    }
}

/// The outcome as `package --json` prints it.
package struct PackageReport: Encodable, Sendable {
    private let outcome: PackageOutcome

    package init(_ outcome: PackageOutcome) { self.outcome = outcome }

    private enum Key: String, CodingKey {
        case bundle, package, from, to, diffs, targets, closed, open, notes, refused
    }

    package func encode(to encoder: any Encoder) throws {
        var object = encoder.container(keyedBy: Key.self)
        // null where there is none.
        try object.encode(outcome.bytes == nil ? nil : outcome.path, forKey: .bundle)
        try object.encode(outcome.name, forKey: .package)
        try object.encode(outcome.from, forKey: .from)
        try object.encode(outcome.to, forKey: .to)
        try object.encode(outcome.verdicts, forKey: .diffs)
        try object.encode(outcome.targets, forKey: .targets)
        try object.encode(outcome.closed, forKey: .closed)
        try object.encode(outcome.open, forKey: .open)
        try object.encode(outcome.notes, forKey: .notes)
        if outcome.bytes == nil { try object.encode(outcome.refusals, forKey: .refused) }
    }
}

extension PackageOutcome {
    /// Why there is no bundle.
    package var refusals: [Refusal] {
        let refused = verdicts.flatMap(\.refused)
        guard refused.isEmpty else { return refused }
        let why = Set(verdicts.compactMap(\.why)).sorted().joined(separator: "; ")
        return [Refusal(.nothingToPatch, subject: name, why: why.isEmpty ? "no fix changes anything" : why)]
    }

    /// Made for reading.
    package var text: String {
        var lines = ["\(name) \(from)" + (to.map { ", fixes of \($0)" } ?? "")]
        lines += verdicts.flatMap(lines(of:))
        lines += targets.map { "target: \($0.file) of \($0.package) (build-id \($0.buildID))" }
        if !closed.isEmpty, bytes != nil { lines.append("closes: " + closed.joined(separator: ", ")) }
        if !open.isEmpty { lines.append("stays open: " + open.joined(separator: ", ")) }
        let unread = notes.filter { $0.hasSuffix(Self.notPart) }
        lines += notes.filter { !$0.hasSuffix(Self.notPart) }.map { "note: \($0)" }
        if !unread.isEmpty { lines.append("note: \(unread.count) of the touched files have no part in what was built") }
        return lines.joined(separator: "\n")
    }

    private func lines(of verdict: FixVerdict) -> [String] {
        let isNamed = verdict.cves.allSatisfy(verdict.name.contains)
        let cves = isNamed ? "" : " (\(verdict.cves.joined(separator: ", ")))"
        let line = "  \(verdict.verdict.words)  \(verdict.name)\(cves)" + (verdict.why.map { ": \($0)" } ?? "")
        if let first = verdicts.first(where: { $0.refused == verdict.refused }), first != verdict,
            !first.refused.isEmpty
        {
            return [line, "      with \(first.name), as a fix of the same CVE"]
        }
        let shown = verdict.refused.prefix(4).flatMap { $0.description.split(separator: "\n").map { "      " + $0 } }
        let more = verdict.refused.count - 4
        return [line] + shown + (more > 0 ? ["      and \(more) more findings; --json has them all"] : [])
    }

    /// The ending of a note on test data and the like, of which a fix may have many.
    private static let notPart = ": not compiled (nothing that was linked has read it)"
}

extension FixVerdict.Verdict {
    fileprivate var words: String {
        switch self {
        case .patched: "patched         "
        case .nothingToPatch: "nothing to patch"
        case .refused: "refused         "
        }
    }
}
