import Diagnostics
import Glibc
import Toolchain

/// What the tools of the distribution are run with: their messages in English, and nothing asked.
let quietEnvironment: [String: String?] = [
    "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "PATH": systemPath,
]

/// The distribution's own tools, not those of somebody's home.
let systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

func job(_ program: String, _ arguments: [String], in directory: String? = nil, title: String? = nil) -> Job {
    Job(program, arguments, directory: directory, environment: quietEnvironment, title: title)
}

/// What the command printed.
/// - Throws: `JobFailure` where it fails.
func output(_ program: String, _ arguments: [String], in directory: String? = nil) async throws -> String {
    try await run(job(program, arguments, in: directory)).checked().outputText
}

/// Makes sure that this is a system of Debian's family with the tools that `package` runs.
/// - Throws: `Refusal` package-source.
func requireDebian() throws {
    guard findProgram("dpkg-query") != nil, findProgram("apt-get") != nil else {
        throw Refusal(
            .packageSource, subject: "this machine",
            why: "it has no dpkg and no apt, so it is neither Debian nor a relative of it",
            remedy: "fetch and build the source package yourself, by patchbuild record, and use patchbuild build")
    }
    let tools = ["dpkg-buildpackage": "dpkg-dev", "fakeroot": "fakeroot", "strace": "strace", "patch": "patch"]
    let missing = tools.filter { findProgram($0.key) == nil }.values.sorted()
    guard missing.isEmpty else {
        throw Refusal(
            .packageSource, subject: missing.joined(separator: ", "),
            why: "it is not installed, and building packages needs it",
            remedy: "let root run: apt-get install -y \(missing.joined(separator: " "))")
    }
}

/// Bytes that may still be written below a directory; nil where that can't be told.
func freeBytes(_ directory: String) -> UInt64? {
    var status = statvfs()
    guard statvfs(directory, &status) == 0 else { return nil }
    return UInt64(status.f_bavail) &* UInt64(status.f_frsize)
}

/// Turns a failure into one that says so where the disk is full.
func explainingFullDisk<Value>(_ directory: String, _ work: () async throws -> Value) async throws -> Value {
    do { return try await work() } catch {
        guard let free = freeBytes(directory), free < 64 << 20 else { throw error }
        throw Failure(
            "the disk is full: \(directory) has \(free >> 20) MB free; make room, or name another place for it in XDG_CACHE_HOME\n\(error)"
        )
    }
}
