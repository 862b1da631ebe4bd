import ArgumentParser
import Diagnostics
import Glibc
import PatchBuilding

@main
struct Patchbuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "patchbuild",
        abstract: "Makes live patches for running Linux programs.",
        discussion: """
            From a recorded build and a diff to a bundle that livepatch applies:

              patchbuild record -- make
              patchbuild build --source . --diff fix.diff --target ./server -o fix.lpatch
              patchbuild sign fix.lpatch --key ~/.ssh/id_ed25519
              livepatch apply fix.lpatch --pid 1234

            A patch that could be wrong is refused by a named rule: patchbuild help rules, patchbuild help RULE.
            Exit status: 0 done; 1 refused, nothing written; 2 bad usage; 4 the machine failed midway.
            """,
        version: patchbuildVersion,
        subcommands: [
            Record.self, Build.self, MakePackage.self, Diff.self, Check.self, Show.self, Report.self, Sign.self,
            Verify.self, Pack.self,
            Explain.self,
        ])

    private static var commandNames: [String] {
        configuration.subcommands.map { $0.configuration.commandName ?? $0._commandName } + ["help"]
    }

    /// Every way out of the program goes through here: the exit statuses are a contract.
    static func main() async {
        do {
            if let rule = Rule.asked(by: Array(CommandLine.arguments.dropFirst()), commands: commandNames) {
                print(try Rule.explain(rule))
                return
            }
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as Reported {
            Glibc.exit(error.status.rawValue)
        } catch {
            leave(with: error)
        }
    }

    private static func leave(with error: any Error) -> Never {
        let code = exitCode(for: error)
        if error is UsageError || error is Refusal || error is Refusals || error is Failure || error is Busy {
            printError("patchbuild: \(error)")
            Glibc.exit(ExitStatus(for: error).rawValue)
        }
        if error is ExitCode { Glibc.exit(code.rawValue) }
        let message = fullMessage(for: error)
        if code.isSuccess {
            print(message)
            Glibc.exit(0)
        }
        printError(message)
        // ArgumentParser's own errors are all about arguments.
        Glibc.exit(code == .failure ? ExitStatus.failed.rawValue : ExitStatus.usage.rawValue)
    }
}

/// An error that was printed already.
struct Reported: Error {
    var status: ExitStatus
}

func printError(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
