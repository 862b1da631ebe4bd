import Glibc

/// Bytes, indexed as their slices are: a slice's first index is its place in the whole.
public struct Data: RandomAccessCollection, MutableCollection, RangeReplaceableCollection, Hashable, Sendable {
    private var bytes: ArraySlice<UInt8>

    private init(slice: ArraySlice<UInt8>) { bytes = slice }

    public init() { bytes = [] }
    public init(_ elements: some Sequence<UInt8>) { bytes = ArraySlice(elements) }
    public init(repeating byte: UInt8, count: Int) { bytes = ArraySlice(repeating: byte, count: count) }
    public init(count: Int) { self.init(repeating: 0, count: count) }
    public init(bytes: UnsafeRawPointer, count: Int) {
        self.init(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    public init(capacity: Int) {
        self.init()
        reserveCapacity(capacity)
    }

    /// What becomes of memory that was handed over.
    public enum Deallocator {
        case none
        case free
        case custom((UnsafeMutableRawPointer, Int) -> Void)
    }

    /// The bytes are copied all the same, and the memory given back at once.
    public init(bytesNoCopy start: UnsafeMutableRawPointer, count: Int, deallocator: Deallocator) {
        self.init(bytes: start, count: count)
        switch deallocator {
        case .none: break
        case .free: free(start)
        case .custom(let give): give(start, count)
        }
    }

    public var startIndex: Int { bytes.startIndex }
    public var endIndex: Int { bytes.endIndex }

    public subscript(index: Int) -> UInt8 {
        get { bytes[index] }
        set { bytes[index] = newValue }
    }

    public subscript(range: Range<Int>) -> Data {
        get { Data(slice: bytes[range]) }
        set { bytes[range] = newValue.bytes }
    }

    public mutating func replaceSubrange(_ range: Range<Int>, with elements: some Collection<UInt8>) {
        bytes.replaceSubrange(range, with: elements)
    }

    public mutating func append(contentsOf elements: some Sequence<UInt8>) { bytes.append(contentsOf: elements) }
    public mutating func append(_ byte: UInt8) { bytes.append(byte) }
    public mutating func append(_ other: Data) { bytes.append(contentsOf: other.bytes) }
    public mutating func reserveCapacity(_ count: Int) { bytes.reserveCapacity(count) }

    public func subdata(in range: Range<Int>) -> Data { Data(bytes[range]) }

    public static func == (one: Data, other: Data) -> Bool { one.elementsEqual(other) }
    public func hash(into hasher: inout Hasher) { withUnsafeBytes { hasher.combine(bytes: $0) } }
}

extension Data: ContiguousBytes {
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes(body)
    }

    public mutating func withUnsafeMutableBytes<Result>(
        _ body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) rethrows -> Result { try bytes.withUnsafeMutableBytes(body) }
}

extension Data: CustomStringConvertible {
    public var description: String { "\(count) bytes" }
}
