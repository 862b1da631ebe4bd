import Diagnostics
import PatchFormat
import ProcessControl

/// Processes that a command without `--pid` speaks of, and those that could not be looked at.
public struct Discovery: Sendable {
    public var pids: [Int32] = []
    public var forbidden: [Int32] = []
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
            if view.map.mappings.isEmpty { continue }
            if try isMeant(view) { result.pids.append(pid) }
        } catch let error as ProcessError {
            if case .noPermission = error { result.forbidden.append(pid) }
        } catch is Refusal {
            // A registry out of order: the command itself says so.
            result.pids.append(pid)
        }
    }
    return result
}
