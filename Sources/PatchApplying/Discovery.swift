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
    switch selector {
    case .bundle(let bundle): return try discover { concern(of: bundle.manifest, for: $0) }
    case .id(let id):
        return try discover(Registry.mayBe) { view in
            try Registry.find(in: view)?.state.patches.contains { $0.id == id } == true ? .meant : .none
        }
    }
}

/// Every process that has a registry.
public func discoverPatched() throws -> Discovery {
    try discover(Registry.mayBe) { try Registry.find(in: $0) != nil ? .meant : .none }
}

/// How a command concerns a process; the raw value is what the tracer answers.
private enum Concern: UInt8 { case none, meant, incomplete }

private func concern(of manifest: Manifest, for view: ProcessView) -> Concern {
    let mapped = Set(view.findObjects().compactMap(\.buildID)).intersection(manifest.targets.map(\.buildID))
    if mapped.isEmpty { return .none }
    return manifest.taken(byMapping: mapped).isEmpty ? .incomplete : .meant
}

/// A process that ends while it is looked at, or has no memory of its own (kernel threads), is not meant.
///
/// In tracers, a few at once: a read blocks without end on memory that a process's owner does not provide (trap
/// blocked-read).
/// - Parameter mayConcern: what the mappings alone say, of most processes that they are not meant.
private func discover(
    _ mayConcern: (MemoryMap) -> Bool = { _ in true }, _ concern: (ProcessView) throws -> Concern
) throws -> Discovery {
    let pids = try allProcessIDs()
    var failures: [Int32: ProcessError] = [:]
    var asked: [Int32] = []
    for pid in pids {
        do throws(ProcessError) {
            if mayConcern(try RemoteMemory(pid: pid).map()) { asked.append(pid) }
        } catch { failures[pid] = error }
    }
    let answers = runTracers(asked.count, atOnce: tracersAtOnce, deadline: .seconds(5)) { index in
        let view = try ProcessView(pid: asked[index])
        // A registry out of order: the command itself says so.
        do { return [try concern(view).rawValue] } catch is Refusal { return [Concern.meant.rawValue] }
    }
    var result = Discovery()
    for (pid, answer) in zip(asked, answers) {
        switch answer {
        case .success(let bytes): result.add(pid, bytes.first.flatMap(Concern.init) ?? .none)
        case .failure(let error): failures[pid] = error
        }
    }
    for (pid, error) in failures.sorted(by: { $0.key < $1.key }) { result.add(pid, error) }
    return result
}

extension Discovery {
    fileprivate mutating func add(_ pid: Int32, _ concern: Concern) {
        switch concern {
        case .meant: pids.append(pid)
        case .incomplete: incomplete.append(pid)
        case .none: break
        }
    }

    fileprivate mutating func add(_ pid: Int32, _ error: ProcessError) {
        switch error {
        case .noPermission: forbidden.append(pid)
        case .deadlinePassed, .changing: blocked.append(pid)
        default: break
        }
    }
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
