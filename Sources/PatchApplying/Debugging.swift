import DebuggerFiles
import Diagnostics
import JSONCoding
import PatchRegistry
import ProcessControl
import ProcessImage

/// What `readSymbols` found, on its way from the tracer.
private struct SymbolAnswer: Codable {
    var result: ProcessResult
    var modules: [ModuleSymbols] = []
}

/// Reads the modules that lie in a process, in a tracer that is given up where a read does not end (trap blocked-read).
/// Nothing is changed, and nobody is stopped.
/// - Returns: the modules of every patch, whether it is active or not; refused where there is none.
public func readSymbols(pid: Int32, options: ApplyOptions) -> (result: ProcessResult, modules: [ModuleSymbols]) {
    do {
        let answer = try runTracer(deadline: .seconds(max(0, min(options.timeout, 3600)) + 30)) {
            try encodeJSON(collectSymbols(pid: pid, options))
        }
        let found = try decodeJSON(SymbolAnswer.self, from: answer)
        return (found.result, found.modules)
    } catch {
        return (ProcessResult(pid: pid, error: error), [])
    }
}

private func collectSymbols(pid: Int32, _ options: ApplyOptions) -> SymbolAnswer {
    do {
        let session = try openWhenReady(pid: pid, options, until: options.end)
        let patches = session.records.patches.filter(\.state.hasWholeModule)
        guard !patches.isEmpty else {
            throw Refusal(
                .notLoaded, subject: session.process.subject, why: "no patch is loaded in it",
                remedy: "check the process id; `livepatch status` lists the processes that have patches")
        }
        let modules = patches.flatMap { patch in
            patch.modules.map { ModuleSymbolReader(view: session.process.view, patch: patch, module: $0).read() }
        }
        try session.process.memory.checkProcess()
        return SymbolAnswer(
            result: ProcessResult(report: ProcessReport(pid: pid, state: "patched")), modules: modules)
    } catch {
        return SymbolAnswer(result: ProcessResult(pid: pid, error: error))
    }
}

extension PatchState {
    /// Its modules are mapped and filled.
    fileprivate var hasWholeModule: Bool {
        switch self {
        case .loading, .unloading, .retiring: false
        case .loaded, .activating, .active, .deactivating, .initialising, .failed, .resident, .superseded: true
        }
    }
}
