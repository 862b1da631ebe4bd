import Diagnostics
import Glibc

/// Writes a file that is not there yet.
/// - Throws: `Failure`; what was written of it stays.
func writeNew(_ bytes: [UInt8], to path: String) throws {
    let number = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard number >= 0 else { throw failure("can't write \(path)") }
    defer { close(number) }
    try writeAll(bytes, to: number, path)
    guard fchmod(number, 0o644) == 0 else { throw failure("can't change the mode of \(path)") }
}

func writeAll(_ bytes: [UInt8], to number: Int32, _ path: String) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(number, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw failure("can't write \(path)") }
        rest = rest.dropFirst(count)
    }
}

func errorText() -> String { String(cString: strerror(errno)) }

func failure(_ what: String) -> Failure { Failure("\(onOneLine(what)): \(errorText())") }
