import ArgumentParser
import Diagnostics
import Glibc
import PatchApplying

@main
struct LivePatch: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "livepatch", abstract: "Applies patch bundles to running processes, and takes them back.",
        discussion: """
            A refusal names its rule: livepatch help RULE, livepatch help rules.
            Exit status: 0 done; 1 refused, nothing changed; 2 bad usage; 3 busy, nothing changed, try again; \
            4 failed midway, `livepatch status` says what is left.
            """,
        subcommands: [
            Load.self, Activate.self, Deactivate.self, Unload.self, Apply.self, Revert.self, Status.self, Verify.self,
            TrustCommand.self, Debug.self,
        ])

    private static var commandNames: [String] {
        configuration.subcommands.map { $0.configuration.commandName ?? $0._commandName } + ["help"]
    }

    /// ArgumentParser's own statuses are 64 and the like: bad usage is 2 here.
    static func main() {
        reserveStandardDescriptors()
        signal(SIGPIPE, SIG_IGN)
        // The times in allowed_signers are the machine's: the caller's zone must not prolong a key's life.
        unsetenv("TZ")
        do {
            // Swift reads the arguments from there: without it `livepatch apply …` would print its help and exit with 0.
            guard access("/proc/self/cmdline", R_OK) == 0 else {
                throw Refusal(
                    .noProcess, subject: "/proc", why: "it is not mounted: processes can't be seen",
                    remedy: "mount -t proc proc /proc")
            }
            if let rule = Rule.asked(by: Array(CommandLine.arguments.dropFirst()), commands: commandNames) {
                print(try Rule.explain(rule))
                return
            }
            var command = try parseAsRoot()
            try command.run()
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch let error where error is Refusal || error is UsageError {
            print("livepatch: \(shown(error))", to: .standardError)
            Glibc.exit(ExitStatus(for: error).rawValue)
        } catch {
            let message = fullMessage(for: error)
            let isHelp = exitCode(for: error) == .success
            if !message.isEmpty { print(message, to: isHelp ? .standardOutput : .standardError) }
            Glibc.exit(isHelp ? 0 : ExitStatus.usage.rawValue)
        }
    }
}

struct Load: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Map a bundle's modules into processes; nothing runs yet.")
    @OptionGroup var change: ChangeOptions
    func run() throws { try change.run(.load) }
}

struct Activate: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Switch a loaded patch on.")
    @OptionGroup var change: ChangeOptions
    func run() throws { try change.run(.activate) }
}

struct Deactivate: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Switch a patch off and restore every byte of the text.")
    @OptionGroup var change: ChangeOptions
    func run() throws { try change.run(.deactivate) }
}

struct Unload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Unmap a patch that was never active; what was active stays mapped and is used again.")
    @OptionGroup var change: ChangeOptions
    func run() throws { try change.run(.unload) }
}

struct Apply: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Load and activate.")
    @OptionGroup var change: ChangeOptions
    func run() throws { try change.run(.apply) }
}

struct Revert: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Deactivate and unload.")
    @OptionGroup var change: ChangeOptions
    @Flag(help: "Switch the patches on again that this one had superseded.") var restore = false
    func run() throws { try change.run(.revert, restore: restore) }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Say what is applied to processes.")
    @OptionGroup var inspection: InspectionOptions
    func run() throws { try inspection.run(status) }
}

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Compare processes with what their registries say.")
    @OptionGroup var inspection: InspectionOptions
    func run() throws { try inspection.run(verify) }
}
