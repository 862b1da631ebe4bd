/// A type with typedefs and qualifiers taken off, as far as it decides how memory is read.
public indirect enum TypeShape: Hashable, Sendable, CustomStringConvertible {
    public enum Encoding: Hashable, Sendable {
        case signed, unsigned, float, boolean
        /// Any other `DW_ATE_…`.
        case other(UInt64)
    }

    case void
    case base(name: String, size: UInt64, encoding: Encoding)
    /// Pointers and C++ references.
    case pointer(TypeShape, size: UInt64)
    /// All dimensions; an element count is nil where the array has no constant size.
    case array(TypeShape, counts: [UInt64?])
    /// A type with a name: `key` is that of `DebugUnit.types`; `size` is nil where it is only declared.
    case named(key: String, kind: TypeKind, size: UInt64?)
    case anonymous(TypeLayout)
    case function(returns: TypeShape, parameters: [TypeShape], variadic: Bool)
    /// Something else, or debug info that can't be read.
    case unknown(String)

    /// Bytes, where the type has a size.
    public var size: UInt64? {
        switch self {
        case .base(_, let size, _), .pointer(_, let size): return size
        case .named(_, _, let size): return size
        case .anonymous(let layout): return layout.size
        case .array(let element, let counts):
            var size = element.size
            for count in counts {
                // A flexible array adds nothing to what holds it.
                let (product, overflow) = (size ?? 0).multipliedReportingOverflow(by: count ?? 0)
                size = overflow ? nil : product
            }
            return size
        case .void, .function, .unknown: return nil
        }
    }

    /// A function, or a pointer to one.
    var isOfFunction: Bool {
        switch self {
        case .function: true
        case .pointer(let target, _): target.isOfFunction
        default: false
        }
    }

    /// As C would write it, nearly: `struct client *`, `char [16]`, `int (*)(void *)`.
    public var description: String {
        switch self {
        case .void: return "void"
        case .base(let name, _, _): return name
        case .pointer(.function(let result, let parameters, let variadic), _):
            let list = parameters.map(\.description) + (variadic ? ["..."] : [])
            return "\(result) (*)(\(list.joined(separator: ", ")))"
        case .pointer(let target, _):
            let text = target.description
            return text.hasSuffix("*") ? text + "*" : text + " *"
        case .array(let element, let counts):
            return "\(element) " + counts.map { "[\($0.map(String.init) ?? "")]" }.joined()
        case .named(let key, _, _): return key
        case .anonymous(let layout): return "\(layout.kind.rawValue) { … }"
        case .function(let result, let parameters, let variadic):
            let list = parameters.map(\.description) + (variadic ? ["..."] : [])
            return "\(result) (\(list.joined(separator: ", ")))"
        case .unknown(let text): return text
        }
    }
}
