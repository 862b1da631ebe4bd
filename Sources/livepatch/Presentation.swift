import Diagnostics
import Glibc
import JSONCoding
import PatchApplying
import TrustedHost

/// Where text goes.
struct Stream: TextOutputStream, Sendable {
    var descriptor: Int32
    static let standardOutput = Stream(descriptor: 1)
    static let standardError = Stream(descriptor: 2)

    /// A reader that has gone away is no reason to fail: what was asked for is done. An answer that could not be
    /// written is none, though: a script must not take it for "no patch".
    mutating func write(_ string: String) {
        guard let number = unwritten(string), number != EPIPE, descriptor == 1 else { return }
        var diagnostics = Stream.standardError
        let why = String(cString: strerror(number))
        diagnostics.write("livepatch: the answer could not be written to standard output: \(why)\n")
        Glibc.exit(ExitStatus.failed.rawValue)
    }

    /// Why not all of it was written; nil when it was.
    private func unwritten(_ string: String) -> Int32? {
        var bytes = Array(string.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            bytes = bytes.dropFirst(count)
        }
        return nil
    }
}

/// Opens those of the descriptors 0, 1 and 2 that were closed: what is opened next would get their numbers, and output
/// would go there (a process's memory, say). To write to a closed standard output still fails.
func reserveStandardDescriptors() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 {
        _ = open("/dev/null", descriptor == 2 ? O_WRONLY : O_RDONLY)
    }
}

/// Foreign text was put on one line where it became part of this one; its layout may hold newlines.
func print(_ text: String, to stream: Stream) {
    var stream = stream
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { onOneLine(String($0)) }
    Swift.print(lines.joined(separator: "\n"), to: &stream)
}

/// One line, whatever stands in it.
private func printLine(_ text: String, to stream: Stream = .standardOutput) { print(onOneLine(text), to: stream) }

/// An error as it is printed; foreign text stays on its line.
func shown(_ error: any Error) -> String {
    switch error {
    case let refusal as Refusal: refusal.onOneLineEach.description
    case let several as Refusals: several.refusals.map(\.onOneLineEach.description).joined(separator: "\n")
    default: onOneLine("\(error)")
    }
}

/// Results as text made for reading, or as one JSON object; diagnostics on standard error.
struct Presentation {
    var json: Bool
    var verbose = false

    private struct Answer: Encodable {
        var processes: [ProcessReport]?
        var refused: [Refusal]?
        var busy: [String]?
        var failed: [String]?
    }

    func warn(_ discovery: Discovery, changes: Bool) {
        let remarks = discovery.remarks(isRoot: geteuid() == 0, changes: changes, all: verbose || json)
        for remark in remarks { printLine("livepatch: \(remark)", to: .standardError) }
    }

    /// Shows how each process fared; returns the exit status.
    /// - Parameter deciding: those that it is made of; nil for all.
    func show(_ results: [ProcessResult], patch: String, deciding: [ProcessResult]? = nil) -> ExitStatus {
        for result in results { showDiagnostics(result) }
        let refusals = results.flatMap(\.refusals)
        let busy = results.compactMap(\.busy)
        let failures = results.compactMap(\.failure)
        if json {
            write(
                Answer(
                    processes: results.map(\.report), refused: refusals.isEmpty ? nil : refusals,
                    busy: busy.isEmpty ? nil : busy, failed: failures.isEmpty ? nil : failures))
        } else {
            for result in results where result.status == .done { showText(result.report, patch) }
            if results.isEmpty { print("no process has a patch", to: .standardOutput) }
        }
        let deciding = deciding ?? results
        let damaged = deciding.contains { $0.report.state == "damaged" }
        return damaged ? .failed : ProcessResult.status(of: deciding)
    }

