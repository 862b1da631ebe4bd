import PatchFormat

/// A bundle as an in-toto Statement (v1) with SLSA provenance (v1) as its predicate, for tools that collect such.
///
/// Subjects are the bundle, its manifest, and every module. The bundle's digest is that of the file before anybody signed
/// it, as `patchbuild build` wrote it: a signature that is added changes the file and nothing that it says. The manifest's
/// digest holds for the signed file too, and lists every other member.
public struct InTotoStatement: Encodable, Sendable {
    /// What `buildDefinition` means, see Documentation/formats.md.
    public static let buildType = "urn:patchbuild:bundle:1"
    public static let builderID = "urn:patchbuild:builder"

    struct Resource: Encodable, Sendable {
        var name: String
        var uri: String?
        var digest: [String: String]?
        var mediaType: String?
    }

    struct Predicate: Encodable, Sendable {
        var buildDefinition: BuildDefinition
        var runDetails: RunDetails
    }

    struct BuildDefinition: Encodable, Sendable {
        var buildType = InTotoStatement.buildType
        var externalParameters: ExternalParameters
        var internalParameters: InternalParameters
        var resolvedDependencies: [Resource]
    }

    /// What the developer asked for.
    struct ExternalParameters: Encodable, Sendable {
        var id: String
        var sequence: Int
        var created: String?
        var expires: String?
        var cves: [String]
        /// SHA-256, in the order in which they were applied.
        var diffs: [String]
        var decisions: [Decision]
    }

    /// What patchbuild decided.
    struct InternalParameters: Encodable, Sendable {
        var formatVersion: String
        var consistency: Consistency
        /// Build-ids of the targets that switch together, where that is not all of them.
        var groups: [[String]]?
        /// The recorded compile commands that were repeated.
        var commands: [String]
    }

    struct RunDetails: Encodable, Sendable {
        var builder: Builder
        /// What was made beside the subjects.
        var byproducts: [Resource]
    }

    struct Builder: Encodable, Sendable {
        var id = InTotoStatement.builderID
        /// Versions of patchbuild, the compilers and the linker, each as it calls itself.
        var version: [String: String]
    }

    var _type = "https://in-toto.io/Statement/v1"
    var subject: [Resource]
    var predicateType = "https://slsa.dev/provenance/v1"
    var predicate: Predicate

    /// - Throws: `Refusal` where the bundle can't be written without its signatures.
    public init(_ bundle: Bundle) throws {
        let (manifest, provenance) = (bundle.manifest, bundle.manifest.provenance)
        let review = manifest.members.filter { member in !manifest.targets.contains { $0.module == member.name } }
        subject = try Self.subjects(bundle)
        predicate = Predicate(
            buildDefinition: BuildDefinition(
                externalParameters: ExternalParameters(
                    id: manifest.id, sequence: manifest.sequence, created: manifest.created, expires: manifest.expires,
                    cves: manifest.cves, diffs: provenance.diffDigests, decisions: manifest.decisions),
                internalParameters: InternalParameters(
                    formatVersion: manifest.formatVersion, consistency: manifest.consistency,
                    groups: manifest.groups, commands: provenance.commands),
                resolvedDependencies: Self.dependencies(manifest)),
            runDetails: RunDetails(
                builder: Builder(version: Self.versions(provenance)), byproducts: review.map(Self.resource)))
    }

    private static func subjects(_ bundle: Bundle) throws -> [Resource] {
        let manifest = bundle.manifest
        let modules = manifest.members.filter { member in manifest.targets.contains { $0.module == member.name } }
        return [
            sha256("\(manifest.id).lpatch", try bundle.unsignedDigest()),
            sha256("manifest.json", bundle.manifestDigest),
        ] + modules.map(resource)
    }

    private static func resource(_ member: MemberDigest) -> Resource { sha256(member.name, member.digest) }

    private static func sha256(_ name: String, _ digest: String, uri: String? = nil, mediaType: String? = nil)
        -> Resource
    {
        Resource(name: name, uri: uri, digest: ["sha256": digest], mediaType: mediaType)
    }

    /// What went into the build: the source's touched files, diffs or objects, targets, and bundles that it builds on.
    private static func dependencies(_ manifest: Manifest) -> [Resource] {
        let provenance = manifest.provenance
        var resources: [Resource] = []
        if !provenance.sourceDigest.isEmpty { resources.append(sha256("source", provenance.sourceDigest)) }
        resources += provenance.diffDigests.enumerated().map { number, digest in
            sha256("diff \(number + 1)", digest, mediaType: "text/x-diff")
        }
        resources += (provenance.objects ?? []).flatMap { object in
            [sha256("original \(object.name)", object.originalDigest), sha256("new \(object.name)", object.newDigest)]
        }
        resources += manifest.targetInputs.map { input in
            Resource(
                name: input.file, uri: "urn:gnu-build-id:\(input.buildID)",
                digest: input.digest.map { ["sha256": $0] })
        }
        return resources
            + (manifest.requires + manifest.supersedes).map { sha256("manifest.json of \($0.id)", $0.manifestDigest) }
    }

    private static func versions(_ provenance: Provenance) -> [String: String] {
        var versions: [String: String] = [:]
        if let builder = provenance.builderVersion { versions[builder.name] = builder.version }
        versions["linker"] = provenance.linker
        for (number, compiler) in provenance.compilers.enumerated() {
            versions[number == 0 ? "compiler" : "compiler \(number + 1)"] = compiler
        }
        return versions
    }
}
