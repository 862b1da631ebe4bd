import Glibc
import TestSupport

/// A program of a few units with its compile commands, to be patched by edits.
struct SmallProgram {
    let directory: String
    let sources: [String: String]
    var program: String { directory + "/program" }
    var bundle: String { directory + "/fix.lpatch" }

    /// Text to replace in a source. A file that isn't there yet is made of `new`.
    struct Edit {
        var file: String
        var old: String
        var new: String
    }

    /// Compiles each `.c` and `.cpp` by a command of its own, which is recorded, and links them.
    /// - Parameters:
    ///   - flags: `DIRECTORY` stands for the program's own.
    ///   - unrecorded: units that are missing in the compile commands.
    init(_ name: String, _ sources: [String: String], flags: [String] = ["-O2", "-g"], unrecorded: [String] = []) throws
    {
        let directory = try Workshop.directory(name)
        let flags = flags.map { $0.replacing("DIRECTORY", with: directory) }
        self.directory = directory
        self.sources = sources
        let units = sources.keys.filter { $0.hasSuffix(".c") || $0.hasSuffix(".cpp") }.sorted()
        for (file, text) in sources { try writeText(text, to: directory + "/" + file) }
        for unit in units {
            try runOrThrow(Self.compiler(unit), flags + ["-c", unit, "-o", Self.object(unit)], in: directory)
        }
        let linker = units.map(Self.compiler).min() ?? "gcc"
        try runOrThrow(linker, units.map(Self.object) + ["-o", "program", "-pthread"], in: directory)
        let commands = units.filter { !unrecorded.contains($0) }.map { unit in
            let arguments = ([Self.compiler(unit)] + flags + ["-c", unit, "-o", Self.object(unit)]).map { "\"\($0)\"" }
            return """
                {"directory": "\(directory)", "file": "\(unit)", "arguments": [\(arguments.joined(separator: ", "))]}
                """
        }
        try writeText("[\(commands.joined(separator: ",\n"))]\n", to: directory + "/compile_commands.json")
    }

    /// Another link of the program, stripped, with `official` units compiled with `-DOFFICIAL`.
    func relinked(official: [String], flags: [String] = ["-O2", "-g"]) throws -> String {
        var objects: [String] = []
        for unit in sources.keys.filter({ $0.hasSuffix(".c") }).sorted() {
            objects.append(official.contains(unit) ? "official-" + Self.object(unit) : Self.object(unit))
            guard official.contains(unit) else { continue }
            try runOrThrow(
                "gcc", flags + ["-DOFFICIAL", "-c", unit, "-o", "official-" + Self.object(unit)], in: directory)
        }
        try runOrThrow("gcc", ["-s"] + objects + ["-o", "official", "-pthread"], in: directory)
        return directory + "/official"
    }

    private static func object(_ unit: String) -> String { unit.prefix { $0 != "." } + ".o" }
    private static func compiler(_ unit: String) -> String { unit.hasSuffix(".cpp") ? "g++" : "gcc" }

    /// `patchbuild build` for a diff that makes the edits; `--json` is given.
    /// - Parameter wrapper: a command that gets the tool's.
    func build(
        _ edits: [Edit], _ more: [String] = [], target: String? = nil, by wrapper: [String] = []
    ) throws -> Output {
        let diff = try diff(edits)
        return try run(
            "env",
            wrapper + [
                toolPath("patchbuild"), "build", "--source", directory, "--compile-commands",
                directory + "/compile_commands.json", "--diff",
                diff,
                "--target", target ?? program, "--id", "fix", "-o", bundle, "--json",
            ] + more)
    }

    private func diff(_ edits: [Edit]) throws -> String {
        var text = ""
        for edit in edits {
            let old = sources[edit.file]
            try writeText(Self.replacing(edit.old, in: old ?? "", by: edit.new), to: directory + "/edited")
            let labels = ["--label", old == nil ? "/dev/null" : "a/\(edit.file)", "--label", "b/\(edit.file)"]
            let paths = [old == nil ? "/dev/null" : edit.file, "edited"]
            text += try run("diff", ["-u"] + labels + paths, in: directory).stdout
        }
        try run("rm", ["-f", directory + "/edited"])
        try writeText(text, to: directory + "/fix.diff")
        return directory + "/fix.diff"
    }

    private static func replacing(_ old: String, in text: String, by new: String) -> String {
        guard let found = text.firstRange(of: old), !old.isEmpty else { return new }
        return String(text[..<found.lowerBound]) + new + String(text[found.upperBound...])
    }

    /// Runs the program, which prints a line now and then.
    func running(_ body: (RunningProcess) throws -> Void) throws {
        try withProcess(program) { process in
            try process.waitForOutput("\n")
            try body(process)
        }
    }
}

extension RunningProcess {
    /// Waits for the next whole line that the process prints from now on, passing over one that is being printed.
    func nextLine() throws -> String {
        let seen = stdout.split(separator: "\n").count
        let deadline = monotonicSeconds() + 20
        while monotonicSeconds() < deadline {
            let lines = stdout.split(separator: "\n", omittingEmptySubsequences: false)
            if lines.count > seen + 2 { return String(lines[seen + 1]) }
            usleep(5_000)
        }
        throw SystemFailure("\(pid) prints no more: \(stdout.suffix(200))")
    }
}
