import ArgumentParser
import Comparing
import Diagnostics
import PatchFormat
import Recompiling
import Targets

struct Record: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a build and record what it does (with strace).",
        discussion: """
            Any build command will do: `patchbuild record -- dpkg-buildpackage -b -uc -us`.

            It writes the compile commands, and beside them what the build did (build.graph): which commands read and wrote which \
            files on the way to the programs and libraries that it left.
            """)

    @Option(name: .shortAndLong, help: "The file to write.")
    var output = "compile_commands.json"
    @Argument(parsing: .postTerminator, help: "The build command, after --.")
    var command: [String] = []

    func run() async throws {
        guard !command.isEmpty else { throw UsageError("record needs a build command after --") }
        try await reporting(json: false) {
            let build = try await record(command: command, output: output, progress: terminalProgress())
            guard build.status == 0 else {
                // The build's own message stands above; its status is what a script around it expects.
                printError("patchbuild: the build failed with status \(build.status); \(output) is left as it was")
                throw ExitCode(build.status)
            }
            let kept = build.kept > 0 ? ", \(build.kept) of them from the earlier record" : ""
            printError("patchbuild: recorded \(build.units ?? 0) units in \(output)\(kept)")
        }
    }
}

struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell which functions and data differ between two objects.",
        discussion: "Both must be compiled with -ffunction-sections -fdata-sections.")

    @Argument(help: "The original object.")
    var original: String
    @Argument(help: "The new object.")
    var new: String
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await reporting(json: json) {
            let report = try diffObjects(original: original, new: new)
            print(json ? try encoded(report) : report.description)
        }
    }
}

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell which functions of an ELF file can take a jump at their entry.")

    @Argument(help: "A program or shared library.")
    var file: String
    @Option(help: "Only this function; may be given several times.")
    var function: [String] = []
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await reporting(json: json) {
            let report = try checkEntries(of: file, functions: function)
            print(json ? try encoded(report) : report.description)
        }
    }
}

struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Explain a rule by which patches are refused, with an example and the way out.",
        discussion:
            "The same as `patchbuild help RULE`, `patchbuild --explain RULE`; without a rule, `patchbuild help rules`.")

    @Argument(help: "The rule's name, as a refusal prints it in brackets.")
    var rule: String?

    func run() throws { print(try Rule.explain(rule)) }
}
