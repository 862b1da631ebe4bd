import Diagnostics
import Glibc

/// One regular file of an archive.
struct ArchiveMember {
    var name: String
    var bytes: [UInt8]
    /// Offset of its header in the archive.
    var offset = 0
    /// Of files that are handed over with a bundle; no member of a bundle is.
    var isExecutable = false
}

/// Something in an archive or in a manifest that the format does not allow.
struct FormatError: Error {
    var why: String
    /// Offset in the bytes that were read.
    var offset: Int
    var rule: Rule = .badBundle

    func refusal(subject: String) -> Refusal {
        Refusal(rule, subject: subject, why: "\(why) (at byte \(offset))")
    }
}

/// The one form of ustar archive that a bundle may have: regular files only, mode 0644, user, group and time zero,
/// no padding beyond the two zero blocks at the end.
///
/// There is exactly one encoding of a list of members, and the reader accepts nothing else, so two readers can't see
/// different files in the same bytes (trap two-manifests).
enum Ustar {
    static let blockSize = 512
    /// Bytes of a name: the `name` field is used without `prefix`.
    static let maximumName = 100

    static func write(_ members: [ArchiveMember]) -> [UInt8] {
        var archive: [UInt8] = []
        for member in members {
            archive += header(
                name: Array(member.name.utf8), size: member.bytes.count, isExecutable: member.isExecutable)
            archive += member.bytes
            archive += [UInt8](repeating: 0, count: padding(member.bytes.count))
        }
        return archive + [UInt8](repeating: 0, count: 2 * blockSize)
    }

    /// The members in file order. Names are unique and have no prefix, but are otherwise for the caller to judge.
    static func read(_ bytes: [UInt8]) throws(FormatError) -> [ArchiveMember] {
        var members: [ArchiveMember] = []
        var names: Set<[UInt8]> = []
        var offset = 0
        while true {
            guard bytes.count - offset >= blockSize else {
                throw FormatError(why: "the archive is cut off", offset: offset)
            }
            if isZero(bytes, offset..<offset + blockSize) { break }
            let (name, size) = try readHeader(bytes, at: offset)
            guard names.insert(name).inserted else {
                throw FormatError(why: "a member's name occurs twice", offset: offset)
            }
            let start = offset + blockSize
            guard size <= bytes.count - start, padding(size) <= bytes.count - start - size else {
                throw FormatError(why: "a member reaches past the end of the archive", offset: offset)
            }
            let end = start + size
            guard isZero(bytes, end..<end + padding(size)) else {
                throw FormatError(why: "a member's padding is not zero", offset: end)
            }
            let text = String(decoding: name, as: UTF8.self)
            members.append(ArchiveMember(name: text, bytes: Array(bytes[start..<end]), offset: offset))
            offset = end + padding(size)
        }
        guard bytes.count - offset == 2 * blockSize, isZero(bytes, offset..<bytes.count) else {
            throw FormatError(why: "the archive does not end with exactly two zero blocks", offset: offset)
        }
        return members
    }

    private static let zeros = [UInt8](repeating: 0, count: 2 * blockSize)

    /// Of at most two blocks.
    private static func isZero(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        bytes.withUnsafeBytes { all in
            zeros.withUnsafeBytes { zeros in
                guard range.count <= zeros.count, range.upperBound <= all.count, let zero = zeros.baseAddress,
                    let start = all.baseAddress
                else { return false }
                return memcmp(start + range.lowerBound, zero, range.count) == 0
            }
        }
    }

    private static func padding(_ size: Int) -> Int { (blockSize - size % blockSize) % blockSize }

    /// Reads the two fields that may vary, then asks that the whole block be what `header` makes of them.
    private static func readHeader(
        _ bytes: [UInt8], at offset: Int
    ) throws(FormatError) -> (name: [UInt8], size: Int) {
        let name = Array(bytes[offset..<offset + maximumName].prefix { $0 != 0 })
        guard !name.isEmpty, name.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw FormatError(why: "a member's name is empty or not printable ASCII", offset: offset)
        }
        var size = 0
        for index in offset + 124..<offset + 135 {
            guard (0x30...0x37).contains(bytes[index]) else {
                throw FormatError(why: "a member's size is not an 11-digit octal number", offset: index)
            }
            size = size << 3 | Int(bytes[index] - 0x30)
        }
        let expected = header(name: name, size: size)
        if Array(bytes[offset..<offset + blockSize]) != expected {
            let wrong = (0..<blockSize).first { bytes[offset + $0] != expected[$0] } ?? 0
            throw FormatError(why: "a member's header is not in the format's one form", offset: offset + wrong)
        }
        return (name, size)
    }

    private static func header(name: [UInt8], size: Int, isExecutable: Bool = false) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: blockSize)
        var sum = 0
        func put(_ text: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in text.enumerated() {
                block[offset + index] = byte
                sum += Int(byte)
            }
        }
        put(name.prefix(maximumName), at: 0)
        put((isExecutable ? "0000755" : "0000644").utf8, at: 100)
        put("0000000".utf8, at: 108)
        put("0000000".utf8, at: 116)
        put(octal(size, digits: 11), at: 124)
        put(octal(0, digits: 11), at: 136)
        put("        0".utf8, at: 148)
        put("ustar".utf8, at: 257)
        put("00".utf8, at: 263)
        put("0000000".utf8, at: 329)
        put("0000000".utf8, at: 337)
        // The sum is taken with its own field as spaces, as above, and stored as six digits, NUL, space.
        put(octal(sum, digits: 6) + [0, 0x20], at: 148)
        return block
    }

    private static func octal(_ number: Int, digits: Int) -> [UInt8] {
        (0..<digits).reversed().map { 0x30 + UInt8(number >> (3 * $0) & 7) }
    }
}
