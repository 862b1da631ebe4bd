import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// Exceptions through patched functions, initialisers of new objects: what must be called in the process at load.
    @Suite(.serialized) struct ExceptionTests {
        static let sources = [
            "error.h": """
            struct Error { int code; explicit Error(int c) : code(c) {} };
            extern int limit, cleaned;
            struct Cleanup { ~Cleanup() { cleaned++; } };
            int check(int x);
            int inner(int x);
            int outer(int x);
            """,
            "check.cpp": """
            #include "error.h"
            [[gnu::noinline]] int check(int x) {
                Cleanup cleanup;
                if (x > limit) throw Error(x);
                return inner(x);
            }
            [[gnu::noinline]] int outer(int x) {
                try { return inner(x) + 1; } catch (const Error &error) { return error.code; }
            }
            """,
            "main.cpp": """
            #include <cstdio>
            #include <cstring>
            #include <pthread.h>
            #include <unistd.h>
            #include "error.h"
            int limit = 100, cleaned;
            [[gnu::noinline]] int inner(int x) { if (x == 7) throw Error(70); return x; }
            static int guarded(int x) {
                int before = cleaned;
                try { return check(x); } catch (const Error &e) { return 1000 + e.code + 100000 * (cleaned - before); }
            }
            static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
            static void *wait(void *) { pthread_mutex_lock(&lock); return 0; }
            int main(int count, char **) {
                setvbuf(stdout, 0, _IONBF, 0);
                if (count > 1) {
                    puts("ready\\n");
                    pthread_mutex_lock(&lock);
                    wait(0);
                }
                for (;;) {
                    printf("%d %d %d %d\\n", guarded(200), guarded(-5), guarded(7), outer(7));
                    usleep(2000);
                }
            }
            """,
        ]
        static let check = SmallProgram.Edit(file: "check.cpp", old: "x > limit)", new: "x > limit || x < 0)")
        static let outer = SmallProgram.Edit(file: "check.cpp", old: "return error.code", new: "return -error.code")
        /// 200 is thrown by `check`, 70 by `inner`, through `check` and into `outer`.
        static let old = "101200 -5 101070 70"
        static let new = "101200 100995 101070 -70"

        @Test(
            "unsafe-point: exceptions are thrown by, through and into patched functions, patched, loaded and reverted")
        func exceptions() throws {
            let program = try SmallProgram("exceptions", Self.sources)
            let built = try program.build([Self.check, Self.outer])
            try #require(built.status == 0, "\(built)")
            try program.running { process in
                let pid = String(process.pid)
                let expected: [(String, String)] = [
                    ("load", Self.old), ("activate", Self.new), ("deactivate", Self.old), ("activate", Self.new),
                    ("deactivate", Self.old), ("unload", Self.old),
                ]
                for round in 0..<3 {
                    for (verb, line) in expected {
                        let trust = verb == "load" ? ["--allow-unsigned"] : []
                        let output = try livepatch([verb, program.bundle, "--pid", pid] + trust)
                        try #require(output.status == 0, "round \(round): \(verb): \(output)")
                        #expect(try process.nextLine() == line, "round \(round): after \(verb)")
                        if verb == "load" {
                            #expect(try livepatch("status", "--pid", pid).stdout.contains("unwinder"))
                        }
                    }
                    // The module stays mapped, and the unwinder knows it: it is used again.
                    #expect(try livepatch("status", "--pid", pid).stdout.contains("fix: resident"))
                }
            }
        }

        @Test("unsafe-point: no thread can be called on, nothing has changed, and the next try does it")
        func noSafePoint() throws {
            let program = try SmallProgram("no-safe-point", Self.sources)
            try #require(try program.build([Self.check]).status == 0)
            try withProcess(program.program, ["wait"]) { process in
                try process.waitForOutput("ready")
                let busy = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(busy.status == 3 || busy.status == 1, "\(busy)")
                #expect(!(try livepatch("status", "--pid", "\(process.pid)").stdout.contains("fix:")))
            }
        }

        /// Trap killed-between-entries, for calls: whenever the applier dies, exceptions are caught as before.
        @Test func killedWhileCalling() throws {
            let program = try SmallProgram("killed-calls", Self.sources)
            try #require(try program.build([Self.check, Self.outer]).status == 0)
            try program.running { process in
                let began = monotonicSeconds()
                #expect(
                    try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned").status == 0)
                let duration = monotonicSeconds() - began
                #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
                for round in 0..<40 {
                    for (command, line) in [("apply", Self.new), ("revert", Self.old)] {
                        let trust = command == "apply" ? ["--allow-unsigned"] : []
                        let arguments = [command, program.bundle, "--pid", "\(process.pid)"] + trust
                        try withProcess(toolPath("livepatch"), arguments) { tool in
                            usleep(UInt32(Double.random(in: 0...(duration * 1.1)) * 1e6))
                            tool.send(SIGKILL)
                            _ = try tool.wait()
                        }
                        let between = try process.nextLine()
                        try #require([Self.old, Self.new].contains(between), "round \(round) \(command): \(between)")
                        let output = try livepatch(arguments + ["--json"])
                        let known = try output.status == 0 || (output.status == 1 && !refusedRules(output).isEmpty)
                        try #require(known, "round \(round) \(command): \(output)")
                        try #require(try process.nextLine() == line, "round \(round) \(command): \(output)")
                    }
                }
            }
        }

        @Test("unload-proof: an object that is new is made once, at load, and its module stays")
        func newObject() throws {
            let sources = Self.sources.merging([
                "check.cpp": """
                #include <unistd.h>
                #include "error.h"
                [[gnu::noinline]] int check(int x) { return inner(x) + limit - 100; }
                [[gnu::noinline]] int outer(int x) { return x; }
                """
            ]) { $1 }
            let program = try SmallProgram("new-object", sources)
            let made = SmallProgram.Edit(
                file: "check.cpp", old: "[[gnu::noinline]] int check(int x) { return inner(x)",
                new: """
                    struct Table { int size; Table() : size(getpid() > 0 ? 11 : 0) {} ~Table() { size = 0; } };
                    static Table table;
                    [[gnu::noinline]] int check(int x) { return table.size * 1000 + inner(x)
                    """)
            let built = try program.build([made])
            try #require(built.status == 0, "\(built)")
            try program.running { process in
                let pid = "\(process.pid)"
                for round in 0..<2 {
                    #expect(try process.nextLine().hasPrefix("200 "))
                    #expect(try livepatch("apply", program.bundle, "--pid", pid, "--allow-unsigned").status == 0)
                    #expect(try process.nextLine().hasPrefix("11200 "), "round \(round)")
                    let reverted = try livepatch("revert", program.bundle, "--pid", pid)
                    #expect(reverted.status == 0, "\(reverted)")
                    #expect(try livepatch("status", "--pid", pid).stdout.contains("resident"))
                }
            }
        }
    }
}
