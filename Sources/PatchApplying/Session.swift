import Diagnostics
import PatchFormat
import ProcessControl
import Signatures

/// What the command line asks for, besides the operation.
public struct ApplyOptions: Sendable {
    /// Longest that the process may stand still in one attempt, in milliseconds.
    public var maximumStop = 20
    /// Overrides the manifest's.
    public var consistency: Consistency?
    /// How long to go on trying, in seconds.
    public var timeout: Double = 10
    /// That this host accepts the bundle which is to be loaded.
    public var acceptance: Acceptance?
    /// What has been withdrawn is not activated.
    public var revocations = Revocations()

    public init() {}

    /// When to give up, by CLOCK_MONOTONIC in nanoseconds.
    var end: UInt64 { monotonicNanoseconds() + UInt64(max(0, min(timeout, 3600)) * 1e9) }
}

/// One command on one process, inside the tracer: what is known of the process, and what was found out on the way.
struct Session {
    var view: ProcessView
    var linkMap: LinkMap
    var registry: Registry?
    let options: ApplyOptions
    let deadline: UInt64
    var notes: [String] = []
    var stop = StopReport()

    var pid: Int32 { view.pid }
    var subject: String { "pid \(view.pid)" }

    /// Reads the process and its registry, checked.
    static func open(pid: Int32, options: ApplyOptions, until end: UInt64? = nil) throws -> Session {
        try refuseThread(pid)
        // However late it is, there is time for one attempt.
        let deadline = max(end ?? options.end, monotonicNanoseconds() + 100_000_000)
        let view = try ProcessView(pid: pid)
        let linkMap = try view.linkMap()
        let registry = try Registry.find(in: view)
        try registry?.check(view, linkMap.objects)
        return Session(view: view, linkMap: linkMap, registry: registry, options: options, deadline: deadline)
    }

    /// `/proc` shows every thread as if it were a process; much of what follows takes the id for the main thread's.
    private static func refuseThread(_ pid: Int32) throws {
        let process = try ProcessInformation.read(pid: pid).threadGroup
        if process == pid { return }
        throw Refusal(
            .noProcess, subject: "pid \(pid)", why: "it is a thread of process \(process)",
            remedy: "give --pid \(process)")
    }

    mutating func refresh() throws {
        try view.refresh()
        linkMap = try view.linkMap()
    }

    var state: RegistryState { registry?.state ?? RegistryState() }

    func patch(_ reference: PatchReference) -> RegisteredPatch? {
        state.index(of: reference).map { state.patches[$0] }
    }

    /// Stores a change of one patch's record.
    mutating func update(_ reference: PatchReference, _ change: (inout RegisteredPatch) -> Void) throws {
        try registry?.update { state in
            if let index = state.index(of: reference) { change(&state.patches[index]) }
        }
    }

    var timeIsLeft: Bool { monotonicNanoseconds() < deadline }
}

/// What the last stop cost.
struct StopReport: Sendable {
    var microseconds = 0
    var threads = 0
    var attempts = 0
}
