/// The JSON of manifests, registries and reports: `Codable` values as bytes, and back.
///
/// Foundation's coders are not used: with them `livepatch`, which is one static file, would carry all of Foundation.
/// What is written is, byte for byte, what Foundation's `JSONEncoder` writes with sorted keys and unescaped slashes.
public enum JSONStyle: Sendable {
    /// One line.
    case compact
    /// For reading too: two spaces of indentation, ` : ` between key and value.
    case pretty
}

/// - Throws: `EncodingError` for a fraction, and what the value's own `encode` throws.
public func encodeJSON(_ value: some Encodable, _ style: JSONStyle = .compact) throws -> [UInt8] {
    let place = Place()
    try value.encode(to: ValueEncoder(place: place))
    var writer = JSONWriter(style: style)
    writer.write(place, depth: 0)
    return writer.bytes
}

/// Reads strictly (see `JSONReader`), then decodes. Members that the type does not have are passed over.
/// - Throws: `JSONSyntaxError`, or `DecodingError` when the text is JSON of another shape.
public func decodeJSON<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
    try JSONText(bytes).decode(type)
}

/// A text that was read once and may be decoded as several types, one after the other.
public struct JSONText {
    private let value: JSONValue

    public init(_ bytes: [UInt8]) throws(JSONSyntaxError) { value = try JSONReader.read(bytes) }

    /// - Throws: `DecodingError` when the text has not the type's shape.
    public func decode<T: Decodable>(_ type: T.Type) throws -> T {
        try T(from: ValueDecoder(value: value, path: nil))
    }
}
