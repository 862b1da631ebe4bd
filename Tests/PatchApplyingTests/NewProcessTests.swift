import Glibc
import PatchFormat
import TestSupport
import Testing

@testable import PatchApplying

/// What processes run that are started after a patch was applied.
@Suite struct NewProcessTests {
    private let note = "still the old build"

    @Test("file-on-disk: apply and status say where the file is still the old build", .needsPatching)
    func fileOnDisk() throws {
        try withTemporaryDirectory { directory in
            var patch = try Programs.plainPatch()
            let program = directory + "/plain"
            try runOrThrow("cp", [patch.target, program])
            patch.target = program
            try withPatched(patch) { process, bundle in
                let applied = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
                try expectStatus(0, applied)
                #expect(applied.stdout.contains(note), "\(applied)")
                try expectNewProcesses(process, run: "true")
                // Another build, as an upgrade puts it in place.
                let other = try Fixture.compile(
                    Programs.plainSource + "\nint upgraded;\n", ["-O2", "-g", "-pthread", "-Wl,--build-id"],
                    output: "plain")
                try runOrThrow("cp", [other, program + ".new"])
                try runOrThrow("mv", [program + ".new", program])
                try expectNewProcesses(process, run: "false")
                // The file is gone, and then something that must not be opened stands there.
                try runOrThrow("rm", [program])
                try expectNewProcesses(process, run: nil)
                try runOrThrow("mkfifo", [program])
                try expectNewProcesses(process, run: nil)
                try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
                let reverted = try livepatch("status", "--json", "--pid", process.id)
                #expect(!reverted.stdout.contains("newProcessesRunOldCode"), "\(reverted)")
            }
        }
    }

    @Test("file-on-disk: status names the processes that run the same file without the patch", .needsPatching)
    func otherProcesses() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            let target = try Programs.plainPatch().target
            try withProcess(target) { other in
                try other.waitForOutput("ready")
                let named = try livepatch("status", "--pid", process.id)
                #expect(named.stdout.contains("without a patch in: ") && named.stdout.contains(other.id), "\(named)")
                // The remedy, word for word but for the bundle's name.
                try expectStatus(0, try livepatch("apply", bundle, "--pid", other.id, "--allow-unsigned"))
                let status = try JSON(try livepatch("status", "--json", "--pid", process.id).stdout)
                let others = status["processes"][0]["unpatchedProcesses"].elements
                #expect(!others.contains(.number(Double(other.pid))), "\(status)")
            }
        }
    }

    /// The second: a chroot in a mount namespace of its own.
    @Test(
        "file-on-disk: the file is looked for where the process would find it", .needsPatching,
        .enabled(if: (try? run("unshare", ["-m", "true"]).status) == 0, "mount namespaces are not permitted here"),
        arguments: [
            "mount --bind \"$0/inside\" \"$0\" && exec \"$0/plain\"",
            """
            mount --rbind / "$0/jail" && mount --bind "$0/inside" "$0/jail$0" && exec chroot "$0/jail" "$0/plain"
            """,
        ])
    func mountNamespace(command: String) throws {
        try withTemporaryDirectory { directory in
            var patch = try Programs.plainPatch()
            let (program, original) = (directory + "/plain", patch.target)
            try runOrThrow("cp", [patch.target, program])
            // In a mount namespace of its own, in which the directory is another one.
            let inside = directory + "/inside"
            try makeDirectory(inside)
            try makeDirectory(directory + "/jail")
            try runOrThrow("cp", [patch.target, inside + "/plain"])
            patch.target = program
            let bundle = try patch.write(to: directory)
            try withProcess("unshare", ["-m", "sh", "-c", command, directory]) { process in
                try process.waitForOutput("ready")
                // What lies outside is not what it would execute.
                try runOrThrow("rm", [program])
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try expectNewProcesses(process, run: "true")
                try runOrThrow("cp", [original, program])
                try runOrThrow("rm", [inside + "/plain"])
                try expectNewProcesses(process, run: nil)
            }
        }
    }

    private func expectNewProcesses(_ process: RunningProcess, run value: String?) throws {
        let text = try livepatch("status", "--pid", process.id)
        try expectStatus(0, text)
        #expect(text.stdout.contains(note) == (value == "true"), "\(text)")
        let json = try livepatch("status", "--json", "--pid", process.id)
        try expectStatus(0, json)
        let field = value.map { "\"newProcessesRunOldCode\" : \($0)" }
        #expect(json.stdout.contains(field ?? "newProcessesRunOldCode") == (field != nil), "\(json)")
        #expect(!json.stdout.contains("patchedFiles"), "\(json)")
    }
}
