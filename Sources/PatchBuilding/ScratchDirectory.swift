import Diagnostics
import FoundationEssentials
import Glibc

/// A directory of our own for objects and modules, under `TMPDIR` or `/tmp`.
struct ScratchDirectory: Sendable {
    let path: String

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/patchbuild.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw Failure("can't make a directory in \(base): \(String(cString: strerror(errno)))")
        }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    /// Removes it with all that is in it; what can't be removed is left to the system's own cleaning.
    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}
