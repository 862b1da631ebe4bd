import Diagnostics
import FoundationEssentials
import Glibc

/// A directory of our own for objects, modules and records, under `TMPDIR` or `/tmp`; its path is absolute, with
/// symbolic links resolved.
package struct ScratchDirectory: Sendable {
    package let path: String

    package init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/patchbuild.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw Failure("can't make a directory in \(base): \(String(cString: strerror(errno)))")
        }
        path = resolvedPath(String(cString: made))
    }

    /// Removes it with all that is in it; what can't be removed is left to the system's own cleaning.
    package func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}
