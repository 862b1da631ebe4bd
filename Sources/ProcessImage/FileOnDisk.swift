import Diagnostics
import ElfFormat
import Glibc
import PatchFormat

/// The file that a process's `exec` would read.
///
/// Reading it may block (FUSE, a dead server), so that it belongs inside `runTracer`.
package struct FileOnDisk: ~Copyable {
    private let descriptor: Int32
    /// `O_PATH`, which glibc's headers hide.
    private static let onlyPath: Int32 = 0o10000000

    /// - Parameter path: as in the process's maps: seen from the top of its mount namespace.
    /// - Returns: nil when there is no ordinary file that may be read.
    package static func open(_ path: String, of pid: Int32) -> FileOnDisk? {
        guard path.hasPrefix("/") else { return nil }
        let place = sharesMounts(pid) ? path : topOfMounts(pid) + path
        // What stands there by now may be a device or a pipe, which to open is to change: looked at first.
        let found = Glibc.open(place, onlyPath | O_CLOEXEC)
        guard found >= 0 else { return nil }
        defer { close(found) }
        var status = stat()
        guard fstat(found, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let descriptor = Glibc.open("/proc/self/fd/\(found)", O_RDONLY | O_CLOEXEC)
        return descriptor < 0 ? nil : FileOnDisk(descriptor: descriptor)
    }

    deinit { close(descriptor) }

    private static func sharesMounts(_ pid: Int32) -> Bool {
        var (own, other) = (stat(), stat())
        return stat("/proc/self/ns/mnt", &own) == 0 && stat("/proc/\(pid)/ns/mnt", &other) == 0
            && own.st_ino == other.st_ino && own.st_dev == other.st_dev
    }

    /// The top of the process's mount namespace, from its root up: the process may be in a chroot there.
    private static func topOfMounts(_ pid: Int32) -> String {
        let root = "/proc/\(pid)/root"
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink(root, &buffer, buffer.count)
        let depth = buffer.prefix(max(length, 0)).split(separator: CChar(UInt8(ascii: "/"))).count
        return root + String(repeating: "/..", count: depth)
    }

    private func read(_ offset: UInt64, _ count: UInt64) throws -> CheckedBytes {
        var bytes = [UInt8](repeating: 0, count: Int(min(count, 1 << 16)))
        let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(clamping: offset)) }
        return CheckedBytes(Array(bytes.prefix(max(got, 0))), rule: .badInput, subject: "a file")
    }

    /// In lower-case hexadecimal; nil when it has none, or is no ELF file.
    package func buildID() -> String? {
        guard let header = try? ElfHeader(read(0, ElfHeader.size)),
            let table = try? read(header.programHeaderOffset, UInt64(header.programHeaderCount) * ProgramHeader.size)
        else { return nil }
        for index in 0..<UInt64(header.programHeaderCount) {
            guard let note = try? ProgramHeader(table, at: index * ProgramHeader.size) else { return nil }
            guard note.type == PT.note, note.fileSize < 0x10000, let bytes = try? read(note.offset, note.fileSize),
                let found = try? gnuBuildID(bytes, alignment: note.alignment)
            else { continue }
            return found
        }
        return nil
    }
}

/// The build-id of a segment of notes.
package func gnuBuildID(_ bytes: CheckedBytes, alignment: UInt64) throws -> String? {
    let step: UInt64 = alignment == 8 ? 8 : 4
    var place: UInt64 = 0
    while place &+ 12 <= bytes.count {
        let (nameSize, size) = (UInt64(try bytes.u32(place)), UInt64(try bytes.u32(place &+ 4)))
        let description = roundDown(place &+ 12 &+ nameSize &+ step &- 1, step)
        if try bytes.u32(place &+ 8) == 3, nameSize == 4, try bytes.slice(place &+ 12, 4) == [0x47, 0x4e, 0x55, 0] {
            return Digest.hexadecimal(try bytes.slice(description, size))
        }
        place = roundDown(description &+ size &+ step &- 1, step)
    }
    return nil
}
