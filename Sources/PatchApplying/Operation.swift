import Diagnostics
import Glibc
import JSONCoding
import PatchFormat
import ProcessControl
import ProcessImage
import Signatures
import TrustedHost

/// What a command changes in a process.
public enum Operation: String, Sendable {
    case load, activate, deactivate, unload, apply, revert

    /// Whether the patch's file is needed; the others know all they need from the registry.
    public var needsBundle: Bool { self == .load || self == .apply }
}

/// Which patch a command speaks of.
public enum PatchSelector: Sendable {
    case bundle(Bundle)
    case id(String)

    public var id: String {
        switch self {
        case .bundle(let bundle): bundle.manifest.id
        case .id(let id): id
        }
    }
}

/// Runs one operation on processes, each in a tracer child that may die at any instant without harm.
///
/// One after the other: a stop holds all processors for a moment, and two at once would wait for each other.
/// - Returns: one element a process, in their order.
public func perform(
    _ operation: Operation, _ selector: PatchSelector, pids: [Int32], options: ApplyOptions
) -> [ProcessResult] {
    inTracers(pids, options, atOnce: 1, patience: 30) { pid in
        if operation.needsBundle { try checkTrust(selector, options) }
        let end = options.end
        try waitForOthers(pid: pid, until: end)
        var session = try openWhenReady(pid: pid, options, until: end)
        try session.recover()
        var report = try session.perform(operation, selector, options)
        if operation == .apply || operation == .activate {
            let patches = session.records.patches.filter { $0.id == selector.id }
            report.patchedFiles = session.process.patchedFiles(patches)
        }
        // What has been reported must be true of the program that runs by now (trap pid-reuse).
        try session.process.memory.checkProcess()
        return report
    }
}

/// Runs `body` for each process in a tracer; every error becomes a result.
/// - Parameters:
///   - width: how many at once.
///   - patience: how many seconds beyond the time for trying a process may take.
func inTracers(
    _ pids: [Int32], _ options: ApplyOptions, atOnce width: Int, patience: Double,
    _ body: (Int32) throws -> ProcessReport
) -> [ProcessResult] {
    let deadline = Duration.seconds(max(0, min(options.timeout, 3600)) + patience)
    let answers = runTracers(pids.count, atOnce: width, deadline: deadline) { index in
        let pid = pids[index]
        let result: ProcessResult
        do { result = ProcessResult(report: try body(pid)) } catch { result = ProcessResult(pid: pid, error: error) }
        return try encodeJSON(result)
    }
    let results = zip(pids, answers).map { pid, answer in
        do {
            return try decodeJSON(ProcessResult.self, from: try answer.get())
        } catch {
            return ProcessResult(pid: pid, error: error)
        }
    }
    return NewProcesses().complete(results)
}

/// Waits while ld.so is at work.
func openWhenReady(pid: Int32, _ options: ApplyOptions, until end: UInt64) throws -> Session {
    while true {
        do { return try Session.open(pid: pid, options: options, until: end) } catch let busy as Busy {
            guard monotonicNanoseconds() < end else { throw busy }
        }
        pauseMicroseconds(5_000)
    }
}

/// Who vouches for the bundle was decided once for the whole command, before any process was touched, of the very bytes
/// that are loaded here.
func checkTrust(_ selector: PatchSelector, _ options: ApplyOptions) throws {
    guard case .bundle(let bundle) = selector else {
        throw UsageError("\(selector.id): give the bundle's file, not an id")
    }
    guard options.acceptance?.manifestDigest == bundle.manifestDigest else {
        throw Refusal(.unsigned, subject: bundle.manifest.id, why: "this host has not accepted the bundle")
    }
}

