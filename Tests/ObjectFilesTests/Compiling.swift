import Glibc
import ObjectFiles
import TestSupport

struct CommandFailed: Error, CustomStringConvertible {
    var description: String
}

/// Runs a program of PATH to its end; its messages go to the test's standard error.
func run(_ arguments: [String]) throws {
    var pid: pid_t = 0
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    let code = posix_spawnp(&pid, arguments[0], nil, nil, &argv, environ)
    guard code == 0 else { throw CommandFailed(description: "\(arguments[0]): \(String(cString: strerror(code)))") }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    guard status == 0 else { throw CommandFailed(description: "\(arguments) ended with status \(status)") }
}

func write(_ bytes: some Collection<UInt8>, to path: String) throws {
    guard let file = fopen(path, "w") else { throw CommandFailed(description: "can't write \(path)") }
    defer { fclose(file) }
    let array = Array(bytes)
    guard fwrite(array, 1, array.count, file) == array.count else {
        throw CommandFailed(description: "can't write \(path)")
    }
}

func readAll(_ path: String) throws -> [UInt8] {
    guard let file = fopen(path, "r") else { throw CommandFailed(description: "can't read \(path)") }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(file))
    rewind(file)
    let count = fread(&bytes, 1, bytes.count, file)
    return Array(bytes.prefix(count))
}

/// A directory that goes away when the closure ends.
func withScratch<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = Array("\(temporaryDirectory)/objectfiles.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CommandFailed(description: "mkdtemp") }
    let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { try? run(["rm", "-rf", directory]) }
    return try body(directory)
}

/// Compiles C (or, with `suffix` "cc" and a fitting compiler, C++) to a file of the scratch directory.
@discardableResult
func compile(
    _ source: String, _ flags: [String] = ["-c"], in directory: String, as output: String = "out.o",
    suffix: String = "c"
) throws -> String {
    let sourcePath = "\(directory)/\(output).\(suffix)"
    try write(source.utf8, to: sourcePath)
    let compiler = suffix == "c" ? "gcc" : "g++"
    let debug = flags.contains { $0.hasPrefix("-g") } ? [] : ["-g0"]
    try run([compiler, "-O2"] + debug + flags + ["-o", "\(directory)/\(output)", sourcePath])
    return "\(directory)/\(output)"
}

/// Compiles and reads back.
func compiled(_ source: String, _ flags: [String] = ["-c"], suffix: String = "c") throws -> ObjectFile {
    try withScratch { directory in
        try ObjectFile.read(path: try compile(source, flags, in: directory, suffix: suffix))
    }
}
