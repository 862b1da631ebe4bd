import PatchFormat

/// `jmp rel32`.
package enum Jump {
    /// The five bytes at `entry` that lead to `destination`; nil when it lies out of reach.
    package static func bytes(from entry: UInt64, to destination: UInt64) -> [UInt8]? {
        let distance = Int64(bitPattern: destination &- (entry &+ UInt64(Entry.jumpLength)))
        guard let short = Int32(exactly: distance) else { return nil }
        let bits = UInt32(bitPattern: short)
        return [0xe9] + (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
    }
}
