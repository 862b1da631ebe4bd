import Diagnostics
import PatchFormat
import ProcessControl

/// What the command line asks for, besides the operation.
public struct ApplyOptions: Sendable {
    /// Longest that the process may stand still in one attempt, in milliseconds.
    public var maximumStop = 20
    /// Overrides the manifest's.
    public var consistency: Consistency?
    /// How long to go on trying, in seconds.
    public var timeout: Double = 10
    public var allowUnsigned = false

    public init() {}
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
    static func open(pid: Int32, options: ApplyOptions) throws -> Session {
        let deadline = monotonicNanoseconds() + UInt64(max(0.1, min(options.timeout, 3600)) * 1e9)
        let view = try ProcessView(pid: pid)
        let linkMap = try view.linkMap()
        let registry = try Registry.find(in: view)
        try registry?.check(view, linkMap.objects)
        return Session(view: view, linkMap: linkMap, registry: registry, options: options, deadline: deadline)
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
