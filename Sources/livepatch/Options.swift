import ArgumentParser
import Diagnostics
import PatchApplying
import PatchFormat
import TrustedHost

extension Consistency: ExpressibleByArgument {}

/// Arguments of the commands that change processes.
struct ChangeOptions: ParsableArguments {
    @Argument(help: "The bundle's file, or the id of a patch that is loaded.")
    var patch: String

    @Option(help: "A process; may be given several times.")
    var pid: [Int32] = []

    @Flag(
        help:
            "Every process that maps all that is patched together (with an id, or to take it back: that holds it)."
    )
    var all = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Name every process that could not be looked at.")
    var verbose = false

    @Option(help: "Longest stop of the process in one attempt, in milliseconds.")
    var maxStop = 20

    @Option(help: "stack: no replaced function may be in use; entry: calls in progress finish in the old code.")
    var consistency: Consistency?

    @Option(help: "How long to go on trying, in seconds.")
    var timeout = 10.0

    @Flag(help: "Trust the file's origin without a signature, where the policy of this host permits it.")
    var allowUnsigned = false

    @Option(
        help:
            "Whose signatures count, in the place of /etc/livepatch/allowed_signers, where the policy permits --allow-unsigned."
    )
    var allowedSigners: String?

    @Flag(help: "Take a bundle older than one that was applied, where the policy of this host permits it.")
    var allowRollback = false

    func validate() throws {
        guard all != !pid.isEmpty else { throw ValidationError("give --pid (once or several times) or --all") }
        guard pid.allSatisfy({ $0 > 0 }) else { throw ValidationError("a process id is a positive number") }
        guard (1...60_000).contains(maxStop) else { throw ValidationError("--max-stop is from 1 to 60000 ms") }
        guard timeout >= 0, timeout <= 3600 else { throw ValidationError("--timeout is from 0 to 3600 s") }
    }

    func run(_ operation: Operation, restore: Bool = false) throws {
        let presentation = Presentation(json: json, verbose: verbose)
        var options = ApplyOptions()
        options.maximumStop = maxStop
        options.consistency = consistency
        options.timeout = timeout
        options.restore = restore
        do {
            // Who vouches for the bundle is decided before any process is looked at.
            let (selector, accepted) = try selector(operation)
            options.acceptance = accepted?.acceptance
            if operation == .activate || restore { options.revocations = try HostTrust().revocations() }
            var seen: Set<Int32> = []
            var results: [ProcessResult] = []
            // A process started or forked by one that was not patched yet is found the next time.
            for pass in 0..<(all ? 8 : 1) {
                let discovery = all ? try find(selector, for: operation) : Discovery(pids: pid)
                if pass == 0 { presentation.warn(discovery, changes: true) }
                let pids = discovery.pids.filter { seen.insert($0).inserted }
                if pids.isEmpty { break }
                if pass == 0 { try accepted?.remember(for: timeout) }
                results += perform(operation, selector, pids: pids, options: options)
            }
            // A process that ended meanwhile is not one that was left out.
            if all { results.removeAll { $0.status != .done && hasEnded($0.report.pid) } }
            if results.isEmpty {
                throw Refusal(
                    .notMapped, subject: selector.id, why: "no process maps all that it patches together, or holds it")
            }
            throw ExitCode(presentation.show(results, patch: selector.id).rawValue)
        } catch let error where !(error is ExitCode) && !(error is UsageError) {
            throw ExitCode(presentation.show(error).rawValue)
        }
    }

    /// What is taken back is taken from those that hold it.
    private func find(_ selector: PatchSelector, for operation: Operation) throws -> Discovery {
        switch operation {
        case .load, .activate, .apply: try discover(selector)
        case .deactivate, .unload, .revert: try discover(.id(selector.id))
        }
    }

    /// A file where a bundle is needed or the argument looks like one; else an id.
    private func selector(_ operation: Operation) throws -> (PatchSelector, AcceptedBundle?) {
        if operation.needsBundle {
            let claims = TrustClaims(
                allowUnsigned: allowUnsigned, allowRollback: allowRollback, allowedSigners: allowedSigners)
            let accepted = try HostTrust().accept(try SealedBundle.read(path: patch), claims)
            return (.bundle(accepted.bundle), accepted)
        }
        if patch.contains("/") || patch.hasSuffix(".lpatch") { return (.bundle(try Bundle.read(path: patch)), nil) }
        return (.id(patch), nil)
    }
}

/// Arguments of the commands that only look.
struct InspectionOptions: ParsableArguments {
    @Argument(help: "The id of a patch, or its bundle's file; without it, every patch.")
    var patch: String?

    @Option(help: "A process; may be given several times. Without it, every process that has a patch.")
    var pid: [Int32] = []

    @Flag(help: "Every process that has a patch (the same as no --pid).")
    var all = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Name every process that could not be looked at.")
    var verbose = false

    @Option(help: "How long to wait for a process that is busy, in seconds (10; without --pid 2).")
    var timeout: Double?

    func validate() throws {
        guard !all || pid.isEmpty else { throw ValidationError("give --pid (once or several times) or --all") }
        guard pid.allSatisfy({ $0 > 0 }) else { throw ValidationError("a process id is a positive number") }
        guard (0...3600).contains(timeout ?? 0) else { throw ValidationError("--timeout is from 0 to 3600 s") }
    }

    func run(_ inspect: ([Int32], String?, ApplyOptions) -> [ProcessResult]) throws {
        let presentation = Presentation(json: json, verbose: verbose)
        var options = ApplyOptions()
        // One process among all those found must not make the others wait.
        options.timeout = timeout ?? (pid.isEmpty ? 2 : 10)
        do {
            let id = try patch.map { try $0.hasSuffix(".lpatch") ? Bundle.read(path: $0).manifest.id : $0 }
            let discovery =
                pid.isEmpty ? try id.map { try discover(.id($0)) } ?? discoverPatched() : Discovery(pids: pid)
            if pid.isEmpty { presentation.warn(discovery, changes: false) }
            var results = inspect(discovery.pids, id, options)
            if pid.isEmpty { results.removeAll { $0.status != .done && hasEnded($0.report.pid) } }
            let deciding = ProcessResult.deciding(results, wereFound: pid.isEmpty)
            throw ExitCode(presentation.show(results, patch: id ?? "", deciding: deciding).rawValue)
        } catch let error where !(error is ExitCode) {
            throw ExitCode(presentation.show(error).rawValue)
        }
    }
}
