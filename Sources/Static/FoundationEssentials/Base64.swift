// Base64 as in RFC 4648, section 4: with padding, and nothing between the characters.

private let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
private let padding = UInt8(ascii: "=")

extension Data {
    public func base64EncodedString() -> String {
        var text: [UInt8] = []
        var rest = self[...]
        while !rest.isEmpty {
            let group = Array(rest.prefix(3))
            rest = rest.dropFirst(3)
            let bits = (group + [0, 0]).prefix(3).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            for index in 0..<4 {
                text.append(index > group.count ? padding : alphabet[Int(bits >> (18 - 6 * UInt32(index)) & 63)])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil when `text` is not base64.
    public init?(base64Encoded text: String) {
        var characters = Array(text.utf8)
        guard characters.count % 4 == 0 else { return nil }
        var unused = 0
        while unused < 2, characters.last == padding {
            characters.removeLast()
            unused += 1
        }
        var (bits, count, bytes) = (UInt32(0), UInt32(0), [UInt8]())
        for character in characters {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> count))
        }
        // What is left of the last character must be zero bits, or two texts would mean the same.
        guard bits & (1 << count - 1) == 0 else { return nil }
        self.init(bytes)
    }
}
