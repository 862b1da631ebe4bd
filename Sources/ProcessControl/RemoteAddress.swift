/// An address in another process: never dereferenced here, so a type of its own.
///
/// Arithmetic wraps: the values come from processes that may be hostile.
public struct RemoteAddress: RawRepresentable, Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }

    public static func < (a: RemoteAddress, b: RemoteAddress) -> Bool { a.rawValue < b.rawValue }
    public static func + (a: RemoteAddress, bytes: UInt64) -> RemoteAddress { RemoteAddress(a.rawValue &+ bytes) }
    public static func - (a: RemoteAddress, bytes: UInt64) -> RemoteAddress { RemoteAddress(a.rawValue &- bytes) }

    /// Bytes from `origin` to here, modulo 2^64.
    public func distance(from origin: RemoteAddress) -> UInt64 { rawValue &- origin.rawValue }
    /// The address of the page of 4,096 bytes that holds this byte.
    public var page: RemoteAddress { RemoteAddress(rawValue & ~4095) }

    public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// Half-open range of remote addresses `[start, end)`; empty when `end <= start`.
public struct RemoteRange: Hashable, Sendable, Codable, CustomStringConvertible {
    public var start: RemoteAddress
    public var end: RemoteAddress

    public init(start: RemoteAddress, end: RemoteAddress) {
        self.start = start
        self.end = end
    }
    /// `count` bytes from `start`, cut off at the end of the address space.
    public init(start: RemoteAddress, count: UInt64) {
        let (end, overflow) = start.rawValue.addingReportingOverflow(count)
        self.init(start: start, end: RemoteAddress(overflow ? .max : end))
    }

    /// In bytes.
    public var count: UInt64 { end > start ? end.rawValue - start.rawValue : 0 }
    public var isEmpty: Bool { end <= start }
    public func contains(_ address: RemoteAddress) -> Bool { address >= start && address < end }
    public func contains(_ other: RemoteRange) -> Bool { other.start >= start && other.end <= end }
    public func overlaps(_ other: RemoteRange) -> Bool { start < other.end && other.start < end }
    public var description: String { "\(start)-\(end)" }
}
