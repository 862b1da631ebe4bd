import Diagnostics
import Glibc
import PatchFormat
import Signatures
import Toolchain

/// What `patchbuild pack` hands to the maintenance engineer: the bundle, the applier, who signed, one page.
package struct HandOver: Sendable {
    package var id: String
    package var files: [HandedFile]
    package var signers: [HandedSigner]
}

/// A signature that holds over the bundle. Whether its key may vouch is for the host to say.
package struct HandedSigner: Hashable, Sendable {
    /// `alice.sig`
    package var name: String
    /// `ED25519 SHA256:…`
    package var key: String
    /// What a certificate says of the key.
    package var certificate: String?
}

/// - Parameter applier: a file; without it, the `livepatch` of this installation.
/// - Throws: `Refusal` for a bundle with a signature that does not hold, and for an applier that is not a static
///   executable.
package func handOver(bundle path: String, applier: String?) throws -> HandOver {
    let bytes = try readRegularFile(path, limit: Bundle.maximumSize, rule: .badInput)
    let sealed = try SealedBundle.split(bytes, name: path)
    let signers = try signers(of: sealed)
    let bundle = try sealed.open()
    let livepatch = try staticApplier(applier)
    let page = HandOverPage(bundle: bundle, signers: signers)
    return HandOver(
        id: bundle.manifest.id,
        files: [
            HandedFile(name: "README", bytes: Array(page.text.utf8)),
            HandedFile(name: "SIGNERS", bytes: Array(page.signersText.utf8)),
            HandedFile(name: page.bundleName, bytes: bytes),
            HandedFile(name: "livepatch", bytes: livepatch, isExecutable: true),
        ],
        signers: signers)
}

private func signers(of sealed: SealedBundle) throws -> [HandedSigner] {
    let names = sealed.signatures.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    return try names.map { name in
        do {
            let signature = try SSHSignature(armored: sealed.signatures[name] ?? [])
            try signature.check(sealed.manifestBytes)
            return signer(String(name.dropFirst("signatures/".count)), signature.signer)
        } catch {
            throw Refusal(
                .badBundle, subject: "\(sealed.name): \(name)", why: "the signature does not count: \(error)",
                remedy: "have it signed again, or fetch the bundle again")
        }
    }
}

private func signer(_ name: String, _ signer: SSHSignature.Signer) -> HandedSigner {
    guard case .certificate(let certificate) = signer else {
        return HandedSigner(name: name, key: signer.key.description)
    }
    // The key id is whatever the authority wrote.
    let id = certificate.keyID.unicodeScalars.filter { $0.properties.generalCategory != .control }
    return HandedSigner(
        name: name, key: signer.key.description,
        certificate: "\"\(String(String.UnicodeScalarView(id)))\", certified by \(certificate.authority)")
}

/// Writes `handOver` as a tar archive where `output` ends in `.tar`, else as a directory that must not hold anything yet.
/// - Throws: `Refusal`, or `Failure` when it can't be written; then nothing is left of it.
package func writeHandOver(_ handOver: HandOver, to output: String) throws {
    if output.hasSuffix(".tar") {
        return try writeWhole(try HandOverArchive.write(handOver.files, directory: handOver.id), to: output)
    }
    let trimmed = String(output.reversed().drop { $0 == "/" }.reversed())
    guard !trimmed.isEmpty else { throw UsageError("-o names the root directory") }
    var template = Array("\(trimmed).XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw failure("can't make a directory beside \(trimmed)") }
    let scratch = String(cString: made)
    do {
        for file in handOver.files { try writeFile(file, in: scratch) }
        guard chmod(scratch, 0o755) == 0 else { throw failure("can't change the mode of \(scratch)") }
        // Takes the place of an empty directory, and of nothing else.
        guard rename(scratch, trimmed) == 0 else { throw occupied(trimmed) }
    } catch {
        for file in handOver.files { unlink("\(scratch)/\(file.name)") }
        rmdir(scratch)
        throw error
    }
}

private func writeFile(_ file: HandedFile, in directory: String) throws {
    let path = "\(directory)/\(file.name)"
    try writeWhole(file.bytes, to: path)
    guard chmod(path, file.isExecutable ? 0o755 : 0o644) == 0 else { throw failure("can't change the mode of \(path)") }
}

private func failure(_ what: String) -> Failure { Failure("\(what): \(String(cString: strerror(errno)))") }

private func occupied(_ path: String) -> any Error {
    guard errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR else { return failure("can't write \(path)") }
    return Refusal(
        .badInput, subject: path, why: "it exists and is not an empty directory",
        remedy: "name a directory that is not there yet, or a file that ends in .tar")
}
