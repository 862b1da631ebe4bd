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
