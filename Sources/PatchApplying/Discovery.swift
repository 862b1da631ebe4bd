import Diagnostics
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage

/// Processes that a command without `--pid` speaks of, and those that could not be looked at.
public struct Discovery: Sendable {
    public var pids: [Int32] = []
    public var forbidden: [Int32] = []
    /// Reading their memory did not come to an end.
    public var blocked: [Int32] = []
    /// They map a target, and no group of targets as a whole.
    public var incomplete: [Int32] = []
    public init(pids: [Int32] = []) { self.pids = pids }

    /// Lines about processes that were left out. A reader who did not ask for them gets those that may need a patch, or
    /// hold one: not the processes that root is denied where only a look was asked for, nor process 1 of a container.
    public func remarks(isRoot: Bool, changes: Bool, all: Bool) -> [String] {
        var remarks: [String] = []
        func add(_ what: String, _ pids: [Int32]) {
            if !pids.isEmpty { remarks.append("\(what): \(pids.map(String.init).joined(separator: ", "))") }
        }
        if all {
            add("no permission to look at", forbidden)
        } else if isRoot {
            add("no permission to look at", changes ? forbidden.filter { $0 != 1 } : [])
        } else if !forbidden.isEmpty {
            remarks.append("no permission to look at \(forbidden.count) processes (--verbose names them)")
        }
        add("can't read", blocked)
        add("left out, since what is patched together is not all there (--pid says more)", incomplete)
        return remarks
    }
}

/// Every process that maps all targets of at least one of the bundle's groups, by build-id; for an id, every process that
/// holds the patch.
public func discover(_ selector: PatchSelector) throws -> Discovery {
    try discover { view in
        switch selector {
        case .bundle(let bundle): return concern(of: bundle.manifest, for: view)
        case .id(let id):
            return try Registry.find(in: view)?.state.patches.contains { $0.id == id } == true ? .meant : .none
        }
    }
}

/// Every process that has a registry.
public func discoverPatched() throws -> Discovery {
    try discover { try Registry.find(in: $0) != nil ? .meant : .none }
}

/// How a command concerns a process; the raw value is what the tracer answers.
private enum Concern: UInt8 { case none, meant, incomplete }

private func concern(of manifest: Manifest, for view: ProcessView) -> Concern {
    let mapped = Set(view.findObjects().compactMap(\.buildID)).intersection(manifest.targets.map(\.buildID))
    if mapped.isEmpty { return .none }
    return manifest.taken(byMapping: mapped).isEmpty ? .incomplete : .meant
}

/// A process that ends while it is looked at, or has no memory of its own (kernel threads), is not meant.
private func discover(_ concern: (ProcessView) throws -> Concern) throws -> Discovery {
    var result = Discovery()
    for pid in try allProcessIDs() {
        do {
            let view = try ProcessView(pid: pid)
            switch try concernInTime(view, concern) {
            case .meant: result.pids.append(pid)
            case .incomplete: result.incomplete.append(pid)
            case .none: continue
            }
        } catch let error as ProcessError {
            switch error {
            case .noPermission: result.forbidden.append(pid)
            case .deadlinePassed, .changing: result.blocked.append(pid)
            default: continue
            }
        }
    }
    return result
}

/// In a tracer: a read blocks without end on memory that the process's owner does not provide (trap blocked-read).
/// - Throws: `ProcessError`.
private func concernInTime(_ view: ProcessView, _ concern: (ProcessView) throws -> Concern) throws -> Concern {
    let answer = try runTracer(deadline: .seconds(5)) {
        // A registry out of order: the command itself says so.
        do { return [try concern(view).rawValue] } catch is Refusal { return [Concern.meant.rawValue] }
    }
    return answer.first.flatMap(Concern.init) ?? .none
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
