import Crypto

/// An OpenSSH key revocation list (PROTOCOL.krl), as `ssh-keygen -k` makes it.
struct RevocationList: Sendable {
    /// What is revoked of the certificates of one authority, or of all.
    struct Certificates: Sendable {
        /// The key in wire format, of whatever kind.
        var authority: [UInt8]?
        var ranges: [ClosedRange<UInt64>] = []
        var keyIDs: Set<String> = []
    }

    var certificates: [Certificates] = []
    var keys: Set<[UInt8]> = []
    var sha1: Set<[UInt8]> = []
    var sha256: Set<[UInt8]> = []

    static let magic = Array("SSHKRL\n\0".utf8)
    private static let version: UInt32 = 1

    /// - Throws: for what is damaged, or has a part that is not known and not optional.
    init(_ bytes: [UInt8]) throws(Malformed) {
        var reader = WireReader(bytes, of: "the revocation list")
        guard try reader.bytes(8) == Self.magic, try reader.uint32() == Self.version else {
            throw Malformed("it is not a revocation list of version 1")
        }
        _ = try reader.bytes(8 + 8)  // Its own version, and when it was made.
        guard try reader.uint64() == 0 else { throw Malformed("the revocation list has flags that are not known") }
        _ = try reader.string()
        _ = try reader.string()
        while !reader.isAtEnd {
            let type = try reader.byte()
            // A signature (4) is refused, as by OpenSSH since 9.4.
            guard type != 4 else { throw Malformed("signed revocation lists are not supported") }
            try add(type, WireReader(try reader.string(), of: "a section of the revocation list"))
        }
    }

    private mutating func add(_ type: UInt8, _ section: WireReader) throws(Malformed) {
        var section = section
        switch type {
        case 1: certificates.append(try Self.certificates(&section))
        case 2: keys.formUnion(try Self.strings(&section))
        case 3: sha1.formUnion(try Self.strings(&section, size: 20))
        case 5: sha256.formUnion(try Self.strings(&section, size: 32))
        case 255: try Self.passOver(&section)
        default: throw Malformed("the revocation list has a section of type \(type), which is not known")
        }
    }

    private static func strings(_ section: inout WireReader, size: Int? = nil) throws(Malformed) -> Set<[UInt8]> {
        var strings: Set<[UInt8]> = []
        while !section.isAtEnd {
            let string = try section.string()
            guard size == nil || string.count == size else { throw Malformed("a digest has a wrong length") }
            strings.insert(string)
        }
        guard !strings.isEmpty else { throw Malformed("a section of the revocation list is empty") }
        return strings
    }

    /// An extension may be passed over unless it says that it is critical.
    private static func passOver(_ section: inout WireReader) throws(Malformed) {
        let name = try section.text()
        let isCritical = try section.byte() != 0
        _ = try section.string()
        try section.finish()
        guard !isCritical else { throw Malformed("the revocation list needs \(name), which is not known") }
    }

    // MARK: Certificates

    private static func certificates(_ section: inout WireReader) throws(Malformed) -> Certificates {
        let authority = try section.string()
        _ = try section.string()
        var result = Certificates(authority: authority.isEmpty ? nil : authority)
        while !section.isAtEnd {
            let type = try section.byte()
            var part = WireReader(try section.string(), of: "a section of the revocation list")
            switch type {
            case 0x20: while !part.isAtEnd { result.add(try part.uint64()) }
            case 0x21:
                let (low, high) = (try part.uint64(), try part.uint64())
                guard low <= high else { throw Malformed("a range of serial numbers is empty") }
                result.ranges.append(low...high)
            case 0x22: try result.addBitmap(at: try part.uint64(), try part.positiveNumber())
            case 0x23:
                while !part.isAtEnd { result.keyIDs.insert(try part.text()) }
            case 0x39: try passOver(&part)
            default: throw Malformed("the revocation list has a section of type \(type), which is not known")
            }
            try part.finish()
        }
        return result
    }

    // MARK: Questions

    func revokes(_ key: PublicKey) -> Bool {
        let blob = key.blob
        return keys.contains(blob) || sha1.contains(Array(Insecure.SHA1.hash(data: blob)))
            || sha256.contains(Array(SHA256.hash(data: blob)))
    }

    func revokes(_ certificate: Certificate) -> Bool {
        certificates.contains { list in
            (list.authority == nil || list.authority == certificate.authority.blob)
                && (list.keyIDs.contains(certificate.keyID)
                    || list.ranges.contains { $0.contains(certificate.serial) })
        }
    }
}

extension RevocationList.Certificates {
    fileprivate mutating func add(_ serial: UInt64) { ranges.append(serial...serial) }

    /// Bit n of a big-endian number stands for the serial number `offset + n`.
    fileprivate mutating func addBitmap(at offset: UInt64, _ bitmap: [UInt8]) throws(Malformed) {
        for (index, byte) in bitmap.reversed().enumerated() {
            for bit in 0..<8 where byte & 1 << bit != 0 {
                let (serial, overflow) = offset.addingReportingOverflow(UInt64(index * 8 + bit))
                guard !overflow else { throw Malformed("a bitmap of serial numbers reaches too far") }
                add(serial)
            }
        }
    }
}
