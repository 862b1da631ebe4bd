import FoundationEssentials
import PatchFormat

/// The documents for other people's tools that a bundle can be shown as.
public enum Document: String, CaseIterable, Sendable {
    case inToto = "in-toto"
    case cycloneDX = "cyclonedx"

    /// JSON with sorted keys: the same bundle gives the same text.
    /// - Throws: `Refusal` where the bundle can't be written without its signatures.
    public func text(of bundle: Bundle) throws -> String {
        switch self {
        case .inToto: try Self.encoded(InTotoStatement(bundle))
        case .cycloneDX: try Self.encoded(CycloneDX(bundle))
        }
    }

    private static func encoded(_ document: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }
}
