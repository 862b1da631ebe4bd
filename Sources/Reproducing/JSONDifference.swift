import FoundationEssentials

/// JSON as a value, for comparing documents whose shape does not matter.
enum JSONValue: Decodable, Equatable, Sendable {
    case null
    case bool(Bool)
    /// As it is printed; whole numbers exactly.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let text = try? value.decode(String.self) {
            self = .string(text)
        } else if let array = try? value.decode([JSONValue].self) {
            self = .array(array)
        } else if let object = try? value.decode([String: JSONValue].self) {
            self = .object(object)
        } else if let number = try? value.decode(UInt64.self) {
            self = .number("\(number)")
        } else if let number = try? value.decode(Int64.self) {
            self = .number("\(number)")
        } else {
            self = .number("\(try value.decode(Double.self))")
        }
    }

    init(_ bytes: [UInt8]) throws { self = try JSONDecoder().decode(JSONValue.self, from: Data(bytes)) }

    subscript(_ key: String) -> JSONValue? { if case .object(let members) = self { members[key] } else { nil } }

    /// What an element of a list is called: `handle_setup`.
    fileprivate var title: String? {
        for key in ["name", "file", "symbol", "id", "rule"] {
            if case .string(let text)? = self[key], !text.isEmpty { return printable(text) }
        }
        return nil
    }
}

/// Where two documents first differ.
struct JSONDifference: Equatable, Sendable {
    /// `targets[0].functions[3 handle_setup].reason`
    var path: String
    /// The two values, as a reader wants to see them.
    var values: (first: String, second: String)

    static func == (one: JSONDifference, other: JSONDifference) -> Bool {
        one.path == other.path && one.values == other.values
    }

    /// The first difference, members in the order of their names; nil where both are the same.
    init?(_ first: JSONValue?, _ second: JSONValue?, at path: String, leavingOut: Set<String> = []) {
        guard first != second else { return nil }
        switch (first, second) {
        case (.object(let one)?, .object(let other)?):
            for key in Set(one.keys).union(other.keys).sorted() where !leavingOut.contains(key) {
                let inner = path.isEmpty ? key : path + "." + key
                guard let difference = JSONDifference(one[key], other[key], at: inner) else { continue }
                self = difference
                return
            }
            return nil
        case (.array(let one)?, .array(let other)?):
            for (index, pair) in zip(one, other).enumerated() where pair.0 != pair.1 {
                let title = pair.0.title.map { " " + $0 } ?? ""
                self = JSONDifference(pair.0, pair.1, at: "\(path)[\(index)\(title)]") ?? JSONDifference(path, pair)
                return
            }
            self.init(path: path, values: ("\(one.count) elements", "\(other.count) elements"))
        default: self.init(path, (first, second))
        }
    }

    private init(_ path: String, _ pair: (JSONValue?, JSONValue?)) {
        self.init(path: path, values: (Self.shown(pair.0), Self.shown(pair.1)))
    }

    private init(path: String, values: (first: String, second: String)) {
        self.path = path
        self.values = values
    }

    private static func shown(_ value: JSONValue?) -> String {
        switch value {
        case nil, .null?: "nothing"
        case .bool(let bool)?: "\(bool)"
        case .number(let number)?: number
        case .string(let text)?: "\"\(printable(text))\""
        case .array(let elements)?: "\(elements.count) elements"
        case .object(let members)?: "an object with \(members.keys.sorted().joined(separator: ", "))"
        }
    }
}

/// What an unsigned bundle says goes to a terminal: no control characters, and not too much of it.
private func printable(_ text: String) -> String {
    let scalars = text.unicodeScalars.prefix(300).map { scalar in
        scalar.properties.generalCategory == .control ? scalar.escaped(asASCII: true) : String(scalar)
    }
    return scalars.joined() + (text.unicodeScalars.count > 300 ? "…" : "")
}
