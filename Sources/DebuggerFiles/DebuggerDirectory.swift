import Diagnostics
import Glibc

/// What was written for a debugger.
public struct DebuggerDirectory: Sendable {
    /// Absolute.
    public var path: String
    /// The script for gdb.
    public var script: String
    /// One for each module, in their order.
    public var symbolFiles: [String]
}

/// Writes a symbol file for each module, and a script that has gdb load them, into a directory of the caller's own.
///
/// It is filled beside its place, and then gets its name: whoever may write to the directory above (anybody in `/tmp`)
/// can't lead a file elsewhere, and a failure leaves nothing behind.
/// - Parameter directory: may be there if it is empty, or was written by an earlier call.
/// - Throws: `UsageError`, `Refusal` bad-input when something else stands there, `Failure` when it can't be written.
public func writeDebuggerFiles(_ modules: [ModuleSymbols], pid: Int32, to directory: String) throws -> DebuggerDirectory
{
    let place = try absolutePath(of: directory)
    let names = modules.indices.map { symbolFileName(modules[$0], number: $0) }
    let paths = names.map { "\(place)/\($0)" }
    let script = gdbScript(zip(modules, paths).map { ($0, $1) }, pid: pid)
    let files = zip(names, modules).map { ($0, symbolFile($1)) } + [(scriptName, Array(script.utf8))]
    var template = Array("\(place).XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw failure("can't make a directory beside \(place)") }
    let scratch = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    do {
        for (name, bytes) in files { try writeNew(bytes, to: "\(scratch)/\(name)") }
        guard chmod(scratch, 0o755) == 0 else { throw failure("can't change the mode of \(scratch)") }
        try take(place, by: scratch)
    } catch {
        for (name, _) in files { unlink("\(scratch)/\(name)") }
        rmdir(scratch)
        throw error
    }
    return DebuggerDirectory(path: place, script: "\(place)/\(scriptName)", symbolFiles: paths)
}

private let scriptName = "livepatch.gdb"
private let symbolFileEnding = ".debug"

/// Letters of the patch's id and the target's name that no shell and no debugger has a use for.
private func symbolFileName(_ module: ModuleSymbols, number: Int) -> String {
    let plain = "\(module.patch)-\(module.target)".utf8.prefix(80).map { byte -> Character in
        let character = Character(UnicodeScalar(byte))
        return byte < 0x80 && (character.isLetter || character.isNumber || "+-.".contains(character)) ? character : "_"
    }
    return "\(number + 1)-\(String(plain))\(symbolFileEnding)"
}

/// Where the directory will be, without `..` and symbolic links above it: the script names files by it.
private func absolutePath(of directory: String) throws -> String {
    let parts = directory.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    guard let last = parts.last, last != ".", last != ".." else {
        throw UsageError("-o must name a directory that can be made: \(onOneLine(directory))")
    }
    let above = (directory.hasPrefix("/") ? "/" : "./") + parts.dropLast().joined(separator: "/")
    guard let real = realpath(above, nil) else {
        throw Refusal(
            .badInput, subject: above, why: "no directory can be made there: \(errorText())",
            remedy: "make it first, or name another one: -o DIR")
    }
    defer { free(real) }
    let base = String(cString: real)
    let path = (base == "/" ? "" : base) + "/" + last
    guard path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
        throw UsageError("-o: gdb's scripts can't name a path with control characters: \(onOneLine(path))")
    }
    return path
}

/// Gives `scratch` the name: in the place of nothing, of an empty directory, or of one of ours.
private func take(_ place: String, by scratch: String) throws {
    if rename(scratch, place) == 0 { return }
    guard errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR else { throw failure("can't write \(place)") }
    guard errno != ENOTDIR, let old = ownFiles(in: place) else {
        throw Refusal(
            .badInput, subject: place, why: "it exists, and is neither empty nor written by `livepatch debug`",
            remedy: "name a directory that is not there yet: -o DIR")
    }
    for name in old { unlink("\(place)/\(name)") }
    guard rename(scratch, place) == 0 else { throw failure("can't replace \(place)") }
}

/// The files of a directory that is the caller's and holds what we write, and nothing else; nil for any other.
private func ownFiles(in path: String) -> [String]? {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(),
        status.st_mode & 0o022 == 0, let directory = opendir(path)
    else { return nil }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    guard names.contains(scriptName), names.allSatisfy({ $0 == scriptName || $0.hasSuffix(symbolFileEnding) })
    else { return nil }
    return names
}