extension Session {
    mutating func perform(
        _ operation: Operation, _ selector: PatchSelector, _ options: ApplyOptions
    ) throws -> ProcessReport {
        switch (operation, selector) {
        case (.load, .bundle(let bundle)):
            if try !load(bundle) { notes.append("it was loaded already") }
            return report(bundle.reference)
        case (.apply, .bundle(let bundle)): return try apply(bundle)
        default: break
        }
        let reference = try reference(selector)
        let before = report(reference)
        switch operation {
        case .activate:
            try refuseWithdrawn(reference, options.revocations)
            if try !activate(reference) { notes.append("it was active already") }
        case .deactivate:
            if try !deactivate(reference) { notes.append("it was not active") }
        default:
            let superseded = superseded(by: reference)
            let wasActive = try operation == .revert && deactivate(reference)
            do {
                if let why = try unload(reference) { notes.append("the module stays mapped, inactive: \(why)") }
                if wasActive { try restore(superseded, options) }
            } catch let error where wasActive {
                // Something has changed: this is not a refusal, nor merely busy.
                throw Failure("\(selector.id) is inactive, but not all that follows was done: \(error)")
            }
        }
        var report = report(reference)
        (report.functions, report.targets) = (before.functions, before.targets)
        return report
    }

    /// The only thing of trust that is asked again: a patch may have been withdrawn since it was loaded.
    private func refuseWithdrawn(_ reference: PatchReference, _ revocations: Revocations) throws {
        if revocations.revokes(bundle: reference.manifestDigest) { throw Trust.withdrawn(reference.id) }
    }

    private func superseded(by reference: PatchReference) -> [PatchReference] {
        (records.patch(reference)?.supersedes ?? []).filter { records.patch($0)?.state == .superseded }
    }

    /// What the reverted patch had superseded is inactive too, unless it is asked for.
    private mutating func restore(_ superseded: [PatchReference], _ options: ApplyOptions) throws {
        for old in superseded {
            guard options.restore else {
                notes.append(
                    "\(old.id), which it had superseded, is not active either: `livepatch activate \(old.id)` "
                        + "switches it on (`revert --restore` does both)")
                continue
            }
            try refuseWithdrawn(old, options.revocations)
            if try activate(old) { notes.append("\(old.id), which it had superseded, is active again") }
        }
    }

    /// Load and activate; what can't be activated is not left loaded.
    private mutating func apply(_ bundle: Bundle) throws -> ProcessReport {
        let reference = bundle.reference
        let isNew = try load(bundle)
        do {
            if try !activate(reference) { notes.append("it was active already") }
        } catch {
            if isNew { _ = try? unload(reference) }
            throw error
        }
        return report(reference)
    }

    /// The patch that the selector means, which must be in the process.
    private func reference(_ selector: PatchSelector) throws -> PatchReference {
        if case .bundle(let bundle) = selector {
            guard let known = records.patch(bundle.reference) else {
                if let other = records.patches.first(where: { $0.id == bundle.manifest.id }) {
                    throw Refusal(
                        .notLoaded, subject: bundle.manifest.id,
                        why:
                            "another bundle of this id is \(other.state.rawValue) in \(process.subject) (trap same-id)",
                        remedy: "give that bundle, or the id")
                }
                throw notLoaded(bundle.manifest.id, in: process)
            }
            try BundleComparison(process: process, state: records.state).check(known, bundle)
            return bundle.reference
        }
        let known = records.patches.filter { $0.id == selector.id }
        guard let found = known.first(where: { $0.state != .resident }) ?? known.last else {
            throw notLoaded(selector.id, in: process)
        }
        return found.reference
    }

    /// What the registry says now.
    private func report(_ reference: PatchReference) -> ProcessReport {
        let known = records.patch(reference)
        var report = ProcessReport(pid: process.pid, state: known?.state.rawValue ?? "unloaded")
        report.functions = known?.functions.count ?? 0
        report.targets = known?.modules.map(\.file)
        (report.stopMicroseconds, report.threads, report.attempts) = (stop.microseconds, stop.threads, stop.attempts)
        (report.interrupted, report.interruptedCalls) = (stop.interrupted, stop.interruptedCalls)
        report.notes = notes
        return report
    }
}
