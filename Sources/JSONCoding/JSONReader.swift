/// Bytes that are not one JSON text of the strict kind.
public struct JSONSyntaxError: Error, Hashable, CustomStringConvertible {
    public var why: String
    /// In the bytes that were read.
    public var offset: Int
    public var description: String { "\(why) (at byte \(offset))" }
}

/// Reads bytes that are one JSON text (RFC 8259) of the kind a manifest may be.
///
/// Readers differ in what they make of a key that stands twice, of invalid UTF-8 and of numbers too long for them
/// (trap two-manifests); here each of these is an error. Stricter than JSON: integers only, no nesting beyond
/// `maximumDepth`, no lone surrogates.
struct JSONReader {
    static let maximumDepth = 32

    private let bytes: [UInt8]
    private var offset = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    static func read(_ bytes: [UInt8]) throws(JSONSyntaxError) -> JSONValue {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw JSONSyntaxError(why: "it is not valid UTF-8", offset: 0)
        }
        var reader = JSONReader(bytes)
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.offset == bytes.count else { throw reader.error("something follows the JSON text") }
        return value
    }

    private func error(_ why: String) -> JSONSyntaxError { JSONSyntaxError(why: why, offset: offset) }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { offset += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) throws(JSONSyntaxError) {
        guard next == UInt8(ascii: character) else { throw error("expected \(character)") }
        offset += 1
    }

    /// Takes the byte that ends an array or object, if it stands here.
    private mutating func takesEnd(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard next == UInt8(ascii: character) else { return false }
        offset += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw error("it is nested too deeply") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .array(try array(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: return .integer(try integer())
        }
    }

    private mutating func object(depth: Int) throws(JSONSyntaxError) -> [String: JSONValue] {
        try take("{")
        var members: [String: JSONValue] = [:]
        if takesEnd("}") { return members }
        while true {
            skipSpace()
            let start = offset
            let key = try string()
            skipSpace()
            try take(":")
            let value = try value(depth: depth + 1)
            guard members.updateValue(value, forKey: key) == nil else {
                throw JSONSyntaxError(why: "a key stands twice in one object", offset: start)
            }
            if takesEnd("}") { return members }
            try take(",")
        }
    }

    private mutating func array(depth: Int) throws(JSONSyntaxError) -> [JSONValue] {
        try take("[")
        var elements: [JSONValue] = []
        if takesEnd("]") { return elements }
        while true {
            elements.append(try value(depth: depth + 1))
            if takesEnd("]") { return elements }
            try take(",")
        }
    }

    private mutating func literal(_ text: String, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        for character in text.unicodeScalars { try take(character) }
        return value
    }

    private mutating func integer() throws(JSONSyntaxError) -> JSONInteger {
        let isNegative = next == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        let start = offset
        while let byte = next, (0x30...0x39).contains(byte) { offset += 1 }
        let digits = bytes[start..<offset]
        guard let first = digits.first else { throw error("expected a value, or an integer") }
        guard digits.count == 1 || first != 0x30 else { throw error("a number starts with zero") }
        if let byte = next, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(byte) {
            throw error("a number is not an integer")
        }
        var magnitude: UInt64 = 0
        for digit in digits {
            let (tens, tooLarge) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(digit - 0x30))
            guard !tooLarge, !carry else { throw error("a number is too large") }
            magnitude = sum
        }
        return JSONInteger(isNegative: isNegative, magnitude: magnitude)
    }

    /// The string without its escapes, so that two spellings of one key are the same key.
    private mutating func string() throws(JSONSyntaxError) -> String {
        try take("\"")
        var text: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                text += try escape()
            case 0..<0x20:
                throw error("a control character in a string")
            default:
                text += plainBytes()
            }
        }
        throw error("a string does not end")
    }

    /// As far as nothing needs a second look.
    private mutating func plainBytes() -> ArraySlice<UInt8> {
        let start = offset
        while let byte = next, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { offset += 1 }
        return bytes[start..<offset]
    }

    private mutating func escape() throws(JSONSyntaxError) -> [UInt8] {
        try take("\\")
        guard let byte = next else { throw error("a string does not end") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0c]
        case UInt8(ascii: "n"): return [0x0a]
        case UInt8(ascii: "r"): return [0x0d]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw error("an unknown escape in a string")
        }
    }

    private mutating func unicodeEscape() throws(JSONSyntaxError) -> [UInt8] {
        var code = try fourDigits()
        if (0xd800..<0xdc00).contains(code) {
            try take("\\")
            try take("u")
            let low = try fourDigits()
            guard (0xdc00..<0xe000).contains(low) else { throw error("a lone surrogate") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate") }
        return Array(String(Character(scalar)).utf8)
    }

    private mutating func fourDigits() throws(JSONSyntaxError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("expected four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            offset += 1
        }
        return code
    }
}
