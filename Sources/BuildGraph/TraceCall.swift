/// What a descriptor refers to, as strace tells it.
struct TracedFile: Sendable, Hashable {
    /// Absolute; `pipe:[NUMBER]`, `socket:[NUMBER]` and the like for what has no path.
    var path: String
    var isDeleted = false

    /// The number of a pipe.
    var pipe: Int? {
        guard path.hasPrefix("pipe:["), path.hasSuffix("]") else { return nil }
        return Int(path.dropFirst(6).dropLast())
    }
}

/// One argument of a system call.
enum TraceArgument: Sendable, Hashable {
    case text(String)
    /// strace cut it off.
    case cutText
    case descriptor(Int, TracedFile?)
    case currentDirectory(String?)
    case list([TraceArgument])
    /// Flags, structures, addresses: as they stand.
    case other(String)

    var words: String { if case .other(let words) = self { words } else { "" } }
}

/// One finished system call.
struct TraceCall: Sendable, Hashable {
    var name: String
    var arguments: [TraceArgument] = []
    /// nil where the call did not return.
    var result: Int?
    /// The file of a descriptor that the call returns.
    var file: TracedFile?
    /// `ENOENT` and the like.
    var error: String?

    var isDone: Bool { result.map { $0 >= 0 } ?? false }

    func argument(_ index: Int) -> TraceArgument? { arguments.indices.contains(index) ? arguments[index] : nil }

    /// - Parameter text: `NAME(ARGUMENTS) = RESULT`; nil where it is not that.
    init?(_ text: TraceText) {
        var text = text
        name = text.word()
        guard !name.isEmpty, text.takes("(") else { return nil }
        while !text.takes(")") {
            text.skipSpaces()
            guard let argument = text.argument() else { return nil }
            arguments.append(argument)
            guard text.takes(",") || text.next == UInt8(ascii: ")") else { return nil }
        }
        text.skipSpaces()
        guard text.takes("=") else { return nil }
        text.skipSpaces()
        result = text.number()
        if result == nil { return }
        file = text.file()
        text.skipSpaces()
        let word = text.word()
        error = word.hasPrefix("E") ? word : nil
    }
}

extension TraceText {
    /// `<PATH>` or `<PATH>(deleted)`.
    fileprivate mutating func file() -> TracedFile? {
        guard takes("<"), let path = text(until: UInt8(ascii: ">")) else { return nil }
        return TracedFile(path: path, isDeleted: takes("(deleted)"))
    }

    fileprivate mutating func argument() -> TraceArgument? {
        switch next {
        case UInt8(ascii: "\""):
            offset += 1
            guard let text = text(until: UInt8(ascii: "\"")) else { return nil }
            return takes("...") ? .cutText : .text(text)
        case UInt8(ascii: "["): return list()
        case UInt8(ascii: "A") where takes("AT_FDCWD"): return .currentDirectory(file()?.path)
        case let byte? where (0x30...0x39).contains(byte):
            let start = offset
            if let number = number(), next == UInt8(ascii: "<") { return .descriptor(number, file()) }
            offset = start
            return raw()
        default: return raw()
        }
    }

    private mutating func list() -> TraceArgument? {
        offset += 1
        var elements: [TraceArgument] = []
        while !takes("]") {
            skipSpaces()
            guard next != nil, let element = argument() else { return nil }
            elements.append(element)
            guard takes(",") || next == UInt8(ascii: "]") else { return nil }
        }
        return .list(elements)
    }

    /// What stands here up to the comma or bracket that ends it.
    private mutating func raw() -> TraceArgument? {
        let start = offset
        var depth = 0
        while let byte = next {
            switch byte {
            case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ","):
                if depth == 0 { return .other(String(decoding: bytes[start..<offset], as: UTF8.self)) }
                if byte != UInt8(ascii: ",") { depth -= 1 }
            case UInt8(ascii: "\""):
                offset += 1
                guard text(until: UInt8(ascii: "\"")) != nil else { return nil }
                continue
            default: break
            }
            offset += 1
        }
        return nil
    }
}
