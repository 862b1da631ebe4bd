import Diagnostics
import PatchFormat
import PatchRegistry
import PatchSwitching
import ProcessControl
import ProcessImage

/// One command on one process, inside the tracer: what is known of the process, its patches' records, and what was found
/// out on the way. The steps of the operations are here; each check and each change is a type of its own.
struct Session {
    var process: LoadedProcess
    var records: PatchRecords
    let limits: StopLimits
    /// The command line's, which overrides the manifest's.
    let consistency: Consistency?
    var notes: [String] = []
    var stop = StopReport()

    /// Reads the process and its registry, checked.
    static func open(pid: Int32, options: ApplyOptions, until end: UInt64? = nil) throws -> Session {
        try refuseThread(pid)
        // However late it is, there is time for one attempt.
        let deadline = max(end ?? options.end, monotonicNanoseconds() + 100_000_000)
        let process = try LoadedProcess(pid: pid)
        return Session(
            process: process, records: try PatchRecords(of: process),
            limits: StopLimits(maximumStop: options.maximumStop, deadline: deadline), consistency: options.consistency)
    }

    /// `/proc` shows every thread as if it were a process; much of what follows takes the id for the main thread's.
    private static func refuseThread(_ pid: Int32) throws {
        let process = try ProcessInformation.read(pid: pid).threadGroup
        if process == pid { return }
        throw Refusal(
            .noProcess, subject: "pid \(pid)", why: "it is a thread of process \(process)",
            remedy: "give --pid \(process)")
    }

    var relations: Relations { Relations(process: process, state: records.state) }
    var mapper: ModuleMapper { ModuleMapper(process: process, limits: limits) }

    /// The record of a patch that must be in the process.
    func patch(_ reference: PatchReference) throws -> RegisteredPatch {
        guard let patch = records.patch(reference) else { throw notLoaded(reference.id, in: process) }
        return patch
    }
}

func notLoaded(_ id: String, in process: LoadedProcess) -> Refusal {
    Refusal(.notLoaded, subject: id, why: "it is not loaded in \(process.subject)")
}
