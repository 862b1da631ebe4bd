/// Bytes or text that are not what they should be, with the reason.
public struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Reads SSH's wire format (RFC 4251, section 5); whatever is missing or too long is an error.
struct WireReader {
    private var rest: ArraySlice<UInt8>
    /// What is read, for messages.
    private let subject: String

    init(_ bytes: [UInt8], of subject: String) {
        rest = bytes[...]
        self.subject = subject
    }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func bytes(_ count: Int) throws(Malformed) -> [UInt8] {
        guard count >= 0, count <= rest.count else { throw Malformed("\(subject) is cut off") }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func byte() throws(Malformed) -> UInt8 {
        guard let byte = rest.popFirst() else { throw Malformed("\(subject) is cut off") }
        return byte
    }

    mutating func uint32() throws(Malformed) -> UInt32 {
        try bytes(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    mutating func uint64() throws(Malformed) -> UInt64 {
        try bytes(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A length and so many bytes.
    mutating func string() throws(Malformed) -> [UInt8] {
        try bytes(Int(try uint32()))
    }

    /// A string of valid UTF-8 without control characters: it is printed.
    mutating func text() throws(Malformed) -> String {
        let bytes = try string()
        guard let text = String(validating: bytes, as: UTF8.self), isPrintable(text) else {
            throw Malformed("\(subject) has a text that is not valid UTF-8, or has control characters")
        }
        return text
    }

    /// A positive number in its one encoding, as big-endian bytes without leading zeros.
    mutating func positiveNumber() throws(Malformed) -> [UInt8] {
        let bytes = try string()
        guard let first = bytes.first else { return [] }
        guard first < 0x80 else { throw Malformed("\(subject) has a negative number") }
        guard first == 0 else { return bytes }
        guard bytes.count > 1, bytes[1] >= 0x80 else {
            throw Malformed("\(subject) has a number with needless zeros")
        }
        return Array(bytes.dropFirst())
    }

    /// Nothing may follow.
    func finish() throws(Malformed) {
        guard rest.isEmpty else { throw Malformed("\(subject) has \(rest.count) bytes too many") }
    }
}

func isPrintable(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
}

/// Writes SSH's wire format.
enum Wire {
    static func uint32(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    static func string(_ bytes: some Collection<UInt8>) -> [UInt8] {
        uint32(UInt32(truncatingIfNeeded: bytes.count)) + bytes
    }
}
