import Diagnostics
import Glibc
import PatchFormat
import ProcessControl
import Signatures

/// The highest sequence that was applied on this host, for each patch id and build of a target (trap downgrade).
///
/// A small text file of lines `BUILD-ID SEQUENCE ID`. Sequence 0 is that of bundles without a number, and is not
/// remembered. Nothing here is asked for when a patch is taken back.
struct SequenceStore {
    let place: TrustedPlace

    init(_ place: TrustedPlace) { self.place = place }

    static let path = "/var/lib/livepatch/sequences"
    private static let directory = ["var", "lib", "livepatch"]
    private static let name = "sequences"

    struct Key: Hashable {
        var buildID: String
        var id: String
    }

    /// Whether the bundle is older than one that was applied, and that is not allowed.
    func refusals(_ manifest: Manifest, _ claims: TrustClaims, _ policy: Policy) throws -> [Refusal] {
        let bytes = try place.read(Self.path)
        return refusals(manifest, try bytes.map(parse) ?? [:], claims, policy)
    }

    private func refusals(
        _ manifest: Manifest, _ known: [Key: Int], _ claims: TrustClaims, _ policy: Policy
    ) -> [Refusal] {
        if claims.allowRollback, policy.allowsRollback { return [] }
        let newer = manifest.targets.compactMap { known[Key(buildID: $0.buildID, id: manifest.id)] }.max() ?? 0
        guard newer > manifest.sequence else { return [] }
        let remedy =
            policy.allowsRollback
            ? "apply the bundle with sequence \(newer), or pass --allow-rollback"
            : "apply the bundle with sequence \(newer); the policy does not permit --allow-rollback"
        return [
            Refusal(
                .rollback, subject: manifest.id,
                why: "its sequence is \(manifest.sequence), and sequence \(newer) has been applied on this host",
                remedy: remedy)
        ]
    }

    private func require(_ refusals: [Refusal]) throws {
        if !refusals.isEmpty { throw Refusals(refusals) }
    }

    /// Root remembers; whoever is not root is held to what root has remembered.
    /// - Throws: `Refusal` for a rollback, or where the file can't be written; `Busy` when the time is over.
    func record(_ manifest: Manifest, _ claims: TrustClaims, _ policy: Policy, until end: UInt64) throws {
        guard geteuid() == place.owner, manifest.sequence > 0 else {
            return try require(try refusals(manifest, claims, policy))
        }
        guard let directory = try place.directory(Self.directory, creates: true) else { throw cantWrite("it is gone") }
        // The lock ends with its descriptor.
        let lock = try lock(directory, until: end)
        defer { withExtendedLifetime(lock) {} }
        let before = try place.read(Self.name, in: directory, Self.path).map(parse) ?? [:]
        try require(refusals(manifest, before, claims, policy))
        var known = before
        for target in manifest.targets {
            let key = Key(buildID: target.buildID, id: manifest.id)
            known[key] = max(known[key] ?? 0, manifest.sequence)
        }
        if known != before { try write(text(known), in: directory) }
    }

    // MARK: The text

    private func parse(_ bytes: [UInt8]) throws -> [Key: Int] {
        var known: [Key: Int] = [:]
        for (index, line) in bytes.split(separator: 0x0a).enumerated() {
            let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            guard parts.count == 3, let sequence = Int(parts[1]), sequence > 0,
                known.updateValue(sequence, forKey: Key(buildID: parts[0], id: parts[2])) == nil
            else {
                throw Refusal(
                    .untrustedConfiguration, subject: "\(Self.path), line \(index + 1)",
                    why: "the line is not BUILD-ID SEQUENCE ID, or stands twice",
                    remedy: "correct line \(index + 1) of \(Self.path), or remove it")
            }
        }
        return known
    }

    private func text(_ known: [Key: Int]) -> [UInt8] {
        let lines = known.map { key, sequence in "\(key.buildID) \(sequence) \(key.id)\n" }
        return Array(lines.sorted().joined().utf8)
    }

    // MARK: The file

    private func cantWrite(_ why: String) -> Refusal {
        Refusal(
            .rollback, subject: Self.path, why: "can't remember the bundle's sequence: \(why)",
            remedy: "make room on the file system of \(Self.path), and let root write there")
    }

    private func reason() -> String { String(cString: strerror(errno)) }

    /// Of a file that only root can open, so that nobody else can hold it.
    private func lock(_ directory: TrustedPlace.Descriptor, until end: UInt64) throws -> TrustedPlace.Descriptor {
        let number = openat(
            directory.number, "sequences.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o600)
        guard number >= 0 else { throw cantWrite(reason()) }
        let lock = TrustedPlace.Descriptor(number)
        while flock(lock.number, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw cantWrite(reason()) }
            guard monotonicNanoseconds() < end else { throw Busy("another livepatch holds \(Self.path)") }
            pauseMicroseconds(5_000)
        }
        return lock
    }

    /// Whole or not at all, and on the disk when this returns.
    private func write(_ bytes: [UInt8], in directory: TrustedPlace.Descriptor) throws {
        let temporary = "sequences.new"
        let number = openat(
            directory.number, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o644)
        guard number >= 0 else { throw cantWrite(reason()) }
        let file = TrustedPlace.Descriptor(number)
        do {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw cantWrite(reason()) }
                rest = rest.dropFirst(count)
            }
            guard fchmod(file.number, 0o644) == 0, fsync(file.number) == 0,
                renameat(directory.number, temporary, directory.number, Self.name) == 0,
                fsync(directory.number) == 0
            else { throw cantWrite(reason()) }
        } catch {
            unlinkat(directory.number, temporary, 0)
            throw error
        }
    }
}
