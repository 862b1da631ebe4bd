/// One line of `/proc/PID/maps`.
public struct MemoryMapping: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        case file, anonymous, heap, stack
        /// `[vdso]`, `[vvar]`, `[vsyscall]`, `[uprobes]`: the kernel's.
        case kernel
    }
    public var range: RemoteRange
    public var isReadable: Bool
    public var isWritable: Bool
    public var isExecutable: Bool
    public var isShared: Bool
    /// Offset in the file, in bytes.
    public var fileOffset: UInt64
    /// `major:minor` in hexadecimal.
    public var device: String
    /// 0 when no file is behind it.
    public var inode: UInt64
    /// As the kernel prints it: escaped, without ` (deleted)`; `[heap]` and the like; empty when anonymous.
    public var path: String
    public var isDeleted: Bool

    public var start: RemoteAddress { range.start }
    public var end: RemoteAddress { range.end }

    public var kind: Kind {
        if inode != 0 || path.hasPrefix("/") { return .file }
        switch path {
        case "[heap]": return .heap
        case "[stack]": return .stack
        case "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]": return .kernel
        default: return .anonymous
        }
    }
}

/// The mappings of a process at one moment, by ascending address.
public struct MemoryMap: Hashable, Sendable {
    public var mappings: [MemoryMapping]

    public init(mappings: [MemoryMapping]) { self.mappings = mappings }

    /// Throws `noSuchProcess`, `noPermission`, `changing` or `malformed`.
    public static func read(pid: Int32) throws(ProcessError) -> MemoryMap {
        try RemoteMemory(pid: pid).map()
    }

    public static func parse(_ text: [UInt8]) throws(ProcessError) -> MemoryMap {
        let map = try parseLines(text)
        guard map.isAscending else { throw .malformed("/proc/PID/maps: it is out of order") }
        return map
    }

    /// The mappings as `read` gives them, once they are in order.
    ///
    /// The kernel writes the file page by page. A process that maps memory meanwhile may have a mapping twice, or in two
    /// lengths (trap maps-torn).
    /// - Throws: `changing` when no reading of several was in order.
    static func settled(
        pid: Int32, _ read: () throws(ProcessError) -> [UInt8]
    ) throws(ProcessError) -> MemoryMap {
        for _ in 0..<16 {
            let map = try parseLines(try read())
            if map.isAscending { return map }
        }
        throw .changing(pid: pid)
    }

    private static func parseLines(_ text: [UInt8]) throws(ProcessError) -> MemoryMap {
        var mappings: [MemoryMapping] = []
        for line in text.split(separator: UInt8(ascii: "\n")) {
            guard let mapping = parseLine(line) else {
                throw .malformed("line of /proc/PID/maps: \(String(decoding: line, as: UTF8.self))")
            }
            mappings.append(mapping)
        }
        return MemoryMap(mappings: mappings)
    }

    private var isAscending: Bool { zip(mappings, mappings.dropFirst()).allSatisfy { $0.end <= $1.start } }

    /// Index of the mapping that holds the byte.
    public func index(containing address: RemoteAddress) -> Int? {
        var low = 0
        var high = mappings.count
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].end <= address { low = middle + 1 } else { high = middle }
        }
        return low < mappings.count && mappings[low].start <= address ? low : nil
    }

    public func mapping(containing address: RemoteAddress) -> MemoryMapping? {
        index(containing: address).map { mappings[$0] }
    }
}

/// `start-end perms offset major:minor inode   path`; nil when it is not of that form.
private func parseLine(_ line: ArraySlice<UInt8>) -> MemoryMapping? {
    var scanner = MapsScanner(rest: line)
    guard let start = scanner.hexadecimal(upTo: "-"), let end = scanner.hexadecimal(upTo: " "), start < end,
        let permissions = scanner.field(), permissions.count == 4, let offset = scanner.hexadecimal(upTo: " "),
        let device = scanner.field(), let inode = scanner.field(),
        let number = UInt64(String(decoding: inode, as: UTF8.self))
    else { return nil }
    let letters = Array(permissions)
    var path = String(decoding: scanner.rest.drop { $0 == 32 }, as: UTF8.self)
    let deleted = path.hasSuffix(" (deleted)")
    if deleted { path.removeLast(10) }
    return MemoryMapping(
        range: RemoteRange(start: RemoteAddress(start), end: RemoteAddress(end)),
        isReadable: letters[0] == UInt8(ascii: "r"), isWritable: letters[1] == UInt8(ascii: "w"),
        isExecutable: letters[2] == UInt8(ascii: "x"), isShared: letters[3] == UInt8(ascii: "s"), fileOffset: offset,
        device: String(decoding: device, as: UTF8.self), inode: number, path: path, isDeleted: deleted)
}

private struct MapsScanner {
    var rest: ArraySlice<UInt8>

    mutating func hexadecimal(upTo terminator: Unicode.Scalar) -> UInt64? {
        var value: UInt64 = 0
        var digits = 0
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: terminator) { return digits > 0 ? value : nil }
            guard digits < 16, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            value = value << 4 | UInt64(digit)
            digits += 1
        }
        return nil
    }

    mutating func field() -> ArraySlice<UInt8>? {
        let field = rest.prefix { $0 != 32 }
        rest = rest[field.endIndex...].dropFirst()
        return field.isEmpty ? nil : field
    }
}
