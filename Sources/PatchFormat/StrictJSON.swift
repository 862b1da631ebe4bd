/// Checks that bytes are one JSON text (RFC 8259) of the kind a manifest may be, before a decoder sees them.
///
/// Decoders differ in what they make of a key that stands twice, of invalid UTF-8 and of numbers too long for them
/// (trap two-manifests); here each of these is an error. Stricter than JSON: integers only, no nesting beyond
/// `maximumDepth`, no lone surrogates.
struct StrictJSON {
    static let maximumDepth = 32

    private let bytes: [UInt8]
    private var offset = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    static func check(_ bytes: [UInt8]) throws(FormatError) {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw FormatError(why: "the manifest is not valid UTF-8", offset: 0)
        }
        var scanner = StrictJSON(bytes)
        try scanner.value(depth: 0)
        scanner.skipSpace()
        guard scanner.offset == bytes.count else { throw scanner.error("something follows the manifest's JSON text") }
    }

    private func error(_ why: String) -> FormatError { FormatError(why: why, offset: offset) }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte = next, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { offset += 1 }
    }

    private mutating func take(_ character: Character) throws(FormatError) {
        guard next == character.asciiValue else { throw error("expected \(character) in the manifest") }
        offset += 1
    }

    private mutating func value(depth: Int) throws(FormatError) {
        guard depth < Self.maximumDepth else { throw error("the manifest is nested too deeply") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): try object(depth: depth)
        case UInt8(ascii: "["): try array(depth: depth)
        case UInt8(ascii: "\""): _ = try string()
        case UInt8(ascii: "t"): try literal("true")
        case UInt8(ascii: "f"): try literal("false")
        case UInt8(ascii: "n"): try literal("null")
        default: try integer()
        }
    }

    private mutating func object(depth: Int) throws(FormatError) {
        try take("{")
        var keys: Set<String> = []
        skipSpace()
        if next == UInt8(ascii: "}") {
            offset += 1
            return
        }
        while true {
            skipSpace()
            let start = offset
            guard keys.insert(try string()).inserted else {
                throw FormatError(why: "a key of the manifest stands twice in one object", offset: start)
            }
            skipSpace()
            try take(":")
            try value(depth: depth + 1)
            skipSpace()
            if next == UInt8(ascii: "}") {
                offset += 1
                return
            }
            try take(",")
        }
    }

    private mutating func array(depth: Int) throws(FormatError) {
        try take("[")
        skipSpace()
        if next == UInt8(ascii: "]") {
            offset += 1
            return
        }
        while true {
            try value(depth: depth + 1)
            skipSpace()
            if next == UInt8(ascii: "]") {
                offset += 1
                return
            }
            try take(",")
        }
    }

    private mutating func literal(_ text: StaticString) throws(FormatError) {
        for character in text.description { try take(character) }
    }

    private mutating func integer() throws(FormatError) {
        if next == UInt8(ascii: "-") { offset += 1 }
        let start = offset
        while let byte = next, (0x30...0x39).contains(byte) { offset += 1 }
        let digits = offset - start
        // 20 digits hold every UInt64; the decoder checks the exact range.
        guard digits > 0, digits <= 20 else { throw error("expected a value, or an integer of at most 20 digits") }
        guard digits == 1 || bytes[start] != 0x30 else { throw error("a number of the manifest starts with zero") }
        if let byte = next, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(byte) {
            throw error("the manifest has integers only")
        }
    }

    /// The string without its escapes, so that two spellings of one key are the same key.
    private mutating func string() throws(FormatError) -> String {
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
                throw error("a control character in a string of the manifest")
            default:
                text.append(byte)
                offset += 1
            }
        }
        throw error("a string of the manifest does not end")
    }

    private mutating func escape() throws(FormatError) -> [UInt8] {
        try take("\\")
        guard let byte = next else { throw error("a string of the manifest does not end") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0c]
        case UInt8(ascii: "n"): return [0x0a]
        case UInt8(ascii: "r"): return [0x0d]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw error("an unknown escape in a string of the manifest")
        }
    }

    private mutating func unicodeEscape() throws(FormatError) -> [UInt8] {
        var code = try fourDigits()
        if (0xd800..<0xdc00).contains(code) {
            try take("\\")
            try take("u")
            let low = try fourDigits()
            guard (0xdc00..<0xe000).contains(low) else { throw error("a lone surrogate in the manifest") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate in the manifest") }
        return Array(String(Character(scalar)).utf8)
    }

    private mutating func fourDigits() throws(FormatError) -> UInt32 {
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
