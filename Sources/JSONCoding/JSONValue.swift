/// A JSON text as a value. Numbers are integers: nothing that the tools exchange is a fraction.
enum JSONValue: Equatable {
    case null
    case bool(Bool)
    case integer(JSONInteger)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// What an error calls it.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a truth value"
        case .integer: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// Any value of `Int64` and of `UInt64`.
struct JSONInteger: Equatable {
    var isNegative: Bool
    var magnitude: UInt64

    init(isNegative: Bool, magnitude: UInt64) {
        self.isNegative = isNegative && magnitude > 0
        self.magnitude = magnitude
    }

    init(_ number: some FixedWidthInteger) {
        isNegative = number < 0
        magnitude = UInt64(truncatingIfNeeded: number.magnitude)
    }

    /// Nil when the number is out of the type's range.
    func value<T: FixedWidthInteger>(as type: T.Type) -> T? {
        guard isNegative else { return T(exactly: magnitude) }
        // The least Int64 has a magnitude that Int64 can't hold.
        guard magnitude <= 1 << 63 else { return nil }
        return T(exactly: Int64(truncatingIfNeeded: 0 &- magnitude))
    }
}
