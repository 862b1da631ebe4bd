import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// The first argument's number of processes, which call `answer` now and then, and write what it returns when they are
    /// sent SIGUSR1. With a second argument, one of them is in `answer` all the time.
    static let manySource = """
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        volatile int sink, is_stuck;
        __attribute__((noipa, noclone)) int answer(void) { sink++; while (is_stuck) sleep(1); return 1; }
        static void on_signal(int number) { (void)number; }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IOLBF, 0);
            signal(SIGUSR1, on_signal);
            int count = argc > 1 ? atoi(argv[1]) : 1;
            for (int i = 1; i < count; i++) if (fork() == 0) { is_stuck = i == 1 && argc > 2; count = 0; }
            if (count) printf("ready\\n");
            for (;;) {
                int a = answer();
                if (usleep(200000) != 0) printf("answer=%d\\n", a + answer());
            }
        }
        """

    static func manyPatch() throws -> HandMadePatch {
        let target = try Fixture.compile(manySource, ["-O2", "-g", "-Wl,--build-id"], output: "many")
        let source =
            Assembly.head + Assembly.replacement("answer", new: "mov $5, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(id: "many-\(getpid())", target: target, source: source, functions: ["answer"])
    }
}

private struct Answer: Decodable {
    struct Process: Decodable {
        var pid: Int32
        var state: String
    }
    var processes: [Process]?
    var busy: [String]?

    init(_ output: Output) throws { self = try JSONDecoder().decode(Answer.self, from: Data(output.stdout.utf8)) }
}

/// Commands that speak of many processes, which are looked at a few at once.
@Suite(.serialized) struct ManyProcessTests {
    @Test("--all patches, tells of and takes back many processes, in their order")
    func all() throws {
        let patch = try Programs.manyPatch()
        try withPatched(patch, arguments: ["24"]) { process, bundle in
            let steps = [(["apply", bundle, "--allow-unsigned"], "active"), (["revert", patch.id], "resident")]
            for (command, state) in steps {
                let output = try run(toolPath("livepatch"), command + ["--all", "--json"])
                try expectStatus(0, output)
                let processes = try #require(try Answer(output).processes)
                #expect(processes.count == 24)
                #expect(processes.map(\.pid) == processes.map(\.pid).sorted())
                #expect(processes.allSatisfy { $0.state == state }, "\(output)")
                let status = try run(toolPath("livepatch"), ["status", patch.id, "--json"])
                try expectStatus(0, status)
                #expect(try Answer(status).processes?.map(\.pid) == processes.map(\.pid))
            }
        }
    }

    @Test("--all with one process that is busy patches the others, and says 4 and which one")
    func oneIsBusy() throws {
        let patch = try Programs.manyPatch()
        try withPatched(patch, arguments: ["12", "stuck"]) { process, bundle in
            let output = try livepatch("apply", bundle, "--all", "--json", "--allow-unsigned", "--timeout", "1")
            try expectStatus(4, output)
            let answer = try Answer(output)
            let states = (answer.processes ?? []).map(\.state)
            #expect(states.count { $0 == "active" } == 11)
            #expect(states.count { $0 == "busy" } == 1)
            #expect(answer.busy?.count == 1)
        }
    }
}
