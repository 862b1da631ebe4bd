import Crypto

/// SHA-256, the only digest of the format.
public enum Digest {
    /// SHA-256 of `bytes` in lower-case hexadecimal: 64 characters.
    public static func sha256(_ bytes: some Collection<UInt8>) -> String {
        if let digest = bytes.withContiguousStorageIfAvailable({ SHA256.hash(data: UnsafeRawBufferPointer($0)) }) {
            return hexadecimal(digest)
        }
        return hexadecimal(SHA256.hash(data: Array(bytes)))
    }

    /// Two lower-case digits a byte.
    public static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// True for a non-empty even number of lower-case hexadecimal digits.
    static func isHexadecimal(_ text: String) -> Bool {
        let digits = text.utf8
        return !digits.isEmpty && digits.count % 2 == 0
            && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    static func isDigest(_ text: String) -> Bool { text.utf8.count == 64 && isHexadecimal(text) }
}

/// The bytes that lower- or upper-case hexadecimal digits stand for; nil when they are not that.
package func bytesOfHex(_ digits: String) -> [UInt8]? {
    let text = Array(digits.utf8)
    guard text.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 2)
    for index in stride(from: 0, to: text.count, by: 2) {
        guard let high = hexValue(text[index]), let low = hexValue(text[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
    }
    return bytes
}

private func hexValue(_ character: UInt8) -> UInt8? {
    switch character {
    case 0x30...0x39: character &- 0x30
    case 0x61...0x66: character &- 0x61 &+ 10
    case 0x41...0x46: character &- 0x41 &+ 10
    default: nil
    }
}