    /// Shows an error that has nothing to do with a process.
    func show(_ error: any Error) -> ExitStatus {
        print("livepatch: \(shown(error))", to: .standardError)
        if json {
            switch error {
            case let refusal as Refusal: write(Answer(refused: [refusal]))
            case let refusals as Refusals: write(Answer(refused: refusals.refusals))
            default: write(Answer(failed: ["\(error)"]))
            }
        }
        return ExitStatus(for: error)
    }

    /// Shows whom this host trusts.
    func show(_ account: TrustAccount) -> ExitStatus {
        let refusals = account.refused ?? []
        for refusal in refusals { print("livepatch: \(shown(refusal))", to: .standardError) }
        if json { write(account) } else { print(account.description, to: .standardOutput) }
        return refusals.isEmpty ? .done : .refused
    }

    /// Shows what was written for debuggers.
    func show(_ report: DebugReport) {
        if json { return write(report) }
        for line in report.lines { printLine(line) }
    }

    private func write(_ answer: some Encodable) {
        guard let bytes = try? encodeJSON(answer, .pretty) else { return }
        var stream = Stream.standardOutput
        Swift.print(escapedInJSON(String(decoding: bytes, as: UTF8.self)), to: &stream)
    }

    private func showDiagnostics(_ result: ProcessResult) {
        for refusal in result.refusals {
            print("livepatch: pid \(result.report.pid): \(shown(refusal))", to: .standardError)
        }
        if let busy = result.busy { printLine("livepatch: busy: \(busy)", to: .standardError) }
        if let failure = result.failure {
            print(
                "livepatch: pid \(result.report.pid): failed: \(onOneLine(failure))\n"
                    + "  `livepatch status --pid \(result.report.pid)` says what is left", to: .standardError)
        }
    }

    private func showText(_ report: ProcessReport, _ patch: String) {
        if let patches = report.patches { return showPatches(report, patches) }
        var details: [String] = []
        let targets = report.targets.map { " of " + $0.joined(separator: ", ") } ?? ""
        if report.functions > 0 { details.append(count(report.functions, "function") + targets) }
        if report.threads > 0 {
            details.append("stopped \(milliseconds(report.stopMicroseconds)) ms")
            details.append(count(report.threads, "thread") + " (\(report.interrupted) interrupted)")
            details.append("attempt \(report.attempts)")
        }
        let tail = details.isEmpty ? "" : " (\(details.joined(separator: ", ")))"
        printLine("pid \(report.pid): \(report.state)\(tail)")
        for note in report.notes { printLine("  \(note)") }
    }

    private func showPatches(_ report: ProcessReport, _ patches: [PatchReport]) {
        printLine("pid \(report.pid): \(count(patches.count, "patch", "patches"))")
        for note in report.notes { printLine("  \(note)") }
        for patch in patches {
            let targets = patch.targets.joined(separator: ", ")
            printLine(
                "  \(patch.id): \(patch.state.rawValue)\(patch.oldCodeRuns == true ? ", but old code runs" : ""), \(count(patch.functions.count, "function")) of \(targets), "
                    + "manifest \(patch.manifestDigest.prefix(16))")
            let absent = (patch.leftOut ?? []).filter { !(patch.unpatched ?? []).contains($0) }
            if !absent.isEmpty {
                printLine("    not mapped here: \(absent.joined(separator: ", "))")
            }
            for file in patch.unpatched ?? [] {
                printLine("    \(file) was mapped after it was loaded, and is not patched")
            }
            for note in patch.notes { printLine("    \(note)") }
            if let advice = patch.advice { printLine("    \(advice)") }
            for problem in patch.problems { printLine("    problem: \(problem)") }
        }
    }

    private func count(_ number: Int, _ one: String, _ many: String? = nil) -> String {
        "\(number) \(number == 1 ? one : many ?? one + "s")"
    }

    /// Two digits after the point.
    private func milliseconds(_ microseconds: Int) -> String {
        let hundredths = (microseconds + 5) / 10
        return "\(hundredths / 100)." + (hundredths % 100 < 10 ? "0" : "") + "\(hundredths % 100)"
    }
}
