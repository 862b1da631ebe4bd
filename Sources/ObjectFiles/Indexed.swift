/// The place of an element in an `Indexed<Element>`: a number of its own type, so that a section's can't be taken for a
/// symbol's.
///
/// 0 is ELF's "none" for sections and symbols, which is why a literal may stand for one. A number that comes from a file
/// becomes one by `Indexed.index(exactly:)`, or after another check of its bounds.
@frozen
public struct ElementIndex<Element>: RawRepresentable, Sendable {
    public var rawValue: Int

    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }
}

extension ElementIndex: Hashable, Comparable, Strideable {
    @inlinable
    public static func == (a: ElementIndex, b: ElementIndex) -> Bool { a.rawValue == b.rawValue }

    @inlinable
    public static func < (a: ElementIndex, b: ElementIndex) -> Bool { a.rawValue < b.rawValue }

    @inlinable
    public func hash(into hasher: inout Hasher) { rawValue.hash(into: &hasher) }

    /// What dictionaries and sets call: the number's own is a good deal faster than the one made of `hash(into:)`.
    @inlinable
    public func _rawHashValue(seed: Int) -> Int { rawValue._rawHashValue(seed: seed) }

    @inlinable
    public func distance(to other: ElementIndex) -> Int { other.rawValue - rawValue }

    @inlinable
    public func advanced(by count: Int) -> ElementIndex { ElementIndex(rawValue: rawValue + count) }
}

extension ElementIndex: ExpressibleByIntegerLiteral, CustomStringConvertible {
    @inlinable
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    public var description: String { String(rawValue) }
}

public typealias SectionIndex = ElementIndex<Section>
public typealias SymbolIndex = ElementIndex<Symbol>

/// An array that only an index of its own elements' type gets into.
@frozen
public struct Indexed<Element>: RandomAccessCollection {
    public typealias Index = ElementIndex<Element>
    public typealias Indices = Range<Index>

    @usableFromInline
    var elements: [Element]

    @inlinable
    public init(_ elements: [Element] = []) { self.elements = elements }

    @inlinable
    public var startIndex: Index { Index(rawValue: 0) }

    @inlinable
    public var endIndex: Index { Index(rawValue: elements.count) }

    @inlinable
    public var indices: Range<Index> { startIndex..<endIndex }

    @inlinable
    public subscript(index: Index) -> Element {
        // Lends the element: a copy of a section counts references of all that it holds.
        _read { yield elements[index.rawValue] }
        _modify { yield &elements[index.rawValue] }
    }

    /// The index that a number of a file stands for; nil where there is no such element.
    @inlinable
    public func index(exactly number: some BinaryInteger) -> Index? {
        guard let number = Int(exactly: number), elements.indices.contains(number) else { return nil }
        return Index(rawValue: number)
    }

    /// Each element with its index, which `Sequence`'s method of this name would give a bare number for.
    @inlinable
    public func enumerated() -> Zip2Sequence<Range<Index>, [Element]> { zip(indices, elements) }

    @inlinable
    public func makeIterator() -> IndexingIterator<[Element]> { elements.makeIterator() }

    @inlinable
    public mutating func append(_ element: Element) { elements.append(element) }

    @inlinable
    public mutating func reserveCapacity(_ count: Int) { elements.reserveCapacity(count) }
}

extension Indexed: Sendable where Element: Sendable {}

extension Indexed: ExpressibleByArrayLiteral {
    @inlinable
    public init(arrayLiteral elements: Element...) { self.init(elements) }
}

/// A value for some of the elements of an `Indexed<Element>`: a dictionary by their indices, without hashing.
@frozen
public struct IndexedMap<Element, Value> {
    @usableFromInline
    var values: [Value?]

    /// - Parameter count: of the elements.
    @inlinable
    public init(count: Int) { values = Array(repeating: nil, count: count) }

    @inlinable
    public subscript(index: ElementIndex<Element>) -> Value? {
        get { values.indices.contains(index.rawValue) ? values[index.rawValue] : nil }
        set { values[index.rawValue] = newValue }
    }

    @inlinable
    public subscript(index: ElementIndex<Element>, default value: @autoclosure () -> Value) -> Value {
        get { self[index] ?? value() }
        _modify {
            if values[index.rawValue] == nil { values[index.rawValue] = value() }
            yield &values[index.rawValue]!
        }
    }

    /// In the order of the indices.
    public var pairs: [(key: ElementIndex<Element>, value: Value)] {
        values.indices.compactMap { index in values[index].map { (ElementIndex(rawValue: index), $0) } }
    }
}

extension IndexedMap: Sendable where Value: Sendable {}
