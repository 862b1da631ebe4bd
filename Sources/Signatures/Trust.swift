import Diagnostics
import PatchFormat

/// What a host, or a release engineer, believes: everything by which a bundle is judged.
public struct Trust: Sendable {
    /// Nil: there is no such file.
    public var signers: AllowedSigners?
    public var revocations = Revocations()
    public var policy = Policy.none
    /// What the files are called in remedies, where there are none.
    public var signersPath: String

    public init(signersPath: String) { self.signersPath = signersPath }

    /// More signatures than any bundle has.
    static let maximumSignatures = 64

    // MARK: Signatures

    /// Judges the signatures of a bundle of which nothing else has been read.
    ///
    /// - Parameter allowUnsigned: whether the user said that the file's origin is trusted. Then signatures decide
    ///   nothing, if the policy lets that be said; a withdrawn bundle is refused all the same.
    /// - Parameter now: seconds since 1970.
    public func judge(_ bundle: SealedBundle, allowUnsigned: Bool, at now: Int64) -> TrustReport {
        var report = TrustReport(manifestDigest: bundle.manifestDigest)
        let judged = judgeSignatures(of: bundle, at: now)
        report.signatures = judged.map(\.report)
        report.requirements = policy.requirements.map { meet($0, by: judged) }
        if revocations.revokes(bundle: bundle.manifestDigest) { report.refused.append(Self.withdrawn(bundle.name)) }
        if allowUnsigned, policy.allowsUnsigned { return report }
        if allowUnsigned {
            report.refused.append(
                Refusal(
                    .policyUnmet, subject: bundle.name,
                    why: "the policy \(policy.name ?? "") does not permit --allow-unsigned",
                    remedy: "leave --allow-unsigned out: the bundle's signatures decide"))
        }
        report.refused += refusals(judged, report.requirements, bundle)
        return report
    }

    public static func withdrawn(_ subject: String) -> Refusal {
        Refusal(
            .revoked, subject: subject, why: "the bundle has been withdrawn: its digest is in the list of revocations")
    }

    struct Judged {
        var report: SignatureReport
        var key: PublicKey?
        var standing: Standing?
        /// Wrong in itself: damaged, or of another bundle.
        var isBroken = false
        var isRevoked = false
    }

    private func judgeSignatures(of bundle: SealedBundle, at now: Int64) -> [Judged] {
        let names = bundle.signatures.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return names.enumerated().map { index, name in
            guard index < Self.maximumSignatures else {
                let why = "a bundle has at most \(Self.maximumSignatures) signatures"
                return Judged(report: SignatureReport(name: name, valid: false, why: why), isBroken: true)
            }
            return judge(bundle.signatures[name] ?? [], name, over: bundle.manifestBytes, at: now)
        }
    }

    private func judge(_ armored: [UInt8], _ name: String, over message: [UInt8], at now: Int64) -> Judged {
        var judged = Judged(report: SignatureReport(name: name, valid: false))
        do throws(Malformed) {
            let signature = try SSHSignature(armored: armored)
            judged.report.describe(signature.signer)
            let presence = try signature.verify(message)
            judge(signature.signer, presence, at: now, &judged)
        } catch {
            (judged.isBroken, judged.report.why) = (true, error.description)
        }
        return judged
    }

    /// Of a signature that holds: whether its signer counts.
    private func judge(
        _ signer: SSHSignature.Signer, _ presence: PublicKey.Presence?, at now: Int64, _ judged: inout Judged
    ) {
        if let objection = revocations.objection(to: signer) {
            (judged.isRevoked, judged.report.why) = (true, objection)
            return
        }
        guard let signers else {
            judged.report.why = "there is no file \(signersPath), so that nobody's signature counts"
            return
        }
        switch signers.standing(of: signer, namespace: SSHSignature.bundleNamespace, at: now) {
        case .not(let why): judged.report.why = why
        case .allowed(let standing):
            if case .certificate(let certificate) = signer,
                let objection = certificate.objection(at: now, presence: presence)
            {
                judged.report.why = objection
                return
            }
            (judged.key, judged.standing) = (signer.key, standing)
            (judged.report.valid, judged.report.principals) = (true, standing.description)
        }
    }
}

extension SignatureReport {
    fileprivate mutating func describe(_ signer: SSHSignature.Signer) {
        (keyType, fingerprint) = (signer.key.kind.title, signer.key.fingerprint)
        guard case .certificate(let certificate) = signer else { return }
        self.certificate = "\"\(certificate.keyID)\" serial \(certificate.serial) of \(certificate.authority)"
    }
}
