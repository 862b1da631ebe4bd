import Diagnostics
import PatchFormat
import ProcessControl

/// Processes that a command without `--pid` speaks of, and those that could not be looked at.
public struct Discovery: Sendable {
    public var pids: [Int32] = []
    public var forbidden: [Int32] = []
    /// Reading their memory did not come to an end.
    public var blocked: [Int32] = []
    public init(pids: [Int32] = []) { self.pids = pids }
}

/// Every process that maps a target of the bundle, by build-id; for an id, every process that holds the patch.
public func discover(_ selector: PatchSelector) throws -> Discovery {
    try discover { view in
        switch selector {
        case .bundle(let bundle):
            let wanted = Set(bundle.manifest.targets.map(\.buildID))
            return view.findObjects().contains { $0.buildID.map(wanted.contains) ?? false }
        case .id(let id):
            return try Registry.find(in: view)?.state.patches.contains { $0.id == id } ?? false
        }
    }
}

/// Every process that has a registry.
public func discoverPatched() throws -> Discovery {
    try discover { try Registry.find(in: $0) != nil }
}

/// A process that ends while it is looked at, or has no memory of its own (kernel threads), is not meant.
private func discover(_ isMeant: (ProcessView) throws -> Bool) throws -> Discovery {
    var result = Discovery()
    for pid in try allProcessIDs() {
        do {
            let view = try ProcessView(pid: pid)
            if try isMeantInTime(view, isMeant) { result.pids.append(pid) }
        } catch let error as ProcessError {
            switch error {
            case .noPermission: result.forbidden.append(pid)
            case .deadlinePassed: result.blocked.append(pid)
            default: continue
            }
        }
    }
    return result
}

/// In a tracer: a read blocks without end on memory that the process's owner does not provide (trap blocked-read).
/// - Throws: `ProcessError`.
private func isMeantInTime(_ view: ProcessView, _ isMeant: (ProcessView) throws -> Bool) throws -> Bool {
    let answer = try runTracer(deadline: .seconds(5)) {
        // A registry out of order: the command itself says so.
        do { return try isMeant(view) ? [1] : [] } catch is Refusal { return [1] }
    }
    return !answer.isEmpty
}

/// Whether there is nothing left of the process to work on.
public func hasEnded(_ pid: Int32) -> Bool {
    do throws(ProcessError) {
        _ = try MemoryMap.read(pid: pid)
        return false
    } catch {
        switch error {
        case .noSuchProcess, .vanished: return true
        default: return false
        }
    }
}
