import Diagnostics
import PatchRegistry
import ProcessControl

/// What a command did to one process, or found in it.
public struct ProcessReport: Codable, Hashable, Sendable {
    public var pid: Int32
    /// The patch's state afterwards; `unloaded` when it is gone; `refused`, `busy` or `failed`; for `status` and
    /// `verify` `clean`, `patched` or `damaged`.
    public var state: String
    /// Of the stop that made the switch; 0 when the process was not stopped.
    public var stopMicroseconds = 0
    public var threads = 0
    /// Threads that the stop interrupted, and how many of these in a system call; the others slept and were left alone.
    public var interrupted = 0
    public var interruptedCalls = 0
    /// Stops that were tried.
    public var attempts = 0
    /// Functions that the patch replaces.
    public var functions = 0
    /// Files of the bundle's targets that the process took; nil where the report is not of one patch.
    public var targets: [String]?
    public var notes: [String] = []
    /// For patches that are active: true where a target's file is still the build that was patched, so that what is
    /// started or executed anew runs the old code; false where each is another build; nil where that can't be told.
    public var newProcessesRunOldCode: Bool?
    /// For `status`, where a patch is active: processes that execute the same file and hold no patch.
    public var unpatchedProcesses: [Int32]?
    /// From the tracer to its parent, which looks at the files.
    var patchedFiles: [PatchedFile]?
    /// For `status` and `verify`.
    public var patches: [PatchReport]?

    public init(pid: Int32, state: String) {
        self.pid = pid
        self.state = state
    }
}

/// A patch in one process.
public struct PatchReport: Codable, Hashable, Sendable {
    public var id: String
    public var manifestDigest: String
    public var sequence: Int
    public var state: PatchState
    /// Files of the targets that the process took.
    public var targets: [String]
    /// Those of the bundle's targets that it did not take, since it did not map them; nil when it took all.
    public var leftOut: [String]?
    /// Of those, what is mapped by now, and so runs unpatched.
    public var unpatched: [String]?
    public var functions: [String]
    /// What to do about a command that did not finish.
    public var advice: String?
    /// What else there is to know.
    public var notes: [String] = []
    /// True where the patch is active by its record and old code of it runs all the same; nil else.
    public var oldCodeRuns: Bool?
    /// As for the process, of this patch's targets.
    public var newProcessesRunOldCode: Bool?
    /// For `verify`: what is not as it must be; for `status`: where old code runs. Empty when all is well.
    public var problems: [String] = []
    /// Variables that the patch gives another value.
    public var values: [ValueReport]?
}

/// A variable, or a word of one, that a patch gives another value.
public struct ValueReport: Codable, Hashable, Sendable {
    public var name: String
    /// Nil while the patch is not active.
    public var outcome: ValueOutcome?

    init(_ value: RegisteredValue) { (name, outcome) = (value.name, value.outcome) }
}

/// How one process fared: exactly one of report alone, refusals, busy or failure says it.
public struct ProcessResult: Codable, Sendable {
    public var report: ProcessReport
    public var refusals: [Refusal] = []
    public var busy: String?
    public var failure: String?

    /// Exit status for this process alone.
    public var status: ExitStatus {
        if failure != nil { return .failed }
        if !refusals.isEmpty { return .refused }
        return busy == nil ? .done : .busy
    }

    public init(report: ProcessReport) { self.report = report }

    /// The result that an error stands for.
    public init(pid: Int32, error: any Error) {
        report = ProcessReport(pid: pid, state: "failed")
        switch (error as? ProcessError)?.meaning(pid: pid) ?? error {
        case let refusal as Refusal: (refusals, report.state) = ([refusal], "refused")
        case let several as Refusals: (refusals, report.state) = (several.refusals, "refused")
        case let busy as Busy: (self.busy, report.state) = (busy.description, "busy")
        case let other: failure = "\(other)"
        }
    }

    /// Those that make the status of a command that only looks. A process that was merely found, and lies or does not
    /// answer, is told of; it says nothing of the others.
    public static func deciding(_ results: [ProcessResult], wereFound: Bool) -> [ProcessResult] {
        let answered = results.filter { $0.status == .done }
        return wereFound && !answered.isEmpty ? answered : results
    }

    /// The status of a command over several processes: `done` or one kind of decline only when all say the same, since
    /// 1 and 3 mean that nothing changed.
    public static func status(of results: [ProcessResult]) -> ExitStatus {
        let all = Set(results.map(\.status))
        if all.contains(.failed) { return .failed }
        if all.count == 1, let only = all.first { return only }
        return all.isEmpty ? .done : all.contains(.done) ? .failed : .refused
    }
}
