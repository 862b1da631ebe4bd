import Closing
import PatchFormat

/// The bundle: an archive of the manifest, the modules and what a reviewer wants to see, checked as `livepatch` will check it.
/// - Throws: `Refusal` of rule bad-bundle when the manifest breaks a rule of the format.
func pack(_ manifest: Manifest, _ modules: [LinkedModule], review: [UInt8]? = nil) throws -> [UInt8] {
    let named = zip(manifest.targets, modules).map { ($0.module, $1.bytes) }
    return try Bundle.write(manifest: manifest, modules: Dictionary(named) { first, _ in first }, review: review)
}

/// Describes and packs.
/// - Returns: the manifest as it stands in the bundle, and the bundle's bytes.
func makeBundle(
    id: String, modules: [PatchedTarget], metadata: PatchMetadata,
    review: [UInt8]? = nil
) throws -> (manifest: Manifest, bytes: [UInt8]) {
    let bytes = try pack(describe(id: id, modules, metadata), modules.map(\.linked), review: review)
    return (try Bundle.parse(bytes).manifest, bytes)
}
