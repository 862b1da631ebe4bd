import Diagnostics

/// A file that goes to the maintenance engineer together with a bundle.
public struct HandedFile: Hashable, Sendable {
    /// Without directories.
    public var name: String
    public var bytes: [UInt8]
    public var isExecutable: Bool

    public init(name: String, bytes: [UInt8], isExecutable: Bool = false) {
        (self.name, self.bytes, self.isExecutable) = (name, bytes, isExecutable)
    }
}

/// A tar archive of files in one directory. The same files give the same bytes: no owner, no time.
public enum HandOverArchive {
    /// - Throws: `Refusal` when a name is too long for the archive.
    public static func write(_ files: [HandedFile], directory: String) throws -> [UInt8] {
        let members = files.map {
            ArchiveMember(name: "\(directory)/\($0.name)", bytes: $0.bytes, isExecutable: $0.isExecutable)
        }
        if let long = members.first(where: { $0.name.utf8.count > Ustar.maximumName }) {
            throw Refusal(
                .badInput, subject: long.name, why: "a name in a tar archive has at most \(Ustar.maximumName) bytes",
                remedy: "give a directory with -o, or build the bundle with a shorter --id")
        }
        return Ustar.write(members)
    }
}
