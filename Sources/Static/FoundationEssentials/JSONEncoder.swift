/// An error with a description for people.
public protocol LocalizedError: Error {
    var errorDescription: String? { get }
}

extension LocalizedError {
    public var errorDescription: String? { nil }
}

/// Foundation's encoder as far as ArgumentParser uses it; the work is done by the sources of JSONCoding, which are
/// compiled into this module too. Keys are always sorted.
public final class JSONEncoder {
    public struct OutputFormatting: OptionSet, Sendable {
        public var rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }
        public static let prettyPrinted = OutputFormatting(rawValue: 1)
        public static let sortedKeys = OutputFormatting(rawValue: 2)
    }

    public var outputFormatting: OutputFormatting = []

    public init() {}

    public func encode(_ value: some Encodable) throws -> Data {
        Data(try encodeJSON(value, outputFormatting.contains(.prettyPrinted) ? .pretty : .compact))
    }
}

extension String {
    public struct Encoding: Sendable {
        public static let utf8 = Encoding()
    }

    /// Never nil: every string has UTF-8.
    public func data(using encoding: Encoding) -> Data? { Data(utf8) }

    /// Nil when `data` is not valid UTF-8.
    public init?(data: Data, encoding: Encoding) {
        guard let text = String(validating: data, as: UTF8.self) else { return nil }
        self = text
    }
}
