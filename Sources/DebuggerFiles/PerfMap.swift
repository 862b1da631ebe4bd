import Diagnostics
import ElfFormat
import Glibc

/// Writes the functions of the modules for perf, in the place of a map that an earlier call has written.
///
/// For code that is mapped from no file, perf reads `/tmp/perf-PID.map`: the number and the `/tmp` are those that perf
/// itself sees (but see `perfMapOfItsOwn`).
///
/// The file is made anew under another name and then gets its own: nobody who may write to `/tmp` can lead it elsewhere.
/// - Parameter directory: `/tmp`.
/// - Returns: its path.
/// - Throws: `Refusal` bad-input when a map of somebody else's stands there, `Failure` when it can't be written.
@discardableResult
public func writePerfMap(_ modules: [ModuleSymbols], pid: Int32, in directory: String = "/tmp") throws -> String {
    let path = "\(directory)/perf-\(pid).map"
    try requirePlaceForPerfMap(pid: pid, in: directory)
    let lines = modules.flatMap { module in
        module.functions.filter { $0.size > 0 }.map { perfLine($0, module) }
    }
    var template = Array("\(path).XXXXXX".utf8CString)
    let number = mkstemp(&template)
    let scratch = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard number >= 0 else { throw failure("can't make a file in \(directory)") }
    do {
        defer { close(number) }
        try writeAll(Array(lines.joined().utf8), to: number, scratch)
        guard fchmod(number, 0o644) == 0, rename(scratch, path) == 0 else { throw failure("can't write \(path)") }
    } catch {
        unlink(scratch)
        throw error
    }
    return path
}

/// Start, size, name. The name tells which patch the function is of, and who wrote the line.
private func perfLine(_ symbol: ModuleSymbols.Symbol, _ module: ModuleSymbols) -> String {
    let start = String(module.base &+ symbol.offset, radix: 16)
    return "\(start) \(String(symbol.size, radix: 16)) \(symbol.shownName) [livepatch \(onOneLine(module.patch))]\n"
}

/// A program that makes code as it runs (a JIT) writes such a file itself: its names must stay.
/// - Throws: `Refusal` bad-input when something stands there that an earlier call has not written.
public func requirePlaceForPerfMap(pid: Int32, in directory: String = "/tmp") throws {
    let path = "\(directory)/perf-\(pid).map"
    let number = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    if number < 0, errno == ENOENT { return }
    let remedy = "leave --perf out, or remove the file if nobody needs it"
    guard number >= 0 else {
        throw Refusal(
            .badInput, subject: path, why: "what stands there is not a file of yours (\(errorText()))", remedy: remedy)
    }
    defer { close(number) }
    var status = stat()
    guard fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
        status.st_size < 64 << 20, let text = readAll(number, count: Int(status.st_size)),
        text.split(separator: 0x0a).allSatisfy(isOwnLine)
    else {
        throw Refusal(
            .badInput, subject: path, why: "it exists, and `livepatch debug` has not written it", remedy: remedy)
    }
}

private func isOwnLine(_ line: ArraySlice<UInt8>) -> Bool {
    line.last == UInt8(ascii: "]") && line.firstRange(of: Array(" [livepatch ".utf8)) != nil
}

private func readAll(_ number: Int32, count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = bytes.withUnsafeMutableBytes { pread(number, $0.baseAddress, $0.count, 0) }
    return got == count ? bytes : nil
}

/// The map that perf prefers: where the process sees other mounts than we do, the one that lies in its own `/tmp` and bears
/// the number that it has for itself. Nothing is ever written there, where another may lead paths astray.
/// - Returns: as a path that we can read; nil where there is none.
public func perfMapOfItsOwn(pid: Int32) -> String? {
    guard let (ours, theirs) = mountNamespaces(pid), ours != theirs, let number = innermostNumber(of: pid) else {
        return nil
    }
    let path = "/proc/\(pid)/root/tmp/perf-\(number).map"
    var status = stat()
    return lstat(path, &status) == 0 ? path : nil
}

private func mountNamespaces(_ pid: Int32) -> (UInt, UInt)? {
    var (ours, theirs) = (stat(), stat())
    guard stat("/proc/self/ns/mnt", &ours) == 0, stat("/proc/\(pid)/ns/mnt", &theirs) == 0 else { return nil }
    return (UInt(ours.st_ino), UInt(theirs.st_ino))
}

/// The last field of `NSpid` in `/proc/PID/status`.
private func innermostNumber(of pid: Int32) -> Int32? {
    let number = open("/proc/\(pid)/status", O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return nil }
    defer { close(number) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = read(number, &bytes, bytes.count)
    guard count > 0 else { return nil }
    let line = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").first {
        $0.hasPrefix("NSpid:")
    }
    return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).last.flatMap { Int32($0) }
}
