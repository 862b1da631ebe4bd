import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// Debuggers, profilers and readers of core dumps, the real ones, on a patched process.
    @Suite(.serialized, .needsPatching) struct DebuggerTests {
        static let sources = [
            "work.c": """
            int other(int);
            static int calls;
            __attribute__((noinline)) int work(int x)
            {
                char digits[40];
                int n = 0;
                for (volatile int i = 0; i < 100000; i++);
                for (calls++; x > 0 && n < 40; x /= 10) digits[n++] = x % 10;
                for (int i = 0; i < n; i++) x += other(digits[i]);
                return x + 1;
            }
            """,
            "main.c": """
            #include <execinfo.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <unistd.h>
            int work(int);
            static int mode;
            __attribute__((noinline)) int other(int x)
            {
                void *frames[40];
                if (mode == 0) usleep(3000);
                if (mode == 2 && backtrace(frames, 40) < 2) abort();
                return x * 2;
            }
            __attribute__((noinline)) int middle(int x) { int y = work(x + 4); return y * 3 + work(y); }
            int main(int argc, char **argv)
            {
                setlinebuf(stdout);
                if (argc > 1) mode = atoi(argv[1]);
                for (;;) { printf("value %d\\n", middle(argc)); usleep(mode == 1 ? 100 : 4000); }
            }
            """,
        ]
        static let edit = SmallProgram.Edit(
            file: "work.c", old: "static int calls;",
            new: """
                static int calls;
                __attribute__((noinline)) static int helper(int x) { return other(x) + 2000; }
                #define other(x) helper(x)
                """)

        /// The program, patched, and its bundle.
        private func withPatched(
            _ name: String, mode: Int = 0, _ body: (SmallProgram, RunningProcess) throws -> Void
        ) throws {
            let program = try SmallProgram("debugger-\(name)", Self.sources)
            let built = try program.build([Self.edit])
            try #require(built.status == 0, "\(built)")
            try withProcess(program.program, ["\(mode)"]) { process in
                try process.waitForOutput("value")
                try expectApplied(program.bundle, process.pid)
                try #require(process.isRunning)
                try body(program, process)
            }
        }

        private func debug(_ process: RunningProcess, _ directory: String, _ more: String...) throws -> JSON {
            let output = try livepatch(["debug", "--pid", "\(process.pid)", "-o", directory, "--json"] + more)
            try #require(output.status == 0, "\(output)")
            return try JSON(output.stdout)
        }

        /// Where `other` is called, from a function that only the module has.
        private func backtrace(_ process: RunningProcess, _ options: [String]) throws -> [String] {
            let output = try run(
                "gdb",
                ["-nx", "-batch", "-p", "\(process.pid)"] + options + [
                    "-ex", "break other", "-ex", "continue", "-ex", "backtrace",
                ])
            let frames = output.stdout.split(separator: "\n").filter { $0.hasPrefix("#") }.map(String.init)
            #expect(output.stderr.firstRange(of: "warning: Loadable") == nil, "\(output)")
            try #require(frames.count > 1, "\(output)")
            return frames
        }

        private func expectWhole(_ frames: [String], sourceLocation: SourceLocation = #_sourceLocation) {
            let names = ["other (", "helper (", "work (", "middle (", "main ("]
            let matches = frames.count == names.count && zip(frames, names).allSatisfy { $0.contains($1) }
            #expect(matches, "\(frames)", sourceLocation: sourceLocation)
        }

        @Test(.needs("gdb")) func gdbShowsReplacedFunctionsByTheScript() throws {
            try withPatched("gdb") { program, process in
                let answer = try debug(process, program.directory + "/with \"quotes' and spaces")
                let script = try #require(answer["script"].text)
                expectWhole(try backtrace(process, ["-x", script]))
                #expect(answer["modules"].elements.count == 1)
                #expect(answer["modules"].elements.first?["patch"].text == "fix")
            }
        }

        /// The memory begins with the module's ELF header, and holds all of its file.
        @Test(.needs("gdb")) func gdbReadsTheModuleFromMemory() throws {
            try withPatched("memory") { program, process in
                let text = try livepatch("debug", "--pid", "\(process.pid)", "-o", program.directory + "/out").stdout
                let base = try #require(text.split(separator: "\n").dropFirst().first?.split(separator: " ").last)
                #expect(base.hasPrefix("0x"), "\(text)")
                expectWhole(try backtrace(process, ["-ex", "add-symbol-file-from-memory \(base)"]))
            }
        }

        @Test(
            "core-as-file: a core dump names the module, its functions and their callers",
            .needs("gdb", "gcore", "eu-stack", "eu-unstrip"))
        func aCoreDumpNamesTheModuleAndItsFunctions() throws {
            try withPatched("core") { program, process in
                let script = try #require(try debug(process, program.directory + "/out")["script"].text)
                let core = try dump(process, program)
                let modules = try runOrThrow("eu-unstrip", ["-n", "--core", core]).stdout
                let line = try #require(modules.split(separator: "\n").first { $0.hasSuffix(" livepatch-fix-program") })
                let identity = try debug(process, program.directory + "/out")["modules"].elements.first?["buildID"].text
                #expect(line.contains(" " + (try #require(identity)) + "@"), "\(line)")
                let stack = try run("eu-stack", ["--core", core, "-e", program.program])
                let functions = stack.stdout.split(separator: "\n").compactMap { $0.split(separator: " ").last }
                let expected = ["helper", "work", "middle", "main"]
                let start = try #require(functions.firstIndex(of: "helper"), "\(stack)")
                #expect(functions[start...].prefix(4).elementsEqual(expected.map { $0[...] }), "\(stack)")
                let address = line.prefix { $0 != "+" }
                for options in [["-x", script], ["-ex", "add-symbol-file-from-memory \(address)"]] {
                    let gdb = try run(
                        "gdb", ["-nx", "-batch", program.program, core] + options + ["-ex", "backtrace"])
                    for name in expected { #expect(gdb.stdout.contains(" in \(name) ("), "\(gdb)") }
                }
            }
        }

        /// What coredumpctl shows of a dump, by the same code.
        @Test(.needs("gcore", "systemd-analyze")) func systemdReadsThePackageNote() throws {
            try withPatched("systemd") { program, process in
                let output = try runOrThrow("systemd-analyze", ["inspect-elf", try dump(process, program)])
                let lines = output.stdout.split(separator: "\n").map { $0.drop { $0 == " " } }
                for line in ["module name: livepatch-fix-program", "name: fix", "type: livepatch", "target: program"] {
                    #expect(lines.contains { $0 == line }, "\(output)")
                }
            }
        }

        /// A dump that was made while a thread is in `helper`.
        private func dump(_ process: RunningProcess, _ program: SmallProgram) throws -> String {
            try runOrThrow(
                "gdb",
                [
                    "-nx", "-batch", "-p", "\(process.pid)", "-ex", "break other", "-ex", "continue", "-ex", "continue",
                    "-ex", "gcore \(program.directory)/core",
                ])
            return program.directory + "/core"
        }

        @Test(.needsPerf) func perfNamesReplacedFunctions() throws {
            try withPatched("perf", mode: 1) { program, process in
                let map = "/tmp/perf-\(process.pid).map"
                defer { unlink(map) }
                let answer = try debug(process, program.directory + "/out", "--perf")
                #expect(answer["perfMap"].text == map)
                #expect(readText(map).contains(" work [livepatch fix]\n"))
                let data = program.directory + "/perf.data"
                try runOrThrow(
                    "perf",
                    ["record", "-q", "-e", "cpu-clock", "-F", "500", "-p", "\(process.pid)", "-o", data, "sleep", "1"])
                let found = try runOrThrow("perf", ["script", "-i", data, "-F", "ip,sym"])
                #expect(found.stdout.contains(" work [livepatch fix]\n"), "\(found)")
            }
        }

        /// perf reads the map in the `/tmp` of the process itself, where there is one.
        @Test func aMapOfTheProcesssOwnIsNamed() throws {
            let program = try SmallProgram("debugger-mounts", Self.sources)
            try #require(try program.build([Self.edit]).status == 0)
            let script = "mount --bind \"$1\" /tmp && : > /tmp/perf-$$.map && exec /tmp/program 1"
            try withProcess("unshare", ["-m", "sh", "-c", script, "sh", program.directory]) { process in
                guard (try? process.waitForOutput("value")) != nil else {
                    try Test.cancel("mounts are not permitted here")
                }
                try expectApplied(program.bundle, process.pid)
                defer { unlink("/tmp/perf-\(process.pid).map") }
                let answer = try debug(process, program.directory + "/out", "--perf")
                #expect(answer["otherPerfMap"].text == "/proc/\(process.pid)/root/tmp/perf-\(process.pid).map")
                #expect(readText("/tmp/perf-\(process.pid).map").contains(" work [livepatch fix]\n"))
                #expect(readText(program.directory + "/perf-\(process.pid).map") == "")
            }
        }

        /// `backtrace()` in a function that a replaced one calls looks for the return address into `main`.
        @Test func theOwnBacktraceOfACPlusPlusProgramIsWhole() throws {
            let sources = [
                "work.cpp": """
                int other(int);
                [[gnu::noinline]] int work(int x) { return other(x + 1) + 1; }
                """,
                "main.cpp": """
                #include <algorithm>
                #include <cstdio>
                #include <execinfo.h>
                #include <unistd.h>
                int work(int);
                static void *caller;
                static bool whole;
                [[gnu::noinline]] int other(int x)
                {
                    void *frames[40];
                    int count = backtrace(frames, 40);
                    whole = std::find(frames, frames + count, caller) != frames + count;
                    return x;
                }
                [[gnu::noinline]] int middle(int x) { caller = __builtin_return_address(0); return work(x) * 2; }
                int main()
                {
                    setlinebuf(stdout);
                    for (;;) { int value = middle(1); printf("%d %d\\n", value, whole); usleep(2000); }
                }
                """,
            ]
            let program = try SmallProgram("debugger-cpp", sources)
            try #require(try program.build([.init(file: "work.cpp", old: "+ 1;", new: "+ 50;")]).status == 0)
            try program.running { process in
                #expect(try process.nextLine() == "6 1")
                try expectApplied(program.bundle, process.pid)
                #expect(try process.nextLine() == "104 1")
            }
        }

        /// The program's own unwinder is not told of modules of a C program: it may see less, and takes no harm.
        @Test func theOwnBacktraceOfACProgramDoesNoHarm() throws {
            try withPatched("own", mode: 2) { _, process in
                for _ in 0..<3 { _ = try process.nextLine() }
            }
        }

        @Test("hostile-registry: whatever stands in a module's memory, what can be read is written")
        func hostileModule() throws {
            try withPatched("hostile") { program, process in
                let out = program.directory + "/out"
                let module = try #require(try debug(process, out)["modules"].elements.first)
                let base = Int(try #require(module["base"].number))
                let file = try #require(
                    try run("sh", ["-c", "tar xf fix.lpatch && ls modules"], in: program.directory).stdout
                        .split(separator: "\n").first)
                let size = readBytes(program.directory + "/modules/" + file).count
                let memory = open("/proc/\(process.pid)/mem", O_RDWR)
                try #require(memory >= 0)
                defer { close(memory) }
                var random = SplitMix(state: 7)
                // Code and variables are left alone: the program runs on.
                let places = Array(0x10..<0x238) + Array(size / 0x1000 * 0x1000..<size - 8)
                for round in 0..<60 {
                    var undo: [(Int, UInt64)] = []
                    for _ in 0..<(round % 6 + 1) {
                        let place = base + (places.randomElement(using: &random) ?? 16)
                        var (old, new) = (UInt64(0), UInt64.random(in: 0...UInt64.max, using: &random))
                        if round % 2 == 0 {
                            new = [0, UInt64.max, 1 << 63, UInt64(size), 24].randomElement(using: &random) ?? 0
                        }
                        #expect(pread(memory, &old, 8, place) == 8 && pwrite(memory, &new, 8, place) == 8)
                        undo.append((place, old))
                    }
                    let answer = try debug(process, out)
                    let symbols = try #require(answer["modules"].elements.first?["symbols"].text)
                    #expect(try run("readelf", ["-Ws", symbols]).status == 0, "round \(round)")
                    for (place, old) in undo.reversed() {
                        var old = old
                        #expect(pwrite(memory, &old, 8, place) == 8)
                    }
                }
                _ = try process.nextLine()
            }
        }

        @Test func refusals() throws {
            let program = try SmallProgram("debugger-refusals", Self.sources)
            let out = program.directory + "/out"
            try withProcess(program.program) { process in
                try process.waitForOutput("value")
                try expectRefusal("not-loaded", try livepatch("debug", "--pid", "\(process.pid)", "-o", out, "--json"))
                process.send(SIGKILL)
                _ = try process.wait()
                try expectRefusal("no-process", try livepatch("debug", "--pid", "\(process.pid)", "-o", out, "--json"))
            }
            #expect(!fileExists(out))
            #expect(try livepatch("debug", "-o", out).status == 2)
            #expect(try livepatch("debug", "--pid", "0", "-o", out).status == 2)
        }

        @Test func whatStandsThereStays() throws {
            try withPatched("occupied") { program, process in
                try writeText("precious", to: program.directory + "/notes")
                let pid = "\(process.pid)"
                try expectRefusal(
                    "bad-input", try livepatch("debug", "--pid", pid, "-o", program.directory, "--json"))
                try expectRefusal(
                    "bad-input", try livepatch("debug", "--pid", pid, "-o", program.directory + "/notes", "--json"))
                #expect(readText(program.directory + "/notes") == "precious")
                let named = try run("env", ["-C", program.directory, toolPath("livepatch"), "debug", "--pid", pid])
                #expect(named.status == 0 && fileExists(program.directory + "/livepatch-debug.\(pid)/livepatch.gdb"))
            }
        }

        @Test func aFullDiskLeavesNothing() throws {
            try withPatched("full") { program, process in
                let script = """
                    mkdir small && mount -t tmpfs -o size=16k tmpfs small && dd if=/dev/zero of=small/fill bs=1k 2>/dev/null
                    rm small/fill; head -c 12288 /dev/zero > small/fill
                    "$0" debug --pid "$1" -o small/out; echo "status $?"; ls small
                    """
                let output = try run(
                    "unshare", ["-m", "sh", "-c", script, toolPath("livepatch"), "\(process.pid)"],
                    in: program.directory)
                guard output.stdout.contains("status") else { try Test.cancel("mounts are not permitted here") }
                #expect(output.stdout == "status 4\nfill\n", "\(output)")
                #expect(output.stderr.contains("can't write"), "\(output)")
            }
        }
    }
}
