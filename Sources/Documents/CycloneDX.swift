import PatchFormat

/// A bundle as a CycloneDX 1.6 bill of materials: the bundle, and a component for each module whose pedigree names the
/// target that it changes and the CVEs that the change closes.
///
/// It makes no statement of vulnerability (VEX): whether a host is fixed depends on the memory of its processes, not on a
/// file. So there is no `vulnerabilities` here, and CVEs stand in `pedigree.patches.resolves` only.
public struct CycloneDX: Encodable, Sendable {
    struct Metadata: Encodable, Sendable {
        var timestamp: String?
        var tools: Tools?
        var component: Component
    }

    struct Tools: Encodable, Sendable {
        var components: [Component]
    }

    struct Component: Encodable, Sendable {
        var type: String
        var bomRef: String?
        var name: String
        var version: String?
        var description: String?
        var hashes: [Hash]?
        var pedigree: Pedigree?
        var properties: [Property]?

        enum CodingKeys: String, CodingKey {
            case type, name, version, description, hashes, pedigree, properties
            case bomRef = "bom-ref"
        }
    }

    struct Hash: Encodable, Sendable {
        var alg = "SHA-256"
        var content: String
    }

    struct Pedigree: Encodable, Sendable {
        var ancestors: [Component]
        var patches: [Patch]?
    }

    struct Patch: Encodable, Sendable {
        /// The specification's word for what changes a program at run time.
        var type = "monkey"
        var resolves: [Issue]
    }

    struct Issue: Encodable, Sendable {
        var type = "security"
        var id: String
    }

    struct Property: Encodable, Sendable {
        var name: String
        var value: String
    }

    struct Dependency: Encodable, Sendable {
        var ref: String
        var dependsOn: [String]
    }

    var schema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
    var bomFormat = "CycloneDX"
    var specVersion = "1.6"
    var serialNumber: String
    var version = 1
    var metadata: Metadata
    var components: [Component]
    var dependencies: [Dependency]

    enum CodingKeys: String, CodingKey {
        case bomFormat, specVersion, serialNumber, version, metadata, components, dependencies
        case schema = "$schema"
    }

    /// - Throws: `Refusal` where the bundle can't be written without its signatures.
    public init(_ bundle: Bundle) throws {
        let manifest = bundle.manifest
        serialNumber = "urn:uuid:" + Self.uuid(bundle.manifestDigest)
        metadata = Metadata(
            timestamp: manifest.created,
            tools: manifest.provenance.builderVersion.map { builder in
                Tools(components: [Component(type: "application", name: builder.name, version: builder.version)])
            },
            component: Component(
                type: "file", bomRef: "bundle", name: "\(manifest.id).lpatch", description: Self.summary(manifest),
                hashes: [Hash(content: try bundle.unsignedDigest())], properties: Self.properties(bundle)))
        components = manifest.targets.map { Self.module($0, of: manifest) }
        dependencies = [Dependency(ref: "bundle", dependsOn: components.compactMap(\.bomRef))]
    }

    private static func module(_ target: ManifestTarget, of manifest: Manifest) -> Component {
        let digest = manifest.members.first { $0.name == target.module }?.digest
        let changed = target.functions.filter { $0.change == .changed }
        let patches = manifest.cves.isEmpty ? nil : [Patch(resolves: manifest.cves.map { Issue(id: $0) })]
        return Component(
            type: "file", bomRef: target.module, name: target.module,
            description: "replaces \(changed.count) functions of \(target.file)",
            hashes: digest.map { [Hash(content: $0)] },
            pedigree: Pedigree(ancestors: [ancestor(target, of: manifest)], patches: patches),
            properties: changed.map { Property(name: "patchbuild:replaces", value: $0.name) })
    }

    /// The file that is patched, as it is on disk.
    private static func ancestor(_ target: ManifestTarget, of manifest: Manifest) -> Component {
        let input = manifest.targetInputs.first { $0.buildID == target.buildID }
        return Component(
            type: "file", name: target.file, hashes: input?.digest.map { [Hash(content: $0)] },
            properties: [Property(name: "patchbuild:build-id", value: target.buildID)])
    }

    private static func summary(_ manifest: Manifest) -> String {
        let files = manifest.targets.map(\.file).joined(separator: ", ")
        return "live patch of running processes that map \(files)"
    }

    private static func properties(_ bundle: Bundle) -> [Property] {
        let (manifest, provenance) = (bundle.manifest, bundle.manifest.provenance)
        var pairs = [("manifest-sha256", bundle.manifestDigest), ("sequence", "\(manifest.sequence)")]
        pairs += manifest.expires.map { [("expires", $0)] } ?? []
        pairs += manifest.decisions.map { ("decision", "\($0.rule)=\($0.subject): \($0.why)") }
        if !provenance.sourceDigest.isEmpty { pairs.append(("source-sha256", provenance.sourceDigest)) }
        pairs += provenance.diffDigests.map { ("diff-sha256", $0) }
        pairs += provenance.compilers.map { ("compiler", $0) }
        pairs += provenance.linker.map { [("linker", $0)] } ?? []
        pairs += manifest.requires.map { ("requires", "\($0.id) \($0.manifestDigest)") }
        pairs += manifest.supersedes.map { ("supersedes", "\($0.id) \($0.manifestDigest)") }
        return pairs.map { Property(name: "patchbuild:" + $0.0, value: $0.1) }
    }

    /// A UUID of version 8 (RFC 9562: for uses of one's own) that the manifest decides: the same bundle, the same number.
    private static func uuid(_ manifestDigest: String) -> String {
        var digits = Array(Digest.sha256(Array("cyclonedx \(manifestDigest)".utf8)).utf8.prefix(32))
        guard digits.count == 32 else { return "" }
        digits[12] = UInt8(ascii: "8")
        digits[16] = UInt8(ascii: "a")
        let groups = [digits[0..<8], digits[8..<12], digits[12..<16], digits[16..<20], digits[20..<32]]
        return groups.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "-")
    }
}
