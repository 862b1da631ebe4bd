import ArgumentParser
import DebuggerFiles
import Diagnostics
import PatchApplying

struct Debug: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write what debuggers and profilers need to know of a process's patches.",
        discussion: """
            A directory is made, with an ELF file of symbols and unwind data for each module, and a script for gdb. \
            The process is only read.

              gdb -p PID -x DIR/livepatch.gdb
              gdb PROGRAM CORE -x DIR/livepatch.gdb
            """)

    @Option(help: "The process.")
    var pid: Int32

    @Option(
        name: .short,
        help: ArgumentHelp(
            "The directory to make, or one that this command made before. Without it, livepatch-debug.PID.",
            valueName: "dir"))
    var output: String?

    @Flag(help: "Write /tmp/perf-PID.map too, by which perf names the functions.")
    var perf = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Option(help: "How long to wait for a process that is busy, in seconds.")
    var timeout = 10.0

    func validate() throws {
        guard pid > 0 else { throw ValidationError("a process id is a positive number") }
        guard timeout >= 0, timeout <= 3600 else { throw ValidationError("--timeout is from 0 to 3600 s") }
    }

    func run() throws {
        let presentation = Presentation(json: json)
        var options = ApplyOptions()
        options.timeout = timeout
        let (result, modules) = readSymbols(pid: pid, options: options)
        guard result.status == .done else { throw ExitCode(presentation.show([result], patch: "").rawValue) }
        do {
            if perf { try requirePlaceForPerfMap(pid: pid) }
            let written = try writeDebuggerFiles(modules, pid: pid, to: output ?? "livepatch-debug.\(pid)")
            let map = perf ? try writePerfMap(modules, pid: pid) : nil
            presentation.show(DebugReport(pid, modules, written, map))
        } catch {
            throw ExitCode(presentation.show(error).rawValue)
        }
    }
}

/// What `livepatch debug` has written.
struct DebugReport: Encodable {
    struct Module: Encodable {
        var patch: String
        var target: String
        var base: UInt64
        var buildID: String?
        var functions: Int
        var symbols: String
    }

    var pid: Int32
    var directory: String
    var script: String
    var modules: [Module]
    var perfMap: String?
    /// What perf reads in its place.
    var otherPerfMap: String?

    init(_ pid: Int32, _ modules: [ModuleSymbols], _ written: DebuggerDirectory, _ perfMap: String?) {
        self.pid = pid
        self.perfMap = perfMap
        otherPerfMap = perfMap == nil ? nil : perfMapOfItsOwn(pid: pid)
        directory = written.path
        script = written.script
        self.modules = zip(modules, written.symbolFiles).map { module, path in
            Module(
                patch: module.patch, target: module.target, base: module.base, buildID: module.buildID,
                functions: module.functions.count, symbols: path)
        }
    }

    var lines: [String] {
        var lines = ["pid \(pid): \(modules.count) \(modules.count == 1 ? "module" : "modules") in \(directory)"]
        lines += modules.map { module in
            "  \(module.patch), for \(module.target): \(module.functions) functions, at 0x\(String(module.base, radix: 16))"
        }
        lines.append("  gdb -p \(pid) -x '\(script.replacing("'", with: "'\\''"))'")
        if let perfMap { lines.append("  perf finds the functions in \(perfMap)") }
        if let otherPerfMap {
            lines.append("  but it reads \(otherPerfMap) instead, the process's own map: append the lines to that one")
        }
        return lines
    }
}
