import Diagnostics
import Glibc

/// Files that nobody but their owner (root, in earnest) can have written or put there.
///
/// Every directory from the root on is opened, judged by its own descriptor, and only then searched: what was checked is
/// what is used. Symbolic links are refused, since they lead to places that were not judged.
public struct TrustedPlace: Sendable {
    /// Where paths begin; another directory only in tests.
    public var root: String
    /// To whom everything must belong: root, but in tests that are run by others.
    public var owner: uid_t

    public static let host = TrustedPlace(root: "/", owner: 0)

    public init(root: String, owner: uid_t = 0) { (self.root, self.owner) = (root, owner) }

    /// Longer files are refused.
    private static let maximumSize = 16 << 20

    /// An open file; closed at the end of its life.
    final class Descriptor {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }

    /// A file's bytes; nil where there is none.
    /// - Parameter path: absolute, with neither `.` nor `..`.
    /// - Throws: `Refusal` of rule untrusted-configuration.
    func read(_ path: String) throws -> [UInt8]? {
        let parts = path.split(separator: "/").map(String.init)
        guard let name = parts.last, let directory = try directory(parts.dropLast().map { $0 }, creates: false) else {
            return nil
        }
        return try read(name, in: directory, path)
    }

    func read(_ name: String, in directory: Descriptor, _ path: String) throws -> [UInt8]? {
        // Not blocking: opening a fifo must not wait for a writer.
        let number = openat(directory.number, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else {
            if errno == ENOENT { return nil }
            if errno == EACCES { throw unreadable(path) }
            guard errno == ELOOP else { throw refusal(path, "can't open it: \(reason())") }
            throw refusal(
                path, "it is a symbolic link",
                "put the file in the link's place, as root: cp --remove-destination $(readlink -f \(path)) \(path)")
        }
        let file = Descriptor(number)
        let status = try judged(file, path)
        guard status.st_mode & S_IFMT == S_IFREG else { throw refusal(path, "it is not a regular file") }
        guard status.st_size <= Self.maximumSize else { throw refusal(path, "it is larger than 16 MiB") }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= Self.maximumSize {
            let count = Glibc.read(file.number, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw refusal(path, "can't read it: \(reason())") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw refusal(path, "it grows while it is read")
    }

    /// The last of these directories, each below the one before; nil where one is missing.
    /// - Parameter creates: makes missing ones.
    func directory(_ parts: [String], creates: Bool) throws -> Descriptor? {
        var path = root == "/" ? "" : root
        let first = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard first >= 0 else { throw refusal(root, "can't open it: \(reason())") }
        var current = Descriptor(first)
        _ = try judged(current, root)
        for part in parts {
            path += "/" + part
            var number = openat(current.number, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if number < 0, errno == ENOENT {
                guard creates else { return nil }
                guard mkdirat(current.number, part, 0o755) == 0 || errno == EEXIST else {
                    throw refusal(path, "can't make it: \(reason())")
                }
                number = openat(current.number, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                // Whatever the umask: others than root read what is remembered.
                if number >= 0 { fchmod(number, 0o755) }
            }
            guard number >= 0 else {
                if errno == EACCES { throw unreadable(path) }
                let isLink = errno == ELOOP || errno == ENOTDIR
                throw refusal(
                    path, isLink ? "it is a symbolic link, or no directory" : "can't open it: \(reason())",
                    isLink ? "make it a directory of its own" : nil)
            }
            current = Descriptor(number)
            _ = try judged(current, path)
        }
        return current
    }

    /// Only its owner, who is the one asked for, can write it.
    private func judged(_ file: Descriptor, _ path: String) throws -> stat {
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw refusal(path, "can't look at it: \(reason())") }
        guard status.st_uid == owner else {
            let name = owner == 0 ? "root" : "user \(owner)"
            throw refusal(
                path, "it belongs to user \(status.st_uid), not to \(name)",
                "run as root: chown \(owner):\(owner) \(path)")
        }
        // The group's bits also hold what an access control list grants.
        guard status.st_mode & 0o022 == 0 else {
            throw refusal(path, "others than its owner may write it", "run as root: chmod go-w \(path)")
        }
        return status
    }

    private func unreadable(_ path: String) -> Refusal {
        refusal(path, "can't open it: \(reason())", "run livepatch as root, or let others read it: chmod a+rX \(path)")
    }

    private func reason() -> String { String(cString: strerror(errno)) }

    private func refusal(_ path: String, _ why: String, _ remedy: String? = nil) -> Refusal {
        Refusal(.untrustedConfiguration, subject: path, why: why, remedy: remedy)
    }
}
