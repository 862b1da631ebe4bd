import FoundationEssentials

/// Base64 in its one form: padded, no spaces, unused bits zero.
enum Base64 {
    static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        let text = String(decoding: Array(text), as: UTF8.self)
        guard let data = Data(base64Encoded: text), data.base64EncodedString() == text else { return nil }
        return Array(data)
    }

    static func encode(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
}

/// The text around a signature, as ssh-keygen writes it.
enum Armor {
    private static let begin = Array("-----BEGIN SSH SIGNATURE-----\n".utf8)
    private static let end = Array("-----END SSH SIGNATURE-----\n".utf8)
    /// ssh-keygen's.
    private static let width = 70
    /// Certificates make signatures of a few kilobytes.
    static let maximumSize = 1 << 16

    /// Lines of one width (the last may be shorter), nothing before and nothing behind: with a width, there is one text
    /// for each signature, so that no bit of it can change unseen.
    static func decode(_ text: [UInt8]) throws(Malformed) -> [UInt8] {
        guard text.count <= maximumSize else { throw Malformed("it is larger than 64 KiB") }
        guard text.starts(with: begin), text.suffix(end.count).elementsEqual(end) else {
            throw Malformed("it is not an armored SSH signature")
        }
        let body = text.dropFirst(begin.count).dropLast(end.count)
        let width = body.firstIndex(of: 0x0a).map { $0 - body.startIndex } ?? 0
        guard width > 0, let bytes = Base64.decode(body.filter { $0 != 0x0a }),
            encode(bytes, width: width) == text
        else { throw Malformed("its base64 text is damaged") }
        return bytes
    }

    static func encode(_ bytes: [UInt8], width: Int = width) -> [UInt8] {
        var text = begin
        var rest = Array(Base64.encode(bytes).utf8)[...]
        while !rest.isEmpty {
            text += rest.prefix(width) + [0x0a]
            rest = rest.dropFirst(width)
        }
        return text + end
    }
}
