import Diagnostics
import PatchFormat

/// Counting principals, not keys: TUF counts each key of a role once, here each person counts once as well.
extension Trust {
    /// The largest number of distinct principals, each with a key of its own: a key that stands under two names is one
    /// signer, and so are two keys that stand under one name.
    func meet(_ requirement: Policy.Requirement, by judged: [Judged]) -> RequirementReport {
        var keys: [PublicKey: Standing] = [:]
        for one in judged {
            guard let key = one.key, let standing = one.standing else { continue }
            keys[key, default: Standing()].formUnion(standing)
        }
        let names: [String]
        if let group = requirement.group {
            names = (policy.groups[group] ?? []).sorted()
        } else {
            names = keys.values.reduce(into: Set()) { $0.formUnion($1.names) }.sorted()
        }
        var principals = matched(names, with: keys.values.map { standing in names.map(standing.covers) })
        if requirement.group == nil, names.isEmpty, let first = keys.values.first {
            // Keys that stand under patterns only may all be one person's.
            principals = [first.description.joined(separator: ",")]
        }
        return RequirementReport(
            group: requirement.group, required: requirement.count, principals: principals,
            met: principals.count >= requirement.count)
    }

    /// The names that find a key, each another one, in a largest such choice.
    ///
    /// - Parameter covers: for each key, whether it covers each name.
    private func matched(_ names: [String], with covers: [[Bool]]) -> [String] {
        var holder = [Int?](repeating: nil, count: names.count)
        for key in covers.indices {
            var tried = Set<Int>()
            _ = Self.place(key, covers, &holder, &tried)
        }
        return zip(names, holder).filter { $0.1 != nil }.map(\.0)
    }

    /// Gives the key a name, if need be one whose holder can take another.
    private static func place(
        _ key: Int, _ covers: [[Bool]], _ holder: inout [Int?], _ tried: inout Set<Int>
    ) -> Bool {
        for name in holder.indices where covers[key][name] && tried.insert(name).inserted {
            let isFree = holder[name].map { place($0, covers, &holder, &tried) } ?? true
            if isFree {
                holder[name] = key
                return true
            }
        }
        return false
    }

    // MARK: Refusals

    /// Why the signatures are not enough; empty where they are.
    func refusals(
        _ judged: [Judged], _ requirements: [RequirementReport], _ bundle: SealedBundle
    ) -> [Refusal] {
        let broken = judged.filter(\.isBroken).map { signature in
            Refusal(
                .untrustedSignature, subject: "\(bundle.name), \(signature.report.name)",
                why: signature.report.why ?? "it does not hold")
        }
        // A bundle in which one signature does not hold has been changed since: the others prove nothing.
        guard broken.isEmpty else { return broken }
        let missed = requirements.filter { !$0.met }
        guard !missed.isEmpty else { return [] }
        guard !judged.isEmpty else { return [unsigned(bundle)] }
        var refusals = judged.filter(\.isRevoked).map { signature in
            Refusal(
                .revoked, subject: "\(bundle.name), \(signature.report.name)",
                why: "\(signature.report.fingerprint ?? ""): \(signature.report.why ?? "")",
                remedy: "have the bundle signed with a key that stands: `patchbuild sign \(bundle.name) --key KEY`")
        }
        let doubts = judged.compactMap { one in
            one.report.why.map { "\(one.report.fingerprint ?? one.report.name): \($0)" }
        }
        refusals += missed.map { missing($0, doubts, bundle) }
        return refusals
    }

    private func unsigned(_ bundle: SealedBundle) -> Refusal {
        let sign = "have it signed: `patchbuild sign \(bundle.name) --key KEY`"
        return Refusal(
            .unsigned, subject: bundle.name, why: "it carries no signature",
            remedy: policy.allowsUnsigned ? "\(sign); or pass --allow-unsigned if you trust the file's origin" : sign)
    }

    private func missing(_ requirement: RequirementReport, _ doubts: [String], _ bundle: SealedBundle) -> Refusal {
        let asked =
            requirement.group.map { "\(requirement.required) of the group \($0)" }
            ?? "\(requirement.required) of \(signers?.name ?? signersPath)"
        let have = requirement.principals.isEmpty ? "none" : requirement.principals.joined(separator: ", ")
        let why = (["\(asked) must have signed it, of these has: \(have)"] + doubts).joined(separator: "; ")
        let remedy: String
        if signers == nil {
            remedy =
                "put the signers' names and public keys into \(signersPath), as in `alice@example.org ssh-ed25519 AAAA…`"
        } else if let group = requirement.group {
            let open = (policy.groups[group] ?? []).subtracting(requirement.principals).sorted()
            let count = requirement.required - requirement.principals.count
            let names = open.joined(separator: ", ")
            remedy =
                "have \(count) of these sign it with `patchbuild sign`, with keys that \(signersPath) has: \(names)"
        } else {
            remedy =
                "have a trusted principal sign it with `patchbuild sign`, or put the signer's key into \(signersPath)"
        }
        return Refusal(.policyUnmet, subject: bundle.name, why: why, remedy: remedy)
    }
}
