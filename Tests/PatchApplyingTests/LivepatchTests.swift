import Glibc
import PatchFormat
import TestSupport
import Testing

@testable import PatchApplying

/// Runs the `livepatch` tool on a process.
@discardableResult
func livepatch(_ arguments: String...) throws -> Output {
    try run(toolPath("livepatch"), arguments, seconds: 60)
}

/// A running program and a bundle for it.
func withPatched(
    _ patch: HandMadePatch, arguments: [String] = [], _ body: (RunningProcess, String) throws -> Void
) throws {
    try withTemporaryDirectory { directory in
        let bundle = try patch.write(to: directory)
        try withProcess(patch.target, arguments) { process in
            try process.waitForOutput("ready")
            try body(process, bundle)
        }
    }
}

extension RunningProcess {
    /// Waits until a line that is printed from now on is `text`.
    func waitForNew(_ text: String) throws {
        let old = stdout.utf8.count
        let end = monotonicSeconds() + 10
        while !String(stdout.dropFirst(old)).contains(text) {
            guard isRunning, monotonicSeconds() < end else {
                throw SystemFailure("no '\(text)' in \(stdout.suffix(200))")
            }
            usleep(2_000)
        }
    }
}

@Suite("livepatch", .serialized) struct LivepatchTests {
    @Test("apply switches to the new code and revert switches back")
    func applyAndRevert() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let pid = String(process.pid)
            try process.waitForNew("answer=1 second=11")
            let applied = try livepatch("apply", bundle, "--pid", pid, "--allow-unsigned")
            #expect(applied.status == 0, "\(applied)")
            try process.waitForNew("answer=2 second=22")
            let verified = try livepatch("verify", "--pid", pid)
            #expect(verified.status == 0, "\(verified)")
            let reverted = try livepatch("revert", bundle, "--pid", pid)
            #expect(reverted.status == 0, "\(reverted)")
            try process.waitForNew("answer=1 second=11")
        }
    }
}
