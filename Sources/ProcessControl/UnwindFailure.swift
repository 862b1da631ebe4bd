import ElfFormat

/// Why unwinding could not go on.
struct UnwindFailure: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// Call frame information of an untrusted process.
typealias CFIReader = ByteCursor<UnwindFailure>

extension CFIReader {
    /// - Parameter address: of the first byte, for values that are relative to their own place.
    init(_ bytes: [UInt8], at address: UInt64) {
        self.init(ByteReader(bytes) { UnwindFailure("unwind data: \($0)") }, at: address)
    }
}
