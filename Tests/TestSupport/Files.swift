import Glibc

/// A file's bytes; empty when it can't be read.
public func readBytes(_ path: String) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let got = read(file, &chunk, chunk.count)
        guard got > 0 else { return bytes }
        bytes += chunk[..<got]
    }
}

/// A file as text, wrong UTF-8 replaced; empty when it can't be read.
public func readText(_ path: String) -> String { String(decoding: readBytes(path), as: UTF8.self) }

public func writeBytes(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard file >= 0 else { throw SystemFailure("create \(path)", errno: errno) }
    defer { close(file) }
    var done = 0
    while done < bytes.count {
        let wrote = bytes[done...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        guard wrote > 0 else { throw SystemFailure("write \(path)", errno: errno) }
        done += wrote
    }
}

public func writeText(_ text: String, to path: String) throws { try writeBytes(Array(text.utf8), to: path) }

/// Makes a directory and those above it.
public func makeDirectory(_ path: String) throws {
    var made = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
        made += part + "/"
        guard mkdir(made, 0o755) == 0 || errno == EEXIST else { throw SystemFailure("mkdir \(made)", errno: errno) }
    }
}

public func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Where tests put what they make: `TMPDIR`, or `/tmp`; symbolic links resolved. `Tests/run` sees to it that programs can run there.
public let temporaryDirectory: String = {
    let given = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    guard let resolved = realpath(given, nil) else { return given }
    defer { free(resolved) }
    return String(cString: resolved)
}()

/// Runs `body` with a new directory, which is removed afterwards.
public func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = Array("\(temporaryDirectory)/patchbuild-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemFailure("mkdtemp", errno: errno) }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { removeTree(path) }
    return try body(path)
}

/// Removes a directory and all below it; what can't be removed is left.
public func removeTree(_ path: String) {
    guard let directory = opendir(path) else {
        unlink(path)
        return
    }
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name == "." || name == ".." { continue }
        if entry.pointee.d_type == UInt8(DT_DIR) { removeTree(path + "/" + name) } else { unlink(path + "/" + name) }
    }
    closedir(directory)
    rmdir(path)
}

/// What a symbolic link says; nil when there is none.
public func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink(path, &buffer, buffer.count)
    guard length > 0 else { return nil }
    return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension Collection {
    /// The element at an offset.
    /// - Throws: `SystemFailure` when there is none: a wrong answer of a product must not end the test process.
    public func at(_ offset: Int, file: StaticString = #fileID, line: UInt = #line) throws -> Element {
        guard let place = index(startIndex, offsetBy: offset, limitedBy: endIndex), place < endIndex else {
            throw SystemFailure("\(file):\(line): \(count) elements, and so none at \(offset)")
        }
        return self[place]
    }
}
