import Diagnostics
import FoundationEssentials
import Glibc
import Toolchain

/// Where packages are fetched to and built: below `XDG_CACHE_HOME`, or `~/.cache`.
///
/// What is in it is finished where a stamp beside it says so, and made anew otherwise: a run may have been killed at any moment.
struct CacheFolder: Sendable {
    let path: String

    /// - Throws: `Failure`.
    init() throws {
        let given = getenv("XDG_CACHE_HOME").map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        let home = getenv("HOME").map { String(cString: $0) } ?? "/var/tmp"
        try self.init(path: (given ?? home + "/.cache") + "/patchbuild/packages")
    }

    init(path: String) throws {
        try createDirectory(path)
        self.path = resolvedPath(path)
    }

    /// The folder of one version of a source package. Build systems stumble over `:` and `~` in paths.
    func folder(source: String, version: String) throws -> CacheFolder {
        let name = "\(source)-\(version)".map {
            $0.isASCII && ($0.isLetter || $0.isNumber || ".-+".contains($0)) ? $0 : "-"
        }
        return try CacheFolder(path: path + "/" + String(name))
    }

    /// Returns a directory that `fill` has filled; it is not called where the directory is there and its stamp agrees.
    ///
    /// - Parameters:
    ///   - stamp: what the contents depend on.
    ///   - fill: gets the path of the empty directory; says whether it could be filled.
    /// - Returns: nil where it could not.
    func directory(_ name: String, stamp: String, _ fill: (String) async throws -> Bool) async throws -> String? {
        let directory = path + "/" + name
        let file = directory + ".done"
        if text(ofFile: file) == stamp, access(directory, R_OK) == 0 { return directory }
        unlink(file)
        try? FileManager.default.removeItem(atPath: directory)
        try createDirectory(directory)
        guard try await explainingFullDisk(directory, { try await fill(directory) }) else { return nil }
        try writeWhole(Array(stamp.utf8), to: file)
        return directory
    }

    /// Runs `work` while nobody else does this in the folder.
    /// - Parameter waits: for the other one; else `Busy` is thrown.
    func locked<Value>(waits: Bool, _ work: () async throws -> Value) async throws -> Value {
        let file = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Failure("can't make \(path)/lock: \(String(cString: strerror(errno)))") }
        defer { close(file) }
        guard flock(file, waits ? LOCK_EX : LOCK_EX | LOCK_NB) == 0 else {
            throw Busy("another patchbuild package works on this package (in \(path)); try again when it is done")
        }
        return try await work()
    }
}

/// nil where the file can't be read.
func text(ofFile path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
}

/// The names in a directory, sorted; none where it can't be read.
func names(in directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
}
