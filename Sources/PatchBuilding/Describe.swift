import Closing
import CodeModel
import Diagnostics
import PatchFormat

/// What the user and the earlier passes know of a patch that its modules don't tell.
struct PatchMetadata {
    var sequence = 0
    /// RFC 3339, UTC; nil keeps the bundle the same for the same inputs.
    var created: String?
    var expires: String?
    var cves: [String] = []
    var requires: [PatchReference] = []
    var supersedes: [PatchReference] = []
    var conflicts: [String] = []
    var consistency: Consistency = .stack
    var decisions: [Decision] = []
    var review: [String] = []
    var groups: [[String]]?
    var provenance = Provenance()
}

/// The manifest of a patch: what `build` knows, as the applier and a reviewer read it. `members` is filled in by
/// `pack`.
func describe(id: String, _ modules: [PatchedTarget], _ metadata: PatchMetadata) -> Manifest {
    var manifest = Manifest(id: id, targets: modules.map(describeTarget))
    manifest.sequence = metadata.sequence
    manifest.created = metadata.created
    manifest.expires = metadata.expires
    manifest.cves = metadata.cves
    manifest.requires = metadata.requires
    manifest.supersedes = metadata.supersedes
    manifest.conflicts = metadata.conflicts
    manifest.consistency = metadata.consistency
    manifest.decisions = metadata.decisions
    manifest.review = metadata.review
    manifest.groups = metadata.groups
    manifest.provenance = metadata.provenance
    return manifest
}

private func describeTarget(_ module: PatchedTarget) -> ManifestTarget {
    ManifestTarget(
        file: module.plan.file, buildID: module.plan.buildID, functions: module.linked.functions,
        bindings: module.linked.bindings, data: module.plan.units.flatMap(dataItems), values: module.values,
        layout: module.linked.layout)
}

/// The data of a unit that travels: its named objects, and sections (literals, jump tables) that hold none. Copies for
/// the original bodies are not listed.
private func dataItems(_ unit: UnitPlan) -> [DataItem] {
    unit.newSections.sorted().flatMap { index -> [DataItem] in
        guard unit.new.sections.indices.contains(index) else { return [] }
        let section = unit.new.sections[index]
        guard section.isAllocated, !section.isExecutable, section.size > 0 else { return [] }
        let writable =
            section.isWritable && !section.name.hasPrefix(".data.rel.ro") && !section.isReferenceWord
        let objects = unit.new.symbols(in: index).filter { $0.kind == .object }
        if objects.isEmpty {
            return [DataItem(name: section.name, object: unit.name, size: section.size, writable: writable)]
        }
        return objects.map { DataItem(name: $0.name, object: unit.name, size: $0.size, writable: writable) }
    }
}
