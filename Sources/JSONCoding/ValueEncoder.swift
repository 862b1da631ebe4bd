/// Where an encoder puts a value: a leaf, or places for elements or members.
final class Place {
    enum Content {
        case nothing
        case leaf(JSONValue)
        case array
        case object
    }
    var content = Content.nothing
    var elements: [Place] = []
    var members: [String: Place] = [:]

    func element() -> Place {
        content = .array
        let place = Place()
        elements.append(place)
        return place
    }

    func member(_ key: String) -> Place {
        content = .object
        let place = Place()
        members[key] = place
        return place
    }
}

/// Coding paths are empty: nothing in here fails by where it stands.
struct ValueEncoder: Encoder {
    let place: Place
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        place.content = .object
        return KeyedEncodingContainer(KeyedEncoding<Key>(place: place))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        place.content = .array
        return UnkeyedEncoding(place: place)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { SingleEncoding(place: place) }
}

private struct KeyedEncoding<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let place: Place
    var codingPath: [any CodingKey] { [] }

    func encodeNil(forKey key: Key) { place.member(key.stringValue).content = .leaf(.null) }

    func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        try value.encode(to: ValueEncoder(place: place.member(key.stringValue)))
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        ValueEncoder(place: place.member(key.stringValue)).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        ValueEncoder(place: place.member(key.stringValue)).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { ValueEncoder(place: place.member("super")) }
    func superEncoder(forKey key: Key) -> any Encoder { ValueEncoder(place: place.member(key.stringValue)) }
}

private struct UnkeyedEncoding: UnkeyedEncodingContainer {
    let place: Place
    var codingPath: [any CodingKey] { [] }
    var count: Int { place.elements.count }

    func encodeNil() { place.element().content = .leaf(.null) }

    func encode<T: Encodable>(_ value: T) throws { try value.encode(to: ValueEncoder(place: place.element())) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        ValueEncoder(place: place.element()).container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        ValueEncoder(place: place.element()).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { ValueEncoder(place: place.element()) }
}

private struct SingleEncoding: SingleValueEncodingContainer {
    let place: Place
    var codingPath: [any CodingKey] { [] }

    private func put(_ value: JSONValue) { place.content = .leaf(value) }
    private func put(_ number: some FixedWidthInteger) { put(.integer(JSONInteger(number))) }

    func encodeNil() { put(.null) }
    func encode(_ value: Bool) { put(.bool(value)) }
    func encode(_ value: String) { put(.string(value)) }
    func encode(_ value: Int) { put(value) }
    func encode(_ value: Int8) { put(value) }
    func encode(_ value: Int16) { put(value) }
    func encode(_ value: Int32) { put(value) }
    func encode(_ value: Int64) { put(value) }
    func encode(_ value: UInt) { put(value) }
    func encode(_ value: UInt8) { put(value) }
    func encode(_ value: UInt16) { put(value) }
    func encode(_ value: UInt32) { put(value) }
    func encode(_ value: UInt64) { put(value) }
    func encode(_ value: Double) throws { throw fraction(value) }
    func encode(_ value: Float) throws { throw fraction(value) }
    func encode<T: Encodable>(_ value: T) throws { try value.encode(to: ValueEncoder(place: place)) }

    private func fraction(_ value: Any) -> EncodingError {
        .invalidValue(value, .init(codingPath: [], debugDescription: "JSON of this format has integers only"))
    }
}
