import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

/// Bundles of several targets, of which a process takes those that it maps.
@Suite("groups of targets") struct GroupTests {
    private func apply(_ bundle: String, _ process: RunningProcess) throws -> Output {
        try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
    }

    /// `day` and `night`, either alone.
    private func twoPrograms(_ directory: String, id: String = "family") throws -> HandMadePatch {
        try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day", id: id), Programs.secondPatch(directory + "/night")],
            groups: [[0], [1]])
    }

    /// `user` and its library.
    private func userAndLibrary(_ directory: String, groups: [[Int]]?) throws -> HandMadePatch {
        try Programs.familyPatch(
            [Programs.secondPatch(directory + "/user"), Programs.answerPatch(directory)], groups: groups)
    }

    @Test("one bundle for two programs: --all finds both, each takes its own target, and status tells")
    func twoProgramsAtOnce() throws {
        let directory = try Programs.family("all")
        // Processes of other tests hold patches of the other id.
        try withFamily(directory + "/day", try twoPrograms(directory, id: "programs")) { day, bundle in
            try withProcess(directory + "/night") { night in
                try night.waitForOutput("ready")
                let applied = try livepatch("apply", bundle, "--all", "--allow-unsigned", "--json")
                try expectStatus(0, applied)
                let processes = try JSON(applied.stdout)["processes"].elements
                let targets = processes.map { "\($0["pid"].number ?? 0) \($0["targets"][0].text ?? "")" }
                #expect(Set(targets) == ["\(Double(day.pid)) day", "\(Double(night.pid)) night"], "\(applied)")
                for (process, own, left) in [(day, "day", "night"), (night, "night", "day")] {
                    try process.waitForNew("answer=-1 second=21")
                    let status = try livepatch("status", "--pid", process.id)
                    #expect(status.stdout.contains("programs: active, 1 function of \(own), "), "\(status)")
                    #expect(status.stdout.contains("not mapped here: \(left)\n"), "\(status)")
                    try expectStatus(0, try livepatch("verify", "--pid", process.id))
                }
                try expectStatus(0, try livepatch("revert", bundle, "--all"))
                for process in [day, night] { try process.waitForNew("answer=-1 second=11") }
            }
        }
    }

    @Test("a process that lacks the first target takes the second, and revert restores every byte")
    func firstTargetAbsent() throws {
        let directory = try Programs.family("")
        try withFamily(directory + "/night", try twoPrograms(directory)) { process, bundle in
            let before = try text(of: process, "night")
            let applied = try apply(bundle, process)
            try expectStatus(0, applied)
            #expect(applied.stdout.contains("active (1 function of night, "), "\(applied)")
            #expect(try text(of: process, "night") != before)
            try process.waitForNew("second=21")
            #expect(try apply(bundle, process).stdout.contains("it was active already"))
            let reverted = try livepatch("revert", "family", "--pid", process.id)
            #expect(reverted.stdout.contains("resident (1 function of night"), "\(reverted)")
            #expect(try text(of: process, "night") == before)
            try process.waitForNew("second=11")
        }
    }

    @Test("a program and its library are switched by one byte, which is the first target's")
    func together() throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day")]
                + [Programs.secondPatch(directory + "/user"), Programs.answerPatch(directory)],
            groups: [[0], [1, 2], [2]])
        try withFamily(directory + "/user", patch) { process, bundle in
            let before = try ["user", "libanswer.so"].map { try text(of: process, $0) }
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let view = try ProcessView(pid: process.pid)
            let registered = try #require(try Registry.find(in: view)?.state.patches.first)
            #expect(registered.modules.map(\.file) == ["user", "libanswer.so"])
            for entry in registered.functions {
                try view.memory.write(try #require(bytesOfHex(entry.jump)), at: RemoteAddress(entry.entry))
            }
            // All entries are written, and nothing has changed.
            try process.waitForNew("answer=1 second=11")
            let printed = process.stdout.utf8.count
            try view.memory.write([1], at: RemoteAddress(registered.switchAddress))
            try process.waitForNew("answer=2 second=21")
            let lines = String(decoding: Array(process.stdout.utf8.dropFirst(printed)), as: UTF8.self).split(
                separator: "\n")
            // In the line that was being made at that moment, the first call may have been before it.
            #expect(lines.filter { $0 == "answer=1 second=21" }.count <= 1 && !lines.contains("answer=2 second=11"))
            try view.memory.write([0], at: RemoteAddress(registered.switchAddress))
            try process.waitForNew("answer=1 second=11")
            for entry in registered.functions {
                try view.memory.write(try #require(bytesOfHex(entry.saved)), at: RemoteAddress(entry.entry))
            }
            try expectStatus(0, try livepatch("activate", "family", "--pid", process.id))
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            #expect(try ["user", "libanswer.so"].map { try text(of: process, $0) } == before)
        }
    }

    @Test("another program with the library takes the library alone")
    func libraryAlone() throws {
        let directory = try Programs.family("")
        let patch = try userAndLibrary(directory, groups: [[0, 1], [1]])
        try withFamily(directory + "/other", patch) { process, bundle in
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=1")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=1")
        }
    }

    @Test("a library that is coupled to its program is refused where that program is not, and --all says so")
    func coupled() throws {
        let directory = try Programs.family("coupled")
        let patch = try userAndLibrary(directory, groups: [[0, 1]])
        try withFamily(directory + "/other", patch) { process, bundle in
            let refused = try apply(bundle, process)
            try expectRefusal("target-not-mapped", refused)
            #expect(refused.stderr.contains("user in pid \(process.id)"), "\(refused)")
            #expect(refused.stderr.contains("libanswer.so is mapped, and is only patched together with user"))
            let none = try livepatch("apply", bundle, "--all", "--allow-unsigned")
            try expectRefusal("target-not-mapped", none)
            #expect(none.stderr.contains("left out") && none.stderr.contains(process.id), "\(none)")
            try withProcess(directory + "/user") { user in
                try user.waitForOutput("ready")
                let all = try livepatch("apply", bundle, "--all", "--allow-unsigned")
                try expectStatus(0, all)
                #expect(all.stdout.contains("pid \(user.id): active (2 functions of user, libanswer.so, "), "\(all)")
                #expect(all.stderr.contains(process.id), "\(all)")
                try user.waitForNew("answer=2 second=21")
            }
            try process.waitForNew("answer=1 second=1")
        }
    }

    @Test("a target that came later is never taken for patched, and revert and apply patch it too")
    func openedLater() throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day"), Programs.answerPatch(directory)], groups: [[0], [1]])
        try withFamily(directory + "/day", patch) { process, bundle in
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=-1 second=21")
            process.send(SIGUSR1)
            try process.waitForNew("answer=1 second=21")
            let status = try livepatch("status", "--pid", process.id)
            #expect(
                status.stdout.contains("libanswer.so was mapped after it was loaded, and is not patched"), "\(status)")
            #expect(status.stdout.contains("revert the patch and apply it again"), "\(status)")
            let json = try JSON(try livepatch("status", "--pid", process.id, "--json").stdout)
            #expect(json["processes"][0]["patches"][0]["unpatched"][0].text == "libanswer.so")
            try expectStatus(4, try livepatch("verify", "--pid", process.id))
            for command in [["apply", bundle, "--allow-unsigned"], ["activate", "family"]] {
                let again = try run(toolPath("livepatch"), command + ["--pid", process.id], seconds: 60)
                try expectRefusal("patch-state", again)
                #expect(again.stderr.contains("libanswer.so") && again.stderr.contains("revert the patch"), "\(again)")
            }
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
        }
    }

    @Test("what is loaded before a target came is not switched on")
    func openedBeforeActivation() throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day"), Programs.answerPatch(directory)], groups: [[0], [1]])
        try withFamily(directory + "/day", patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            process.send(SIGUSR1)
            try process.waitForNew("answer=1")
            let refused = try livepatch("activate", "family", "--pid", process.id)
            try expectRefusal("patch-state", refused)
            #expect(refused.stderr.contains("unload the patch and load it again"), "\(refused)")
            try expectStatus(0, try livepatch("unload", "family", "--pid", process.id))
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=21")
        }
    }

    @Test("a module that stayed is used again only for the same targets")
    func residentSubset() throws {
        let directory = try Programs.family("")
        let program = Programs.secondPatch(directory + "/day")
        let patch = try Programs.familyPatch([program, Programs.answerPatch(directory)], groups: [[0], [1]])
        try withFamily(directory + "/day", patch) { process, bundle in
            try expectStatus(0, try apply(bundle, process))
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("family: resident"))
            process.send(SIGUSR1)
            try process.waitForNew("answer=1")
            try expectRefusal("patch-state", try livepatch("activate", "family", "--pid", process.id))
            let again = try apply(bundle, process)
            try expectStatus(0, again)
            #expect(again.stdout.contains("the process takes other targets now"), "\(again)")
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
        }
    }

    @Test("another build of a target is named, whether it is all there is or beside what is taken")
    func otherBuild() throws {
        let (directory, older) = (try Programs.family(""), try Programs.family("older"))
        let programs = try twoPrograms(older)
        try withFamily(directory + "/day", programs) { process, bundle in
            let refused = try apply(bundle, process)
            try expectRefusal("wrong-build", refused)
            #expect(refused.stderr.contains("day in pid"), "\(refused)")
        }
        let mixed = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/user"), Programs.answerPatch(older)], groups: [[0], [1]])
        try withFamily(directory + "/user", mixed) { process, bundle in
            let applied = try apply(bundle, process)
            try expectStatus(0, applied)
            #expect(applied.stdout.contains("libanswer.so is not patched: the process runs build-id"), "\(applied)")
            try process.waitForNew("answer=1 second=21")
        }
        let coupled = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/user"), Programs.answerPatch(older)], groups: [[0, 1]])
        try withFamily(directory + "/user", coupled) { process, bundle in
            try expectRefusal("wrong-build", try apply(bundle, process))
        }
    }

    @Test("a process that maps no target is told which there are")
    func nothingMapped() throws {
        let directory = try Programs.family("")
        try withFamily(directory + "/other", try twoPrograms(directory)) { process, bundle in
            let refused = try apply(bundle, process)
            try expectRefusal("target-not-mapped", refused)
            #expect(refused.stderr.contains("any of day, night"), "\(refused)")
        }
    }

    // MARK: Recovery and trust in the registry

    @Test(
        "killed-between-entries: livepatch killed at any moment with a part of the targets, and the next one recovers")
    func killedAnywhere() throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day")]
                + [Programs.secondPatch(directory + "/user"), Programs.answerPatch(directory)],
            groups: [[0], [1, 2], [2]])
        try withFamily(directory + "/user", patch) { process, bundle in
            let before = try ["user", "libanswer.so"].map { try text(of: process, $0) }
            for round in 0..<20 {
                let command = round % 2 == 0 ? ["apply", bundle, "--allow-unsigned"] : ["revert", bundle]
                try withProcess(toolPath("livepatch"), command + ["--pid", process.id]) { tool in
                    usleep(UInt32(5_000 + round * 5_000))
                    tool.send(SIGKILL)
                }
                #expect(process.isRunning)
                try process.waitForNew("answer=")
            }
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            #expect(try ["user", "libanswer.so"].map { try text(of: process, $0) } == before)
        }
    }

    @Test(
        "killed-between-entries: with a part of the targets, an intent is completed or taken back",
        arguments: [PatchState.activating, .deactivating, .loading, .unloading])
    func intents(state: PatchState) throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day")]
                + [Programs.secondPatch(directory + "/user"), Programs.answerPatch(directory)],
            groups: [[0], [1, 2], [2]])
        try withFamily(directory + "/user", patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let view = try ProcessView(pid: process.pid)
            var registry = try #require(try Registry.find(in: view))
            let entry = try #require(registry.state.patches.first?.functions.last)
            if state == .activating || state == .deactivating {
                // The library's entry is written, the program's is not.
                try view.memory.write(try #require(bytesOfHex(entry.jump)), at: RemoteAddress(entry.entry))
            }
            try registry.update { $0.patches[0].state = state }
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("hostile-registry: targets that no process takes so, or that the bundle has not, are refused")
    func impossibleSubset() throws {
        let directory = try Programs.family("")
        let patch = try Programs.familyPatch(
            [
                Programs.secondPatch(directory + "/user"), Programs.answerPatch(directory),
                Programs.secondPatch(directory + "/day"),
            ], groups: [[0, 1], [2]])
        let changes: [(inout RegisteredPatch) -> Void] = [
            { $0.modules.removeLast() },
            { $0.modules.removeFirst() },
            { $0.leftOut = nil },
            { $0.leftOut?[0].buildID = "00" },
            { patch in
                let again = patch.leftOut ?? []
                patch.leftOut?.append(contentsOf: again)
            },
            { $0.modules.reverse() },
        ]
        try withFamily(directory + "/user", patch) { process, bundle in
            try expectStatus(0, try apply(bundle, process))
            var registry = try #require(try Registry.find(in: try ProcessView(pid: process.pid)))
            let good = registry.state
            for change in changes {
                try registry.update { change(&$0.patches[0]) }
                try expectRefusal("hostile-registry", try livepatch("revert", bundle, "--pid", process.id))
                try expectRefusal("hostile-registry", try apply(bundle, process))
                try registry.update { $0 = good }
            }
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    // MARK: Other patches

    @Test("patches-undo-each-other: what is required must be all there, a target that came later included")
    func requirementIsWhole() throws {
        let directory = try Programs.family("")
        let first = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day"), Programs.answerPatch(directory)], groups: [[0], [1]])
        var second = try Programs.familyPatch(
            [
                Programs.secondPatch(directory + "/day", addend: 30, id: "later"),
                Programs.answerPatch(directory, value: 3, id: "later"),
            ], groups: [[0], [1]])
        try withFamily(directory + "/day", first) { process, bundle in
            second.requires = [try Bundle.read(path: bundle).reference]
            try withTemporaryDirectory { scratch in
                let later = try second.write(to: scratch)
                try expectStatus(0, try apply(bundle, process))
                process.send(SIGUSR1)
                try process.waitForNew("answer=1 second=21")
                let refused = try apply(later, process)
                try expectRefusal("missing-requirement", refused)
                #expect(refused.stderr.contains("libanswer.so in pid"), "\(refused)")
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                for path in [bundle, later] { try expectStatus(0, try apply(path, process)) }
                try process.waitForNew("answer=3 second=31")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
            }
        }
    }

    @Test("patches-undo-each-other: what supersedes must replace all that the other has in this process")
    func supersedesInThisProcess() throws {
        let directory = try Programs.family("")
        let first = try userAndLibrary(directory, groups: [[0], [1]])
        // It has the library's part for another build alone, and the program's.
        var second = try Programs.familyPatch(
            [
                Programs.secondPatch(directory + "/user", addend: 30, id: "later"),
                Programs.answerPatch(try Programs.family("older"), value: 3, id: "later"),
            ], groups: [[0], [1]])
        var third = try userAndLibrary(directory, groups: [[0], [1]])
        third.id = "third"
        try withFamily(directory + "/user", first) { process, bundle in
            second.supersedes = [try Bundle.read(path: bundle).reference]
            third.supersedes = second.supersedes
            try withTemporaryDirectory { scratch in
                try expectStatus(0, try apply(bundle, process))
                let refused = try apply(try second.write(to: scratch), process)
                try expectRefusal("patches-undo-each-other", refused)
                #expect(refused.stderr.contains("does not replace answer"), "\(refused)")
                try expectStatus(0, try apply(try third.write(to: scratch), process))
                #expect(try livepatch("status", "--pid", process.id).stdout.contains("family: superseded"))
            }
        }
    }

    // MARK: What runs and what is written, where the first target is absent

    @Test("initialisers and unwind data of a later target are registered, the first being absent")
    func callsOfLaterTarget() throws {
        let calls = try Programs.throwingPatch(initialisers: (1...2).map(Programs.noting))
        var patch = Programs.secondPatch(try Programs.family("") + "/day", id: "throws")
        patch.more = [calls.amongOthers]
        patch.groups = [[0], [1]]
        try withTemporaryDirectory { scratch in
            let bundle = try patch.write(to: scratch)
            try withProcess(calls.target) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=7 trace=12\n")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 trace=12\n")
            }
        }
    }

    @Test("values of a later target are written and put back, the first being absent")
    func valuesOfLaterTarget() throws {
        let values = try ValueTests.patch()
        var patch = Programs.secondPatch(try Programs.family("") + "/day", id: "fix")
        patch.more = [values.amongOthers]
        patch.groups = [[0], [1]]
        try withTemporaryDirectory { scratch in
            let bundle = try patch.write(to: scratch)
            try withProcess(values.target) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=2 limit=20 level=40")
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 limit=10 level=30")
            }
        }
    }

    @Test("fork inherits what was taken, and exec takes what the new program maps")
    func forkedSubset() throws {
        let directory = try Programs.family("")
        let forking = try Fixture.compile(
            [
                "main.c": """
                #include <signal.h>
                #include <stdio.h>
                #include <unistd.h>
                static volatile int wanted;
                static void toggle(int number) { (void)number; wanted++; }
                static volatile int sink;
                __attribute__((noipa)) int second(int x) { sink++; return x + 10; }
                int main(int argc, char **argv) {
                    signal(SIGUSR1, toggle);
                    setvbuf(stdout, 0, _IONBF, 0);
                    printf("ready\\n");
                    for (;;) {
                        if (wanted == 1) { wanted = 2; fork(); }
                        if (wanted == 3) execv(argv[1], argv);
                        printf("%d: second=%d\\n", (int)getpid(), second(1));
                        usleep(2000);
                    }
                }
                """
            ], ["-O2", "-Wl,--build-id"], output: "forking")
        let patch = try Programs.familyPatch(
            [Programs.secondPatch(directory + "/day"), Programs.secondPatch(forking)], groups: [[0], [1]])
        try withTemporaryDirectory { scratch in
            let bundle = try patch.write(to: scratch)
            try withProcess(forking, [directory + "/day"]) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("second=21")
                process.send(SIGUSR1)
                usleep(300_000)
                let pids = Set(
                    process.stdout.split(separator: "\n").compactMap { $0.split(separator: ":").first }.map(String.init)
                )
                let child = try #require(pids.subtracting([process.id, "ready"]).first)
                #expect(try livepatch("status", "--pid", child).stdout.contains("active, 1 function of forking"))
                kill(try #require(pid_t(child)), SIGUSR1)
                try process.waitForOutput("ready day")
                #expect(try livepatch("status", "--pid", child).stdout.contains("0 patches"))
                try expectStatus(0, try livepatch("apply", bundle, "--pid", child, "--allow-unsigned"))
                #expect(try livepatch("status", "--pid", child).stdout.contains("active, 1 function of day"))
                #expect(try livepatch("status", "--pid", process.id).stdout.contains("active, 1 function of forking"))
            }
        }
    }
}
