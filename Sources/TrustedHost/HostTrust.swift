import Diagnostics
import PatchFormat
import ProcessControl
import Signatures

/// What this host trusts: the files below `/etc/livepatch`, which only root can write.
///
/// No option and no environment variable names another policy: who may run livepatch through sudo must not be able to
/// bring one along.
public struct HostTrust: Sendable {
    public var place: TrustedPlace

    public init(_ place: TrustedPlace = .host) { self.place = place }

    public static let signersPath = "/etc/livepatch/allowed_signers"
    public static let policyPath = "/etc/livepatch/policy"
    public static let revocationPaths = ["/etc/livepatch/revoked", "/etc/livepatch/revoked.krl"]
    /// All of them, in the order in which they are shown.
    public static let paths = [signersPath] + revocationPaths + [policyPath]

    /// Reads all files; a missing one grants nothing and forbids nothing.
    /// - Throws: `Refusals` with everything that is wrong.
    public func load() throws -> Trust {
        var trust = Trust(signersPath: Self.signersPath)
        var refusals: [Refusal] = []
        func attempt(_ body: () throws -> Void) throws {
            do { try body() } catch let error as Refusal { refusals.append(error) }
        }
        try attempt {
            trust.signers = try place.read(Self.signersPath).map { try AllowedSigners($0, name: Self.signersPath) }
        }
        try attempt {
            trust.policy = try place.read(Self.policyPath).map { try Policy($0, name: Self.policyPath) } ?? .none
        }
        try attempt { trust.revocations = try revocations() }
        guard refusals.isEmpty else { throw Refusals(distinct(refusals)) }
        return trust
    }

    /// What counts for a bundle when these claims are made. Who may do without signatures may also say whose signature
    /// is enough, and nobody else may.
    /// - Throws: `Refusals` with everything that is wrong.
    func load(_ claims: TrustClaims) throws -> Trust {
        var trust = try load()
        guard let path = claims.allowedSigners else { return trust }
        guard trust.policy.allowsUnsigned else {
            throw Refusals(
                .policyUnmet, subject: path,
                why: "the policy \(trust.policy.name ?? "") does not permit signers from the command line",
                remedy: "leave --allowed-signers out: the signers of \(Self.signersPath) decide")
        }
        let bytes = try readRegularFile(path, limit: 16 << 20, rule: .untrustedConfiguration)
        (trust.signers, trust.signersPath) = (try AllowedSigners(bytes, name: path), path)
        return trust
    }

    /// All that `activate` asks for: whether a bundle has been withdrawn.
    /// - Throws: `Refusal` of rule untrusted-configuration.
    public func revocations() throws -> Revocations {
        var revocations = Revocations()
        for path in Self.revocationPaths {
            if let bytes = try place.read(path) { try revocations.add(bytes, name: path) }
        }
        return revocations
    }

    /// A directory that is not trusted is found once for each file.
    private func distinct(_ refusals: [Refusal]) -> [Refusal] {
        refusals.enumerated().filter { !refusals[..<$0.offset].contains($0.element) }.map(\.element)
    }
}

/// A bundle that this host accepts, and the very bytes that this was decided of.
public struct AcceptedBundle: Sendable {
    public let bundle: Bundle
    let claims: TrustClaims
    let policy: Policy
    let place: TrustedPlace

    /// Proof for `perform`, which loads nothing else.
    public var acceptance: Acceptance { Acceptance(manifestDigest: bundle.manifestDigest) }
}

/// Only `HostTrust.accept` leads to one.
public struct Acceptance: Sendable {
    package let manifestDigest: String
}

/// A bundle as this host judges it.
public struct BundleJudgement: Sendable {
    public var report: TrustReport
    /// Nil where its signatures are not enough: then nothing of it has been decoded.
    public var bundle: Bundle?
}

extension HostTrust {
    /// Judges a bundle: its signatures first, over the bytes of the manifest as they are; what it says of itself only when
    /// these are enough.
    public func judge(
        _ sealed: SealedBundle, by trust: Trust, _ claims: TrustClaims, at now: Int64 = Times.now()
    ) throws -> BundleJudgement {
        var report = trust.judge(sealed, allowUnsigned: claims.allowUnsigned, at: now)
        guard report.accepted else { return BundleJudgement(report: report) }
        let bundle = try sealed.open()
        report.refused += trust.refusals(ofAge: bundle.manifest, at: now)
        report.refused += try SequenceStore(place).refusals(bundle.manifest, claims, trust.policy)
        return BundleJudgement(report: report, bundle: bundle)
    }

    /// - Throws: `Refusals` with everything that speaks against it.
    public func accept(
        _ sealed: SealedBundle, _ claims: TrustClaims, at now: Int64 = Times.now()
    ) throws -> AcceptedBundle {
        let trust = try load(claims)
        let judgement = try judge(sealed, by: trust, claims, at: now)
        guard judgement.report.accepted, let bundle = judgement.bundle else { throw Refusals(judgement.report.refused) }
        return AcceptedBundle(bundle: bundle, claims: claims, policy: trust.policy, place: place)
    }
}

extension AcceptedBundle {
    /// Remembers the bundle's sequence before any process is changed: what is intended counts as done.
    /// - Throws: `Refusal` where it can't be remembered, or is a rollback by now; `Busy` when the time is over.
    public func remember(for seconds: Double) throws {
        let end = monotonicNanoseconds() + UInt64(max(0, min(seconds, 3600)) * 1e9)
        try SequenceStore(place).record(bundle.manifest, claims, policy, until: end)
    }
}
