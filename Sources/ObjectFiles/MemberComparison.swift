/// Small questions that the comparison of layouts asks of members and shapes.
extension TypeLayout {
    /// Members with those of anonymous structures and unions in their place, so that wrapping members in one, which
    /// moves nothing, is no difference.
    var flattened: [Member] {
        members.flatMap { member -> [Member] in
            guard member.name.isEmpty, case .anonymous(let inner) = member.type else { return [member] }
            return inner.flattened.map { part in
                var part = part
                part.offset &+= member.offset
                return part
            }
        }
    }
}

extension Member {
    func hasSamePlace(as other: Member) -> Bool {
        offset == other.offset && bitOffset == other.bitOffset && bitSize == other.bitSize
    }

    var title: String { name.isEmpty ? "the anonymous member at \(position)" : "member `\(name)`" }

    var position: String {
        guard bitSize != nil else { return "offset \(offset)" }
        return "bit \(offset.multipliedReportingOverflow(by: 8).partialValue &+ bitOffset)"
    }

    /// By its name it holds nothing yet: what takes its place is new.
    var isPadding: Bool {
        let name = name.lowercased()
        return ["pad", "reserved", "unused", "spare", "dummy", "filler"].contains { name.contains($0) }
    }
}

extension TypeShape {
    var isUnknown: Bool { if case .unknown = self { true } else { false } }

    /// An enumeration holds integers: `int state` may become `enum state state`.
    var isEnumeration: Bool {
        switch self {
        case .named(_, .enumeration, _): true
        case .anonymous(let layout): layout.kind == .enumeration
        default: false
        }
    }

    /// Of a type with a name.
    var typeKey: String? { if case .named(let key, _, _) = self { key } else { nil } }

    var sizeText: String { size.map { "\($0) bytes" } ?? "no size" }
}

extension TypeShape.Encoding {
    var isInteger: Bool { self == .signed || self == .unsigned }
}
