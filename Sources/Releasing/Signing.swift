import Diagnostics
import Glibc
import PatchFormat
import Signatures
import Toolchain

/// What `patchbuild sign` is asked for.
package struct SigningOptions: Sendable {
    /// The bundle's path; the file is replaced.
    package var bundle: String
    /// A private key, or the public key of one that an agent or a hardware token holds.
    package var key: String
    /// The signature's name in the bundle; nil: the key's fingerprint.
    package var name: String?

    package init(bundle: String, key: String, name: String? = nil) {
        (self.bundle, self.key, self.name) = (bundle, key, name)
    }
}

/// What was signed by which key.
package struct SigningReport: Codable, Sendable {
    package var bundle: String
    package var id: String
    /// Of what is signed.
    package var manifestDigest: String
    /// The archive's member.
    package var signature: String
    package var keyType: String
    package var fingerprint: String
    /// An earlier signature of the same key was taken out.
    package var replaced: Bool
    /// Signatures that were taken out because they do not hold over this bundle, and would have it refused.
    package var dropped: [String]
    /// Signatures that the bundle has now.
    package var signatures: Int
}

/// Adds a signature to a bundle, made by the machine's own `ssh-keygen`: passphrases, agents and hardware tokens are its
/// business, and no private key is ever read here.
///
/// The bundle is checked wholly before, and the signature after; the file is written whole or not at all.
/// - Throws: `Refusal` of rule bad-bundle, unsuitable-key or signing-failed; `Busy`; `Failure` where the file can't be
///   written.
package func signBundle(_ options: SigningOptions) async throws -> SigningReport {
    let bundle = try Bundle.read(path: options.bundle)
    let fingerprint = try await requireSuitable(key: options.key)
    let text = try await sshSignature(over: bundle.manifestBytes, key: options.key)
    let signature = try checked(text, bundle, options.key, fingerprint)
    let key = signature.signer.key
    let name = "signatures/\(options.name ?? key.fingerprintDigits).sig"
    guard Bundle.isSignatureName(name) else {
        throw UsageError("--name has letters, digits and ._@+-, and does not start with a dot")
    }
    let previous = bundle.signatures.filter { signer(of: $0.value) != key }
    let others = previous.filter { holds($0.value, over: bundle.manifestBytes) }
    guard others[name] == nil else {
        throw Refusal(
            .signingFailed, subject: name, why: "another key has signed under this name",
            remedy: "choose another --name, or leave it out")
    }
    let signed = try bundle.write(signatures: others.merging([name: text]) { $1 })
    // Somebody else may have signed while a passphrase was typed.
    guard try Bundle.read(path: options.bundle).signatures == bundle.signatures else {
        throw Busy("\(options.bundle): somebody else has signed it meanwhile; sign again")
    }
    try writeWhole(signed, to: options.bundle)
    return SigningReport(
        bundle: options.bundle, id: bundle.manifest.id, manifestDigest: bundle.manifestDigest, signature: name,
        keyType: key.kind.title, fingerprint: key.fingerprint, replaced: previous.count < bundle.signatures.count,
        dropped: previous.keys.filter { others[$0] == nil }.sorted(),
        signatures: others.count + 1)
}

private func signer(of armored: [UInt8]) -> PublicKey? { try? SSHSignature(armored: armored).signer.key }

private func holds(_ armored: [UInt8], over message: [UInt8]) -> Bool {
    (try? SSHSignature(armored: armored).check(message)) != nil
}

/// Our own verifier must hold what ssh-keygen made.
private func checked(
    _ text: [UInt8], _ bundle: Bundle, _ key: String, _ fingerprint: String?
) throws -> SSHSignature {
    do throws(Malformed) {
        let signature = try SSHSignature(armored: text)
        try signature.check(bundle.manifestBytes)
        if let fingerprint, signature.signer.key.fingerprint != fingerprint {
            throw Malformed("it was made by another key, \(signature.signer.key.fingerprint)")
        }
        return signature
    } catch {
        let isKind = error.description.hasPrefix("keys of type")
        throw Refusal(
            isKind ? .unsuitableKey : .signingFailed, subject: key, why: isKind ? error.description : "\(error)",
            remedy: isKind ? nil : "sign again; if it fails again, report it with the version of ssh-keygen")
    }
}

// MARK: ssh-keygen

private func sshKeygen() throws -> String {
    guard let program = findProgram("ssh-keygen") else {
        throw Refusal(
            .signingFailed, subject: "ssh-keygen", why: "the program is not installed",
            remedy: "install it: apt-get install openssh-client")
    }
    return program
}

/// Refuses a key of another kind before its passphrase is asked for.
/// - Returns: the key's fingerprint, where ssh-keygen can tell without the passphrase.
private func requireSuitable(key: String) async throws -> String? {
    let program = try sshKeygen()
    guard access(key, R_OK) == 0 else {
        throw Refusal(
            .signingFailed, subject: key, why: "can't read the key: \(String(cString: strerror(errno)))",
            remedy: "give --key a private key's file, or the .pub file of a key that an agent holds")
    }
    let answer = try await run(Job(program, ["-l", "-f", key], title: "ssh-keygen -l"))
    // `256 SHA256:… comment (ED25519)`
    let words = answer.outputText.split(whereSeparator: \.isWhitespace).map(String.init)
    guard answer.status == 0, words.count >= 3, let last = words.last, last.hasPrefix("("), last.hasSuffix(")") else {
        return nil
    }
    let type = last.dropFirst().dropLast()
    let isKnown = PublicKey.Kind.allCases.contains { $0.title == type || $0.title + "-CERT" == type }
    guard isKnown, words[0] == "256" else {
        throw Refusal(.unsuitableKey, subject: key, why: "it is a key of type \(type) with \(words[0]) bits")
    }
    return words[1]
}

/// - Returns: the text of the `.sig` file.
private func sshSignature(over message: [UInt8], key: String) async throws -> [UInt8] {
    let scratch = try ScratchDirectory()
    defer { scratch.remove() }
    let file = scratch.path + "/manifest.json"
    try writeWhole(message, to: file)
    let job = Job(
        try sshKeygen(), ["-q", "-Y", "sign", "-n", SSHSignature.bundleNamespace, "-f", key, file],
        title: "ssh-keygen -Y sign")
    let result = try await runInteractively(job)
    guard result.status == 0 else { throw signingFailure(result, key) }
    return try readWhole(file + ".sig", limit: 1 << 20)
}

/// ssh-keygen's message, and what to do about it.
private func signingFailure(_ result: JobResult, _ key: String) -> Refusal {
    let message = result.errorText.split(whereSeparator: \.isNewline).suffix(3).joined(separator: "; ")
    let why = message.isEmpty ? "ssh-keygen ended with status \(result.status); its message stands above" : message
    var remedy = "correct what ssh-keygen's message says, and sign again"
    if message.contains("incorrect passphrase") { remedy = "give the key's passphrase" }
    if message.contains("No private key found") {
        remedy = "hand the key to the agent: ssh-add PRIVATE-KEY; or give --key the private key's file"
    }
    return Refusal(.signingFailed, subject: key, why: why, remedy: remedy)
}
