import Diagnostics
import Glibc
import PatchFormat
import Signatures

/// What `livepatch trust` says: the files that count, the policy that they make, and how a bundle fares.
public struct TrustAccount: Codable, Sendable {
    public struct File: Codable, Sendable {
        public var path: String
        /// `absent`, `trusted` or `refused`.
        public var state: String
    }

    public struct InForce: Codable, Sendable {
        public struct Requirement: Codable, Sendable {
            public var count: Int
            /// Nil: any principal of allowed_signers.
            public var group: String?
        }
        public var requirements: [Requirement]
        public var groups: [String: [String]]
        public var allowUnsigned: Bool
        public var allowRollback: Bool
        public var longestAgeSeconds: Int64?
    }

    public var files: [File]
    /// Whose signatures count; nil where a file can't be believed.
    public var signers: String?
    /// Nil where a file can't be believed.
    public var policy: InForce?
    public var bundle: String?
    public var id: String?
    public var sequence: Int?
    public var signed: TrustReport?
    /// Why the bundle would be refused, or what is wrong with the files; nil where nothing is.
    public var refused: [Refusal]?
}

extension HostTrust {
    /// - Throws: `Refusal` for a file that is no bundle.
    public func account(of path: String?, _ claims: TrustClaims) throws -> TrustAccount {
        var account = TrustAccount(files: (Self.paths + [SequenceStore.path]).map(file))
        account.bundle = path
        let trust: Trust
        do { trust = try load(claims) } catch let error as Refusals {
            account.refused = error.refusals
            return account
        }
        account.signers = trust.signersPath
        account.policy = TrustAccount.InForce(trust.policy)
        guard let path else { return account }
        let judgement = try judge(try SealedBundle.read(path: path), by: trust, claims)
        (account.id, account.sequence) = (judgement.bundle?.manifest.id, judgement.bundle?.manifest.sequence)
        account.signed = judgement.report
        account.signed?.refused = []
        account.refused = judgement.report.accepted ? nil : judgement.report.refused
        return account
    }

    private func file(_ path: String) -> TrustAccount.File {
        let state: String
        do { state = try place.read(path) == nil ? "absent" : "trusted" } catch { state = "refused" }
        return TrustAccount.File(path: path, state: state)
    }
}

extension TrustAccount.InForce {
    init(_ policy: Policy) {
        requirements = policy.requirements.map { Requirement(count: $0.count, group: $0.group) }
        groups = policy.groups.mapValues { $0.sorted() }
        (allowUnsigned, allowRollback) = (policy.allowsUnsigned, policy.allowsRollback)
        longestAgeSeconds = policy.longestAge
    }
}

extension TrustAccount: CustomStringConvertible {
    public var description: String {
        var lines = files.map { "\($0.path): \($0.state)" }
        if let policy { lines += policy.lines(signers ?? HostTrust.signersPath) }
        if let bundle, let signed {
            let name = id.map { " (id \($0), sequence \(sequence ?? 0))" } ?? ""
            lines += ["", bundle + name] + signed.lines
            lines.append(refused == nil ? "would be accepted" : "would be refused")
        }
        return lines.map(onOneLine).joined(separator: "\n")
    }
}

extension TrustAccount.InForce {
    fileprivate func lines(_ signers: String) -> [String] {
        var lines = requirements.map { requirement in
            "asked: \(requirement.count) of \(requirement.group ?? "any principal of \(signers)")"
        }
        lines += groups.sorted { $0.key < $1.key }.map { "group \($0.key): \($0.value.joined(separator: ", "))" }
        lines.append("--allow-unsigned: \(allowUnsigned ? "permitted" : "forbidden")")
        lines.append("--allow-rollback: \(allowRollback ? "permitted" : "forbidden")")
        if let longestAgeSeconds { lines.append("longest age: \(longestAgeSeconds / 3600) hours") }
        return lines
    }
}
