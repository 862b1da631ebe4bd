/// Under which names a signature may count.
struct Standing: Hashable, Sendable {
    /// Names that are written out.
    var names: Set<String> = []
    /// Patterns under which the key may stand for names of a group.
    var patterns: Set<PatternList> = []

    func covers(_ name: String) -> Bool { names.contains(name) || patterns.contains { $0.matches(name) } }

    mutating func formUnion(_ other: Standing) {
        names.formUnion(other.names)
        patterns.formUnion(other.patterns)
    }

    /// For messages.
    var description: [String] {
        names.isEmpty ? patterns.map { $0.patterns.joined(separator: ",") }.sorted() : names.sorted()
    }
}

extension AllowedSigners {
    enum Answer: Hashable, Sendable {
        case allowed(Standing)
        case not(String)
    }

    /// Whether anything may be signed by this signer at a time; if not, what the line that came closest says.
    func standing(of signer: SSHSignature.Signer, namespace: String, at now: Int64) -> Answer {
        var standing: Standing?
        var objection: String?
        for entry in entries {
            guard let found = entry.standing(of: signer) else { continue }
            if let reason = entry.objection(namespace: namespace, at: now) {
                objection = objection ?? "\(reason) (line \(entry.line) of \(name))"
            } else if found.names.isEmpty, found.patterns.isEmpty {
                objection = objection ?? "the certificate has none of the principals of line \(entry.line) of \(name)"
            } else {
                standing = standing ?? Standing()
                standing?.formUnion(found)
            }
        }
        if let standing { return .allowed(standing) }
        return .not(objection ?? "the key is not in \(name)")
    }
}

extension AllowedSigners.Entry {
    /// The names that this line gives the signer; nil where it speaks of another.
    fileprivate func standing(of signer: SSHSignature.Signer) -> Standing? {
        switch signer {
        case .key(let key):
            guard !isAuthority, key == self.key else { return nil }
            let names = principals.names
            // A key that has its names written out does not need to be looked up by patterns.
            let isPlain = principals.patterns.allSatisfy(PatternList.isName)
            return Standing(names: Set(names), patterns: isPlain ? [] : [principals])
        case .certificate(let certificate):
            guard isAuthority, certificate.authority == self.key else { return nil }
            return Standing(names: Set(certificate.principals.filter(principals.matches)))
        }
    }

    fileprivate func objection(namespace: String, at now: Int64) -> String? {
        if let namespaces, !namespaces.matches(namespace) { return "the key is not for the namespace \(namespace)" }
        if let validAfter, now < validAfter { return "the key is not valid yet" }
        if let validBefore, now > validBefore { return "the key has expired" }
        return nil
    }
}
