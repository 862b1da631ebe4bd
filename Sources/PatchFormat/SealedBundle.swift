import Diagnostics
import Glibc

/// A bundle of which only the archive has been read: signatures can be judged before anything else in it is believed,
/// and `open` uses the very bytes that they were judged over.
public struct SealedBundle: Sendable {
    /// The file's path, for messages.
    public let name: String
    let members: [ArchiveMember]
    /// What is signed; nothing of it has been decoded.
    public let manifestBytes: [UInt8]
    /// SHA-256 of `manifestBytes`.
    public let manifestDigest: String
    /// By member name, `signatures/alice.sig`; of every member that has such a name, wherever it stands.
    public let signatures: [String: [UInt8]]

    /// Reads the file once.
    /// - Throws: `Refusal` of rule bad-bundle.
    public static func read(path: String) throws -> SealedBundle {
        try split(try readRegularFile(path, limit: Bundle.maximumSize, rule: .badBundle), name: path)
    }

    /// The members of the archive; the first is the manifest.
    /// - Throws: `Refusal` of rule bad-bundle, with the offset of what is wrong.
    public static func split(_ bytes: [UInt8], name: String = "bundle") throws -> SealedBundle {
        do throws(FormatError) {
            guard bytes.count <= Bundle.maximumSize else {
                throw FormatError(why: "the file is too large", offset: Bundle.maximumSize)
            }
            let members = try Ustar.read(bytes)
            guard let first = members.first, first.name == Bundle.manifestName else {
                throw FormatError(why: "the first member is not \(Bundle.manifestName)", offset: 0)
            }
            let signatures = members.filter { Bundle.isSignatureName($0.name) }.map { ($0.name, $0.bytes) }
            return SealedBundle(
                name: name, members: members, manifestBytes: first.bytes, manifestDigest: Digest.sha256(first.bytes),
                signatures: Dictionary(signatures) { first, _ in first })
        } catch {
            throw error.refusal(subject: name)
        }
    }

    /// Decodes the manifest and checks every member against it.
    /// - Throws: `Refusal` of rule bad-bundle or format-version.
    public func open() throws -> Bundle {
        do throws(FormatError) { return try Bundle.open(members) } catch { throw error.refusal(subject: name) }
    }
}

/// All bytes of a regular file, read once.
/// - Parameter limit: the most bytes that it may have.
/// - Throws: `Refusal` of `rule`.
public func readRegularFile(_ path: String, limit: Int, rule: Rule) throws -> [UInt8] {
    func refuse(_ why: String) -> Refusal {
        Refusal(rule, subject: path, why: why, remedy: "give a file that can be read")
    }
    // Not blocking: opening a fifo must not wait for a writer.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { throw refuse("can't open it: \(String(cString: strerror(errno)))") }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw refuse("not a regular file") }
    guard status.st_size >= 0, status.st_size <= limit else { throw refuse("the file is too large") }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var filled = 0
    while filled < bytes.count {
        let start = filled
        let count = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { pread(file, $0 + start, buffer.count - start, off_t(start)) } ?? 0
        }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw refuse("can't read it: it is shorter than it was, or unreadable") }
        filled += count
    }
    return bytes
}
