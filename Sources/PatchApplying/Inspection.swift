import Diagnostics
import ElfFormat
import PatchRegistry
import ProcessControl
import ProcessImage

/// What is applied to processes, as their registries say, and whether that is what runs: entries and switches are read.
/// Nothing is changed.
public func status(pids: [Int32], id: String?, options: ApplyOptions) -> [ProcessResult] {
    inTracers(pids, options, atOnce: tracersAtOnce, patience: 5) { pid in
        let session = try openWhenReady(pid: pid, options, until: options.end)
        let inspection = Inspection(process: session.process, state: session.records.state)
        let patches = session.records.patches.filter { id == nil || $0.id == id }
        if let id, patches.isEmpty { throw notLoaded(id, in: session.process) }
        var report = ProcessReport(pid: pid, state: patches.isEmpty ? "clean" : "patched")
        report.patches = try patches.map { try inspection.describeWithEffect($0) }
        if report.patches?.contains(where: { $0.oldCodeRuns == true }) == true { report.state = "damaged" }
        report.patchedFiles = session.process.patchedFiles(patches)
        report.functions = patches.filter { $0.state == .active }.reduce(0) { $0 + $1.functions.count }
        return report
    }
}

/// Compares the memory of processes with what their registries say: entries, jumps, module bytes, switches.
public func verify(pids: [Int32], id: String?, options: ApplyOptions) -> [ProcessResult] {
    inTracers(pids, options, atOnce: tracersAtOnce, patience: 5) { pid in
        let session = try openWhenReady(pid: pid, options, until: options.end)
        let inspection = Inspection(process: session.process, state: session.records.state)
        let patches = session.records.patches.filter { id == nil || $0.id == id }
        if let id, patches.isEmpty { throw notLoaded(id, in: session.process) }
        var report = ProcessReport(pid: pid, state: patches.isEmpty ? "clean" : "patched")
        report.patches = try patches.map { patch in
            var description = inspection.describe(patch)
            description.problems = try inspection.problems(of: patch)
            return description
        }
        if report.patches?.contains(where: { !$0.problems.isEmpty }) == true { report.state = "damaged" }
        return report
    }
}

private func advice(_ patch: RegisteredPatch) -> String? {
    switch patch.state {
    case .loading: "a load did not finish; the next command that changes this process takes it back"
    case .unloading: "an unload did not finish; the next command that changes this process completes it"
    case .activating:
        "an activation did not finish; `livepatch activate \(patch.id)` or `livepatch revert \(patch.id)` decides"
    case .deactivating: "a deactivation did not finish; `livepatch deactivate \(patch.id)` completes it"
    case .initialising:
        "calls that a load needs did not finish; the next command that changes this process completes them"
    case .retiring: "an unload did not finish; the next command that changes this process completes it"
    case .failed: "never used: \(patch.calls?.failure ?? "a call failed"); the module stays mapped; restart the process"
    case .resident: "inactive; kept mapped because something may point into it; used again by the next load"
    case .superseded: "inactive; the patch that supersedes it is active"
    case .loaded, .active: nil
    }
}

/// What there is to say of a patch, and what is not as its record says.
private struct Inspection {
    let process: LoadedProcess
    let state: RegistryState

    func describe(_ patch: RegisteredPatch) -> PatchReport {
        let late = process.unpatched(patch).map(\.file)
        var report = PatchReport(
            id: patch.id, manifestDigest: patch.manifestDigest, sequence: patch.sequence, state: patch.state,
            targets: patch.modules.map(\.file), leftOut: patch.leftOut?.map(\.file),
            unpatched: late.isEmpty ? nil : late, functions: patch.functions.map(\.name), advice: advice(patch))
        if let calls = patch.calls, patch.state != .loading, patch.state != .initialising, calls.failure == nil {
            if calls.registrations > 0 { report.notes.append("the unwinder knows its functions") }
            if calls.initialisers > 0 { report.notes.append("initialisers that have run: \(calls.initialisers)") }
        }
        report.notes += patch.values.compactMap(\.note)
        report.values = patch.values.isEmpty ? nil : patch.values.map(ValueReport.init)
        if report.advice == nil, !late.isEmpty { report.advice = LateTargets.remedy(patch) }
        return report
    }

    /// The same, with where the old code runs although the patch is active (trap dlclosed).
    func describeWithEffect(_ patch: RegisteredPatch) throws -> PatchReport {
        var report = describe(patch)
        guard patch.state == .active else { return report }
        report.problems = try oldCode(of: patch)
        report.notes += patch.modules.filter { !process.isMapped($0.buildID) }.map {
            "\($0.file) is not mapped any more"
        }
        if report.problems.isEmpty { return report }
        report.oldCodeRuns = true
        report.advice = "apply the patch again; where that is refused, revert it first"
        return report
    }

    /// Where the old code of an active patch runs.
    private func oldCode(of patch: RegisteredPatch) throws -> [String] {
        var problems: [String] = []
        if try process.view.read(patch.switchAddress, 1).bytes != [1] {
            problems.append("its switch is off: all of its old code runs")
        }
        for module in patch.modules {
            guard process.isPresent(module) else {
                if process.isMapped(module.buildID) {
                    problems.append("\(module.file) was closed and opened again at another address: its old code runs")
                }
                continue
            }
            let functions = try module.functions.filter {
                try process.entryBytes(of: $0) != state.expectedEntry(of: $0)
            }
            if functions.isEmpty { continue }
            let names = functions.prefix(4).map(\.name).joined(separator: ", ")
            let more = functions.count > 4 ? " and \(functions.count - 4) more" : ""
            problems.append(
                "no jump stands at the entry of \(names)\(more): the old code runs "
                    + "(\(module.file) was closed and opened again, or something has written there)")
        }
        return problems
    }

    /// Everything about a patch that is not as its record says.
    func problems(of patch: RegisteredPatch) throws -> [String] {
        var problems: [String] = []
        if patch.state.isIntent { problems.append("a command did not finish (\(patch.state.rawValue))") }
        guard patch.state != .loading, patch.state != .unloading, patch.state != .retiring else { return problems }
        if try !process.isIntact(patch) { problems.append("the code or the constants of its module have changed") }
        let isOn = try process.view.read(patch.switchAddress, 1).bytes == [1]
        if isOn != (patch.state == .active), !patch.state.isIntent {
            problems.append("its switch is \(isOn ? "on" : "off"), its state \(patch.state.rawValue)")
        }
        if patch.state == .active {
            problems += process.unpatched(patch).map { "\($0.file) was mapped after it was loaded, and is not patched" }
        }
        for module in patch.modules {
            guard process.isPresent(module) else {
                problems.append("\(module.file) is not mapped any more")
                continue
            }
            for function in module.functions { problems += try entryProblems(of: function, patch) }
        }
        return problems
    }

    private func entryProblems(of function: RegisteredFunction, _ patch: RegisteredPatch) throws -> [String] {
        let found = try process.entryBytes(of: function)
        let expected = state.expectedEntry(of: function)
        if patch.state.isIntent ? [function.jump, expected].contains(found) : found == expected { return [] }
        return ["the entry of \(function.name) at \(hex(function.entry)) holds \(found), not \(expected)"]
    }
}
