/// Why an ELF file can't be read (or written), and where in it the fault lies.
public struct ObjectFileError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        /// The file can't be opened or read; `detail` holds the system's reason.
        case unreadable
        /// It does not begin with the ELF magic.
        case notELF
        /// ELF, but not x86-64 ELF64 little-endian, or a file type or table this reader does not know.
        case unsupported
        /// The file ends before something its headers promise.
        case truncated
        /// A table contradicts itself or another one.
        case malformed
        /// The file can't be written.
        case unwritable
    }

    public enum Place: Sendable, Hashable {
        case file
        /// Byte offset in the file.
        case offset(UInt64)
        case section(SectionIndex, name: String)
    }

    public var path: String
    public var reason: Reason
    public var place: Place
    public var detail: String

    public init(path: String, reason: Reason, place: Place = .file, detail: String) {
        self.path = path
        self.reason = reason
        self.place = place
        self.detail = detail
    }

    public var description: String {
        switch place {
        case .file: "\(path): \(detail)"
        case .offset(let offset): "\(path): offset 0x\(String(offset, radix: 16)): \(detail)"
        case .section(let index, let name): "\(path): section \(index) (\(name)): \(detail)"
        }
    }
}
