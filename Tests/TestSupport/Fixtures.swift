import Glibc

/// Programs and objects that tests need, compiled once per machine and kept in a temporary directory.
public enum Fixture {
    /// `patchbuild-fixtures-UID`; safe to remove at any time no test runs.
    public static let cache = temporaryDirectory + "/patchbuild-fixtures-\(getuid())"

    /// Compiles C sources with one compiler call and returns the output's path.
    ///
    /// The sources lie in the output's directory, and the compiler runs there.
    /// - Parameters:
    ///   - sources: file names and texts; `.h` files are written but not named on the command line.
    ///   - flags: for example `["-O2", "-g"]` for an executable, or `["-O2", "-c"]` for an object.
    ///   - output: the output's file name.
    public static func compile(
        _ sources: [String: String], _ flags: [String] = ["-O2", "-g"], output: String = "a.out",
        compiler: String = "gcc"
    ) throws -> String {
        let files = sources.sorted { $0.key < $1.key }
        let inputs = [compiler, output] + flags + files.flatMap { [$0.key, $0.value] }
        let directory = try cached(inputs) { directory in
            for (name, text) in files { try writeText(text, to: directory + "/" + name) }
            let units = files.map(\.key).filter { !$0.hasSuffix(".h") }
            try runOrThrow(compiler, flags + units + ["-o", output], in: directory)
        }
        return directory + "/" + output
    }

    /// Compiles one C source.
    public static func compile(
        _ source: String, _ flags: [String] = ["-O2", "-g"], output: String = "a.out", compiler: String = "gcc"
    ) throws -> String {
        try compile(["main.c": source], flags, output: output, compiler: compiler)
    }

    /// The directory that `make` fills, made once for these inputs; an incomplete one is never seen by others.
    public static func cached(_ inputs: [String], _ make: (String) throws -> Void) throws -> String {
        let final = cache + "/" + digest(inputs)
        if fileExists(final) { return final }
        try makeDirectory(cache)
        let scratch = "\(final).\(getpid()).\(monotonicSeconds())"
        removeTree(scratch)
        try makeDirectory(scratch)
        do { try make(scratch) } catch {
            removeTree(scratch)
            throw error
        }
        // Another test may have been faster: its directory is as good.
        if rename(scratch, final) != 0 { removeTree(scratch) }
        return final
    }

    /// 128 bits of FNV-1a in two variants: names a cache entry, proves nothing.
    private static func digest(_ inputs: [String]) -> String {
        var (a, b): (UInt64, UInt64) = (0xcbf2_9ce4_8422_2325, 0x9ae1_6a3b_2f90_404f)
        for input in inputs {
            for byte in Array(input.utf8) + [0] {
                a = (a ^ UInt64(byte)) &* 0x100_0000_01b3
                b = (b &+ UInt64(byte) &+ 1) &* 0x9e37_79b9_7f4a_7c15
                b ^= b >> 29
            }
        }
        return String(a, radix: 16) + String(b, radix: 16)
    }
}

/// Runs a program and throws with its output unless it exits with 0.
@discardableResult
public func runOrThrow(
    _ program: String, _ arguments: [String] = [], in directory: String? = nil, environment: [String: String] = [:],
    seconds: Double = 600
) throws -> Output {
    let output = try run(program, arguments, in: directory, environment: environment, seconds: seconds)
    guard output.status == 0 else {
        throw SystemFailure("\(program) \(arguments.joined(separator: " ")): \(output)")
    }
    return output
}

/// The path of a tool of this package (`patchbuild`, `livepatch`): it lies beside the test program.
///
/// `PATCHBUILD_TOOLS` names another directory.
public func toolPath(_ name: String) -> String {
    if let directory = getenv("PATCHBUILD_TOOLS") { return String(cString: directory) + "/" + name }
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    let path = String(decoding: buffer[..<max(0, length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let directory = path.split(separator: "/").dropLast().joined(separator: "/")
    return "/" + directory + "/" + name
}

/// The root of this package.
public let packageRoot: String = {
    let parts = #filePath.split(separator: "/")
    return "/" + parts.dropLast(3).joined(separator: "/")
}()
