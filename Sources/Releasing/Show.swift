import Diagnostics
import PatchFormat

/// What `patchbuild show` prints.
package enum Show {
    /// The manifest's own JSON: it has the shape that the command promises.
    package static func json(_ bundle: Bundle) -> String { String(decoding: bundle.manifestBytes, as: UTF8.self) }

    /// The same for a reader who decides whether to apply it.
    package static func text(_ bundle: Bundle) -> String {
        let manifest = bundle.manifest
        let sections = [head(bundle), provenance(manifest.provenance)] + manifest.targets.map(target)
        return sections.filter { !$0.isEmpty }.map { $0.map(onOneLine).joined(separator: "\n") }
            .joined(separator: "\n\n") + "\n"
    }

    private static func head(_ bundle: Bundle) -> [String] {
        let manifest = bundle.manifest
        var lines = [field("patch", manifest.id), field("manifest", "sha256 \(bundle.manifestDigest)")]
        lines.append(field("sequence", "\(manifest.sequence)"))
        if !manifest.cves.isEmpty { lines.append(field("fixes", manifest.cves.joined(separator: ", "))) }
        if let created = manifest.created { lines.append(field("created", created)) }
        if let expires = manifest.expires { lines.append(field("expires", expires)) }
        lines += manifest.requires.map { field("requires", "\($0.id) (\($0.manifestDigest.prefix(16)))") }
        lines += manifest.supersedes.map { field("supersedes", "\($0.id) (\($0.manifestDigest.prefix(16)))") }
        if !manifest.conflicts.isEmpty { lines.append(field("conflicts", manifest.conflicts.joined(separator: ", "))) }
        lines.append(field("switches", consistency(manifest.consistency)))
        lines += describeGroups(manifest).map { field("targets", $0) }
        lines += manifest.decisions.map { field("allowed", "\($0.rule)=\($0.subject): \($0.why)") }
        lines += manifest.review.map { field("review", $0) }
        let signers = bundle.signatures.keys.sorted().map { $0.dropFirst("signatures/".count).dropLast(4) }
        lines.append(
            field("signatures", signers.isEmpty ? "none" : signers.joined(separator: ", ") + " (not verified here)"))
        return lines
    }

    private static func consistency(_ consistency: Consistency) -> String {
        switch consistency {
        case .stack: "when no thread is inside a replaced function"
        case .entry: "for new calls; calls in progress finish in the old code"
        }
    }

    private static func provenance(_ provenance: Provenance) -> [String] {
        var lines = provenance.compilers.map { field("compiler", $0) }
        if !provenance.sourceDigest.isEmpty { lines.append(field("source", "sha256 \(provenance.sourceDigest)")) }
        return lines + provenance.diffDigests.map { field("diff", "sha256 \($0)") }
    }

    private static func target(_ target: ManifestTarget) -> [String] {
        var lines = ["\(target.file)  build-id \(target.buildID)"]
        lines.append("  \(target.functions.count) functions:")
        lines += target.functions.flatMap(function)
        if !target.data.isEmpty {
            let bytes = target.data.reduce(UInt64(0)) { $0 &+ $1.size }
            lines.append("  new data, \(bytes) bytes:")
            lines += target.data.map {
                "    \($0.name)  \($0.size) bytes\($0.writable ? ", writable" : "")  [\($0.object)]"
            }
        }
        if !target.values.isEmpty { lines.append("  values, written where memory holds the original ones:") }
        lines += target.values.map {
            "    \($0.name)  at 0x\(String($0.address, radix: 16)), \($0.original) becomes \($0.new)"
        }
        if !target.bindings.isEmpty { lines.append("  bound to:") }
        lines += target.bindings.map { "    \(binding($0))" }
        return lines + ["  module: \(target.layout.memorySize) bytes, which stay in memory once active"]
    }

    private static func function(_ function: PatchedFunction) -> [String] {
        var lines = [
            "    \(function.name)  \(function.change.rawValue)  [\(function.object)]", "      \(function.reason)",
        ]
        guard let original = function.original else { return lines }
        var place = "      at 0x\(String(original.range.address, radix: 16)), \(original.range.size) bytes"
        place += ", \(original.entry.kind.rawValue) entry"
        if !original.coldRanges.isEmpty { place += ", with a cold half" }
        if original.abiCoupled { place += ", coupled to its callers" }
        if !original.aliases.isEmpty { place += ", also known as \(original.aliases.joined(separator: ", "))" }
        lines.append(place)
        return lines
    }

    private static func binding(_ binding: Binding) -> String {
        let address = "0x" + String(binding.address, radix: 16)
        let name = binding.symbol.isEmpty ? address : binding.symbol
        switch binding.kind {
        case .target: return "\(name)  target, \(address)"
        case .slot: return "\(name)  as the target's slot at \(address) holds it"
        case .imported:
            let version = (binding.version.map { "@\($0)" } ?? "") + (binding.library.map { " of \($0)" } ?? "")
            return "\(name)\(version)  library\(binding.weak ? ", may be absent" : "")"
        case .threadLocal: return "\(name)  thread-local, offset \(address)"
        case .module: return "\(name)  this module, \(address)"
        }
    }

    private static func field(_ name: String, _ value: String) -> String {
        name + String(repeating: " ", count: max(1, 12 - name.utf8.count)) + value
    }
}
