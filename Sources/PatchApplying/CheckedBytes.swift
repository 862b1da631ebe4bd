import Diagnostics
import ElfFormat

/// Bytes of an untrusted source (a module's file, a process's memory): a read outside of them is a refusal.
typealias CheckedBytes = ByteReader<Refusal>

extension CheckedBytes {
    /// - Parameter subject: what the bytes are, for messages.
    init(_ bytes: [UInt8], rule: Rule, subject: String) {
        self.init(bytes) { Refusal(rule, subject: subject, why: $0) }
    }
}

/// The bytes that lower- or upper-case hexadecimal digits stand for; nil when they are not that.
func bytesOfHex(_ digits: String) -> [UInt8]? {
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

/// `value` rounded up to a multiple of `alignment` (a power of two); nil on overflow.
func roundUp(_ value: UInt64, _ alignment: UInt64) -> UInt64? {
    let (sum, overflow) = value.addingReportingOverflow(alignment &- 1)
    return overflow ? nil : sum & ~(alignment &- 1)
}

func roundDown(_ value: UInt64, _ alignment: UInt64) -> UInt64 { value & ~(alignment &- 1) }

let pageSize: UInt64 = 4096
