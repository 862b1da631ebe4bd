/// Bytes in one or more pieces.
public protocol DataProtocol: RandomAccessCollection where Element == UInt8, SubSequence: DataProtocol {
    associatedtype Regions: BidirectionalCollection
    where Regions.Element: DataProtocol & ContiguousBytes, Regions.Element.SubSequence: ContiguousBytes

    var regions: Regions { get }
}

public protocol MutableDataProtocol: DataProtocol, MutableCollection, RangeReplaceableCollection {}

// What lies in one piece has one region.

extension Array: DataProtocol where Element == UInt8 {
    public var regions: CollectionOfOne<[UInt8]> { CollectionOfOne(self) }
}

extension ArraySlice: DataProtocol where Element == UInt8 {
    public var regions: CollectionOfOne<ArraySlice<UInt8>> { CollectionOfOne(self) }
}

extension ContiguousArray: DataProtocol where Element == UInt8 {
    public var regions: CollectionOfOne<ContiguousArray<UInt8>> { CollectionOfOne(self) }
}

extension Data: DataProtocol {
    public var regions: CollectionOfOne<Data> { CollectionOfOne(self) }
}

extension UnsafeRawBufferPointer: DataProtocol {
    public var regions: CollectionOfOne<UnsafeRawBufferPointer> { CollectionOfOne(self) }
}

extension UnsafeMutableRawBufferPointer: DataProtocol {
    public var regions: CollectionOfOne<UnsafeMutableRawBufferPointer> { CollectionOfOne(self) }
}

extension UnsafeBufferPointer: DataProtocol where Element == UInt8 {
    public var regions: CollectionOfOne<UnsafeBufferPointer<UInt8>> { CollectionOfOne(self) }
}

extension Slice: DataProtocol where Base: DataProtocol & ContiguousBytes {
    public var regions: CollectionOfOne<Slice<Base>> { CollectionOfOne(self) }
}

extension EmptyCollection: DataProtocol where Element == UInt8 {
    public var regions: EmptyCollection<Data> { EmptyCollection<Data>() }
}

extension CollectionOfOne: DataProtocol where Element == UInt8 {
    public var regions: CollectionOfOne<Data> { CollectionOfOne<Data>(Data(self)) }
}

extension Array: MutableDataProtocol where Element == UInt8 {}
extension ArraySlice: MutableDataProtocol where Element == UInt8 {}
extension ContiguousArray: MutableDataProtocol where Element == UInt8 {}
extension Data: MutableDataProtocol {}

extension DataProtocol {
    /// Copies from the start as many bytes as fit; returns how many.
    @discardableResult
    public func copyBytes(to target: UnsafeMutableRawBufferPointer) -> Int {
        let count = Swift.min(count, target.count)
        for (offset, byte) in prefix(count).enumerated() { target[offset] = byte }
        return count
    }

    @discardableResult
    public func copyBytes<T>(to target: UnsafeMutableBufferPointer<T>) -> Int {
        copyBytes(to: UnsafeMutableRawBufferPointer(target))
    }
}
