import Diagnostics
import JSONCoding

/// `manifest.json` as bytes.
enum ManifestCoding {
    /// What is read before anything else: a later format may have any other shape.
    private struct Version: Decodable { var formatVersion: String }

    static func encode(_ manifest: Manifest) throws -> [UInt8] {
        try encodeJSON(manifest, .pretty) + [0x0a]
    }

    /// - Parameter offset: where the bytes stand in the file, for errors.
    static func decode(_ bytes: [UInt8], at offset: Int) throws(FormatError) -> Manifest {
        let text = try read(bytes, offset)
        try checkVersion(try value(Version.self, text, offset).formatVersion, offset)
        let manifest = try value(Manifest.self, text, offset)
        if let complaint = ManifestRules.complaint(about: manifest) {
            throw FormatError(why: complaint, offset: offset)
        }
        return manifest
    }

    private static func read(_ bytes: [UInt8], _ offset: Int) throws(FormatError) -> JSONText {
        do throws(JSONSyntaxError) {
            return try JSONText(bytes)
        } catch {
            throw FormatError(why: "the manifest can't be read: \(error.why)", offset: offset + error.offset)
        }
    }

    private static func value<T: Decodable>(
        _ type: T.Type, _ text: JSONText, _ offset: Int
    ) throws(FormatError) -> T {
        do {
            return try text.decode(type)
        } catch let error as DecodingError {
            throw FormatError(why: "the manifest has not the expected shape: \(describe(error))", offset: offset)
        } catch {
            throw FormatError(why: "the manifest can't be decoded", offset: offset)
        }
    }

    private static func describe(_ error: DecodingError) -> String {
        let (context, key): (DecodingError.Context, String) =
            switch error {
            case .keyNotFound(let key, let context): (context, "/" + key.stringValue)
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
                (context, "")
            @unknown default: (DecodingError.Context(codingPath: [], debugDescription: ""), "")
            }
        let path = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: "/")
        return "\(path)\(key): missing, of another type, or out of range"
    }

    private static func checkVersion(_ version: String, _ offset: Int) throws(FormatError) {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        let isNumber = parts.allSatisfy { !$0.isEmpty && $0.count < 6 && $0.utf8.allSatisfy { (48...57).contains($0) } }
        guard parts.count == 2, isNumber, parts[0] == "1" else {
            throw FormatError(
                why: "the format version is not 1.x, the one this program knows", offset: offset, rule: .formatVersion)
        }
    }
}

extension Manifest {
    /// The bytes of `manifest.json`: keys sorted, two spaces of indentation, a newline at the end.
    public func encoded() throws -> [UInt8] { try ManifestCoding.encode(self) }

    /// Strict decoding, format version and `validate()` included.
    /// - Throws: `Refusal` of rule bad-bundle or format-version.
    public static func decode(_ bytes: [UInt8]) throws -> Manifest {
        do throws(FormatError) {
            return try ManifestCoding.decode(bytes, at: 0)
        } catch {
            throw error.refusal(subject: Bundle.manifestName)
        }
    }

    /// Checks every number and name that a later step relies on: the manifest is untrusted input to a privileged
    /// program.
    /// - Throws: `Refusal` of rule bad-bundle.
    public func validate() throws {
        if let complaint = ManifestRules.complaint(about: self) {
            throw Refusal(.badBundle, subject: Bundle.manifestName, why: complaint)
        }
    }
}
