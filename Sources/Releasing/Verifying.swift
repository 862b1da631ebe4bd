import Diagnostics
import FoundationEssentials
import PatchFormat
import Signatures

/// What `patchbuild verify` is asked for: the files that a host would have below `/etc/livepatch`.
package struct VerifyOptions: Sendable {
    package var bundle: String
    package var allowedSigners: String
    package var policy: String?
    package var revoked: [String] = []

    package init(bundle: String, allowedSigners: String) {
        (self.bundle, self.allowedSigners) = (bundle, allowedSigners)
    }
}

/// Who signed a bundle, and whether it would be accepted.
package struct VerifyReport: Codable, Sendable {
    package var bundle: String
    /// Nil where the signatures are not enough: then nothing else of the bundle is believed.
    package var id: String?
    package var accepted: Bool
    package var manifestDigest: String
    package var signatures: [SignatureReport]
    package var requirements: [RequirementReport]
    package var refused: [Refusal]?
}

extension VerifyReport: CustomStringConvertible {
    package var description: String {
        let signed = TrustReport(manifestDigest: manifestDigest, signatures: signatures, requirements: requirements)
        let name = id.map { " (id \($0))" } ?? ""
        return "\(bundle)\(name)\n\(signed)\n\(accepted ? "accepted" : "refused")"
    }
}

/// Judges a bundle as `livepatch` would, by the given files. The highest sequence that was applied is a host's own
/// knowledge, and not judged.
/// - Throws: `Refusal` for a file that is damaged, or not understood.
package func verifyBundle(_ options: VerifyOptions) throws -> VerifyReport {
    var trust = Trust(signersPath: options.allowedSigners)
    trust.signers = try AllowedSigners(try configuration(options.allowedSigners), name: options.allowedSigners)
    if let policy = options.policy { trust.policy = try Policy(try configuration(policy), name: policy) }
    for path in options.revoked { try trust.revocations.add(try configuration(path), name: path) }

    let sealed = try SealedBundle.read(path: options.bundle)
    let now = Times.now()
    var report = trust.judge(sealed, allowUnsigned: false, at: now)
    var bundle: Bundle?
    if report.accepted {
        // From here on what the bundle says of itself is believed.
        let opened = try sealed.open()
        report.refused += trust.refusals(ofAge: opened.manifest, at: now)
        bundle = opened
    }
    return VerifyReport(
        bundle: options.bundle, id: bundle?.manifest.id, accepted: report.accepted,
        manifestDigest: report.manifestDigest, signatures: report.signatures, requirements: report.requirements,
        refused: report.accepted ? nil : report.refused)
}

private func configuration(_ path: String) throws -> [UInt8] {
    do { return try readWhole(path, limit: 16 << 20) } catch {
        throw Refusal(
            .untrustedConfiguration, subject: path, why: "\(error)", remedy: "give the path of a file that can be read")
    }
}

/// A regular file's bytes.
/// - Throws: `Failure` naming the file.
func readWhole(_ path: String, limit: Int) throws -> [UInt8] {
    let data: Data
    do { data = try Data(contentsOf: URL(filePath: path)) } catch { throw Failure("can't read \(path): \(error)") }
    guard data.count <= limit else { throw Failure("\(path) is larger than \(limit) bytes") }
    return Array(data)
}
