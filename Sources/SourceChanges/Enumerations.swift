extension LexedSource {
    /// A brace that follows would open a list of enumerators: the last tokens are `enum`, and attributes, a name and an
    /// underlying type, or none of them.
    var endsWithEnumeration: Bool {
        var rest = tokens.suffix(200)
        while let token = rest.popLast() {
            switch token.bytes.first {
            case UInt8(ascii: ")"):
                // Behind the parameters of a function that returns one stands no list.
                guard Self.drop(from: &rest, open: UInt8(ascii: "("), close: UInt8(ascii: ")")),
                    let name = rest.last, Self.attributes.contains(String(decoding: name.bytes, as: UTF8.self))
                else { return false }
            case UInt8(ascii: "]"):
                guard Self.drop(from: &rest, open: UInt8(ascii: "["), close: UInt8(ascii: "]")) else { return false }
            case UInt8(ascii: ":"): break
            default:
                guard token.isIdentifier else { return false }
                if token.bytes.elementsEqual("enum".utf8) { return true }
            }
        }
        return false
    }

    private static let attributes: Set = ["__attribute__", "__attribute", "__declspec", "alignas", "_Alignas"]

    /// Takes off what is open since one closing mark was taken, the opening one included.
    private static func drop(from tokens: inout ArraySlice<Token>, open: UInt8, close: UInt8) -> Bool {
        var depth = 1
        while depth > 0, let mark = tokens.popLast()?.bytes.first {
            if mark == close { depth += 1 }
            if mark == open { depth -= 1 }
        }
        return depth == 0
    }
}
