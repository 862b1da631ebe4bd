import Glibc
import TestSupport
import Testing

/// Examples/callserver, built and recorded, and the patch made of its fix.diff.
struct CallServer {
    let directory: String
    var program: String { directory + "/callserver" }
    var bundle: String { directory + "/fix.lpatch" }

    /// Built once for all tests.
    static let fixture = Result { try CallServer(named: "callserver") }
    static func built() throws -> CallServer { try fixture.get() }

    init(named name: String, flags: String = "-O2 -g") throws {
        directory = try Workshop.directory(name)
        try runOrThrow("cp", ["-r", packageRoot + "/Examples/callserver/.", directory])
        try runOrThrow(
            toolPath("patchbuild"),
            ["record", "-o", "compile_commands.json", "--", "make", "CFLAGS=\(flags)", "callserver", "load"],
            in: directory)
        try runOrThrow(
            toolPath("patchbuild"),
            [
                "build", "--source", directory, "--compile-commands", directory + "/compile_commands.json",
                "--diff", directory + "/fix.diff", "--target", program, "--id", "number-too-long", "-o", bundle,
            ])
    }

    /// Runs the server and, with `calls` above zero, the load client; fails the test if a call was lost.
    /// - Parameter interruptions: how many waiting system calls of the server may return EINTR (trap eintr-from-stop).
    ///   A tracer that is killed in the middle of a stop can't mend that any more.
    func serving(
        threads: Int = 8, calls: Int = 100, interruptions: Int = 0,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: (Serving) throws -> Void
    ) throws {
        try withProcess(program, ["0", "\(threads)"]) { server in
            try server.waitForOutput("\n")
            let port = server.stdout.split(separator: ":").last.map { $0.prefix { $0.isNumber } } ?? ""
            let serving = Serving(directory: directory, process: server, port: String(port))
            guard calls > 0 else { return try body(serving) }
            try withProcess(directory + "/load", [String(port), "\(calls)"]) { load in
                try load.waitForOutput("answer:")
                try body(serving)
                load.send(SIGTERM)
                let end = try load.wait(seconds: 30)
                #expect(end.status == 0 && end.stdout.contains("failures=0"), "\(end)", sourceLocation: sourceLocation)
            }
            #expect(server.isRunning, sourceLocation: sourceLocation)
            let statistics = try serving.statistics()
            let interrupted = statistics.split(separator: "=").last.flatMap { Int($0.filter(\.isNumber)) }
            #expect(try #require(interrupted) <= interruptions, "\(statistics)", sourceLocation: sourceLocation)
        }
    }

    /// A running call server.
    struct Serving {
        let directory: String
        let process: RunningProcess
        let port: String
        var pid: String { String(process.pid) }

        enum Answer: Equatable {
            case old, new
            case wrong(String)
        }

        /// What a call to a number of 16 digits gets: the unpatched server leaks the PIN, the patched one declines.
        func answer() throws -> Answer {
            let text = try run(directory + "/load", [port, "probe"], seconds: 20).stdout
            let words = text.split { $0 == " " || $0 == "\n" }.map(String.init)
            if words.count == 4, words[0] == "ROUTE", words[2...] == ["berlin", "49309018200123454711"] { return .old }
            if words.count == 3, words[0] == "REJECT", words[2] == "number-too-long" { return .new }
            return .wrong(text)
        }

        func statistics() throws -> String { try run(directory + "/load", [port, "stats"], seconds: 20).stdout }

        func apply(_ bundle: String, _ more: String...) throws -> Output {
            let arguments = ["apply", bundle, "--pid", pid, "--allow-unsigned", "--json"] + more
            return try livepatch(arguments)
        }

        func revert(_ bundle: String) throws -> Output { try livepatch("revert", bundle, "--pid", pid, "--json") }

        /// The bytes of the server's code as they are in its memory.
        func code() -> [UInt8] {
            guard let line = mappings().first(where: { $0.contains("r-xp") && $0.hasSuffix("/callserver") }) else {
                return []
            }
            let ends = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard ends.count == 2 else { return [] }
            let memory = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
            defer { close(memory) }
            var bytes = [UInt8](repeating: 0, count: Int(ends[1] - ends[0]))
            let got = pread(memory, &bytes, bytes.count, off_t(ends[0]))
            return Array(bytes.prefix(max(0, got)))
        }

        func mappings() -> [String] { readText("/proc/\(pid)/maps").split(separator: "\n").map(String.init) }

        /// Virtual memory in KiB.
        func memory() -> Int {
            let line = readText("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("VmSize:") } ?? ""
            return Int(line.filter(\.isNumber)) ?? 0
        }
    }
}
