import Diagnostics
import ElfFormat

/// Bytes of an untrusted source (a module's file, a process's memory): a read outside of them is a refusal.
package typealias CheckedBytes = ByteReader<Refusal>

extension CheckedBytes {
    /// - Parameter subject: what the bytes are, for messages.
    package init(_ bytes: [UInt8], rule: Rule, subject: String) {
        self.init(bytes) { Refusal(rule, subject: subject, why: $0) }
    }
}
