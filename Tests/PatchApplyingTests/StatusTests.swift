import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

/// `status` says what runs, not only what was recorded.
@Suite struct StatusTests {
    @Test("dlclosed: status says that a library that was opened again runs its old code", .needsPatching)
    func reopened() throws {
        try withTemporaryDirectory { scratch in
            let directory = try Programs.library()
            let bundle = try Programs.libraryPatch().write(to: scratch)
            try withProcess(directory + "/host", [directory + "/libanswer.so"]) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try expectStatus(0, try livepatch("status", "--pid", process.id))
                process.send(SIGUSR1)
                try process.waitForOutput("closed")
                // Nothing of it runs, old or new.
                let closed = try livepatch("status", "--pid", process.id)
                try expectStatus(0, closed)
                #expect(closed.stdout.contains("not mapped any more"), "\(closed)")
                process.send(SIGUSR1)
                try process.waitForNew("answer=1")
                try expectOldCode(process, naming: "libanswer.so")
            }
        }
    }

    @Test("status reads entries and switches", .needsPatching)
    func entriesAndSwitch() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            let patch = try filledRegistry(of: process).state.patches.at(0)
            let memory = RemoteMemory(pid: process.pid)
            try memory.write([0], at: RemoteAddress(patch.switchAddress))
            try process.waitForNew("answer=1 second=11")
            try expectOldCode(process, naming: "switch")
            try memory.write([1], at: RemoteAddress(patch.switchAddress))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("status", "--pid", process.id))
            let second = try patch.functions.at(1)
            try memory.write(try #require(bytesOfHex(second.saved)), at: RemoteAddress(second.entry))
            try process.waitForNew("answer=2 second=12")
            try expectOldCode(process, naming: "second")
            try memory.write(try #require(bytesOfHex(second.jump)), at: RemoteAddress(second.entry))
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            try expectStatus(0, try livepatch("status", "--pid", process.id))
        }
    }

    @Test("an answer that can't be written is a failure; a reader that has gone away is none", .needsPatching)
    func unwritableOutput() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            for form in ["", " --json"] {
                for end in [">/dev/full", ">&-"] {
                    let output = try shell("exec \"$0\" status --pid \(process.id)\(form) \(end)")
                    try expectStatus(4, output)
                    #expect(output.stderr.contains("standard output"), "\(output)")
                }
                // Nobody reads any more once `echo` has failed.
                let gone = try shell(
                    "{ trap '' PIPE; while echo x; do :; done 2>/dev/null; "
                        + "\"$0\" status --pid \(process.id)\(form); echo \"status $?\" >&2; } | true")
                #expect(gone.stderr.contains("status 0"), "\(gone)")
            }
            // Closed descriptors are not those of the process's memory.
            try expectStatus(0, try shell("exec \"$0\" revert fix --pid \(process.id) <&- 2>&-"))
            try process.waitForNew("answer=1 second=11")
        }
    }

    private func shell(_ command: String) throws -> Output {
        try run("sh", ["-c", command, toolPath("livepatch")], seconds: 60)
    }

    @Test("root is told of processes that it can't see only where they matter, or when it asks")
    func remarks() {
        var discovery = Discovery()
        discovery.forbidden = [1, 7]
        #expect(discovery.remarks(isRoot: true, changes: false, all: false) == [])
        #expect(discovery.remarks(isRoot: true, changes: true, all: false) == ["no permission to look at: 7"])
        #expect(discovery.remarks(isRoot: true, changes: false, all: true) == ["no permission to look at: 1, 7"])
        let user = discovery.remarks(isRoot: false, changes: true, all: false)
        #expect(user.count == 1 && user.allSatisfy { $0.contains("2 processes") && $0.contains("--verbose") })
        discovery = Discovery()
        discovery.blocked = [3]
        discovery.incomplete = [4]
        #expect(discovery.remarks(isRoot: true, changes: false, all: false).count == 2)
    }

    private func expectOldCode(_ process: RunningProcess, naming what: String) throws {
        let text = try livepatch("status", "--pid", process.id)
        try expectStatus(4, text)
        #expect(text.stdout.contains("active, but old code runs") && text.stdout.contains(what), "\(text)")
        let json = try livepatch("status", "--json", "--pid", process.id)
        try expectStatus(4, json)
        #expect(json.stdout.contains("\"oldCodeRuns\" : true"), "\(json)")
        #expect(json.stdout.contains("\"state\" : \"damaged\""), "\(json)")
    }
}
