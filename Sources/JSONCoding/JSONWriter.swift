/// Writes what an encoder has collected, in one order: the same value gives the same bytes.
struct JSONWriter {
    let style: JSONStyle
    private(set) var bytes: [UInt8] = []

    init(style: JSONStyle) { self.style = style }

    mutating func write(_ place: Place, depth: Int) {
        switch place.content {
        case .leaf(let value): write(value)
        case .array: writeArray(place.elements, depth: depth)
        case .object: writeObject(place.members, depth: depth)
        case .nothing: bytes += "{}".utf8
        }
    }

    private mutating func writeArray(_ elements: [Place], depth: Int) {
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            newLine(depth + 1)
            write(element, depth: depth + 1)
        }
        close(isEmpty: elements.isEmpty, UInt8(ascii: "]"), depth)
    }

    private mutating func writeObject(_ members: [String: Place], depth: Int) {
        bytes.append(UInt8(ascii: "{"))
        for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            newLine(depth + 1)
            write(member.key)
            bytes += (style == .pretty ? " : " : ":").utf8
            write(member.value, depth: depth + 1)
        }
        close(isEmpty: members.isEmpty, UInt8(ascii: "}"), depth)
    }

    /// Foundation leaves an empty line in an array or object that is empty.
    private mutating func close(isEmpty: Bool, _ character: UInt8, _ depth: Int) {
        if isEmpty { newLine(0) }
        newLine(depth)
        bytes.append(character)
    }

    private mutating func newLine(_ depth: Int) {
        guard style == .pretty else { return }
        bytes.append(0x0a)
        for _ in 0..<2 * depth { bytes.append(0x20) }
    }

    private mutating func write(_ value: JSONValue) {
        switch value {
        case .bool(let flag): bytes += (flag ? "true" : "false").utf8
        case .integer(let number):
            if number.isNegative { bytes.append(UInt8(ascii: "-")) }
            bytes += String(number.magnitude).utf8
        case .string(let text): write(text)
        case .null, .array, .object: bytes += "null".utf8
        }
    }

    private mutating func write(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x08: bytes += #"\b"#.utf8
            case 0x09: bytes += #"\t"#.utf8
            case 0x0a: bytes += #"\n"#.utf8
            case 0x0c: bytes += #"\f"#.utf8
            case 0x0d: bytes += #"\r"#.utf8
            case 0..<0x20: bytes += ("\\u00" + (byte < 0x10 ? "0" : "") + String(byte, radix: 16)).utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
