import Diagnostics

/// A `.lpatch` file: a ustar archive of `manifest.json`, `modules/<build-id>.so` in the order of the manifest's
/// targets, perhaps `review.json`, and `signatures/*.sig` sorted by name.
///
/// A value of this type has been checked: members are exactly those the manifest lists, with their digests, and the
/// manifest has passed `Manifest.validate()`. Signatures are not verified by reading.
public struct Bundle: Sendable {
    public var manifest: Manifest
    /// The bytes that signatures are made over.
    public var manifestBytes: [UInt8]
    /// SHA-256 of `manifestBytes`: with the id, the patch's identity (trap same-id).
    public var manifestDigest: String
    /// By member name, as in `ManifestTarget.module`.
    public var modules: [String: [UInt8]]
    /// What a reviewer wants to see, and no applier needs: the diffs, and the code before and after.
    public var review: [UInt8]?
    /// By member name: `signatures/alice.sig`.
    public var signatures: [String: [UInt8]]

    /// Larger files are not read.
    public static let maximumSize = 256 << 20
    static let manifestName = "manifest.json"
    static let reviewName = "review.json"

    /// The reference by which another patch names this one.
    public var reference: PatchReference { PatchReference(id: manifest.id, manifestDigest: manifestDigest) }

    /// Reads the file once; everything later uses the bytes that were checked.
    /// - Throws: `Refusal` of rule bad-bundle or format-version, with the offset of what is wrong.
    public static func read(path: String) throws -> Bundle {
        try SealedBundle.read(path: path).open()
    }

    /// - Parameter name: what to call the bundle in a refusal.
    /// - Throws: `Refusal` of rule bad-bundle or format-version, with the offset of what is wrong.
    public static func parse(_ bytes: [UInt8], name: String = "bundle") throws -> Bundle {
        try SealedBundle.split(bytes, name: name).open()
    }

    /// Everything that `SealedBundle.split` has not judged.
    static func open(_ members: [ArchiveMember]) throws(FormatError) -> Bundle {
        guard let first = members.first, first.name == manifestName else {
            throw FormatError(why: "the first member is not \(manifestName)", offset: 0)
        }
        let manifest = try ManifestCoding.decode(first.bytes, at: Ustar.blockSize)
        let listed = Array(members.dropFirst().prefix(manifest.members.count))
        try checkListed(listed, manifest)
        let modules = listed.prefix(manifest.targets.count)
        let signatures = Array(members.dropFirst(1 + listed.count))
        try checkSignatureNames(signatures)
        return Bundle(
            manifest: manifest, manifestBytes: first.bytes, manifestDigest: Digest.sha256(first.bytes),
            modules: Dictionary(uniqueKeysWithValues: modules.map { ($0.name, $0.bytes) }),
            review: listed.dropFirst(modules.count).first?.bytes,
            signatures: Dictionary(uniqueKeysWithValues: signatures.map { ($0.name, $0.bytes) }))
    }

    /// The manifest's `members` are known to be the targets' modules, in order, and perhaps what a reviewer sees.
    private static func checkListed(_ members: [ArchiveMember], _ manifest: Manifest) throws(FormatError) {
        guard members.count == manifest.members.count else {
            throw FormatError(why: "a member that the manifest lists is missing", offset: members.last?.offset ?? 0)
        }
        for (member, expected) in zip(members, manifest.members) {
            guard member.name == expected.name else {
                throw FormatError(why: "expected the member \(expected.name)", offset: member.offset)
            }
            guard member.bytes.count == expected.size, Digest.sha256(member.bytes) == expected.digest else {
                throw FormatError(
                    why: "\(member.name) is not the file that the manifest lists: size or digest differs",
                    offset: member.offset)
            }
        }
    }

    private static func checkSignatureNames(_ signatures: [ArchiveMember]) throws(FormatError) {
        var previous = ""
        for signature in signatures {
            guard isSignatureName(signature.name) else {
                throw FormatError(why: "a member that has no place in a bundle", offset: signature.offset)
            }
            guard previous.utf8.lexicographicallyPrecedes(signature.name.utf8) else {
                throw FormatError(why: "signatures are not sorted by name", offset: signature.offset)
            }
            previous = signature.name
        }
    }

    /// `signatures/NAME.sig`, NAME of letters, digits and `._@+-`, not starting with a dot.
    public static func isSignatureName(_ name: String) -> Bool {
        guard name.hasPrefix("signatures/"), name.hasSuffix(".sig"), name.utf8.count <= Ustar.maximumName else {
            return false
        }
        let stem = name.dropFirst("signatures/".count).dropLast(".sig".count)
        return !stem.isEmpty && !stem.hasPrefix(".")
            && stem.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._@+-".contains($0)) }
    }

    // MARK: Writing

    /// The bundle of `manifest`, `modules` (by member name) and `review`. `manifest.members` is computed here. The same
    /// input gives the same bytes.
    /// - Throws: `Refusal` if the manifest is not valid or a target's module is missing.
    public static func write(manifest: Manifest, modules: [String: [UInt8]], review: [UInt8]? = nil) throws -> [UInt8] {
        var manifest = manifest
        let listed =
            manifest.targets.map { ($0.module, modules[$0.module] ?? []) } + (review.map { [(reviewName, $0)] } ?? [])
        manifest.members = listed.map { MemberDigest(name: $0, size: $1.count, digest: Digest.sha256($1)) }
        return try write(manifestBytes: try ManifestCoding.encode(manifest), modules: modules, review: review)
    }

    /// The archive of these members, read back and checked: nothing is written that would be refused.
    public static func write(
        manifestBytes: [UInt8], modules: [String: [UInt8]], review: [UInt8]? = nil, signatures: [String: [UInt8]] = [:]
    ) throws -> [UInt8] {
        let names = try Manifest.decode(manifestBytes).targets.map(\.module)
        var members = [ArchiveMember(name: manifestName, bytes: manifestBytes)]
        members += names.map { ArchiveMember(name: $0, bytes: modules[$0] ?? []) }
        if let review { members.append(ArchiveMember(name: reviewName, bytes: review)) }
        let sorted = signatures.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        members += sorted.map { ArchiveMember(name: $0, bytes: signatures[$0] ?? []) }
        let archive = Ustar.write(members)
        _ = try parse(archive)
        return archive
    }

    /// The same bundle with these signatures; the manifest's bytes stay as they are.
    public func write(signatures: [String: [UInt8]]) throws -> [UInt8] {
        try Self.write(manifestBytes: manifestBytes, modules: modules, review: review, signatures: signatures)
    }
}
