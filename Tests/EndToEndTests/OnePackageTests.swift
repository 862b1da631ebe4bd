import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A fix that reaches a library and two programs: one bundle, built and applied as in the field.
    @Suite(.serialized) struct OnePackageTests {
        private static let sources = [
            "x.h": "int f(int);\n",
            "x.c":
                "#include \"x.h\"\nvolatile int served_calls;\nint f(int x) { served_calls++; return x * 100 + 1; }\n",
            "step.c": "volatile int steps;\nint step(int x);\nint step(int x) { steps++; return x * 10 + 1; }\n",
            "main.c": """
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            #ifdef WITH_LIBRARY
            #include "x.h"
            #else
            #define f step
            #endif
            #ifdef ALONE
            #define step f
            #else
            int step(int);
            #endif
            static volatile long mixed;
            static void *work(void *unused) {
                for (;;) {
                    int a = f(0), b = step(0);
                    /* The first is new already, the second is old still. */
                    if (a > b) __atomic_add_fetch(&mixed, 1, __ATOMIC_RELAXED);
                    if (unused) usleep(50);
                }
            }
            int main(void) {
                pthread_t t;
                setvbuf(stdout, 0, _IONBF, 0);
                for (int i = 0; i < 4; i++) pthread_create(&t, 0, work, (void *)(long)i);
                for (;;) {
                    int a = f(0), b = step(0);
                    printf("f=%d step=%d mixed=%ld\\n", a, b, mixed);
                    usleep(5000);
                }
            }

            """,
        ]

        private func build(_ directory: String) throws {
            for (file, text) in Self.sources { try writeText(text, to: directory + "/" + file) }
            let units: [(object: String, source: String, flags: [String])] = [
                ("x.o", "x.c", ["-fPIC"]), ("step.o", "step.c", []), ("served.o", "main.c", ["-DWITH_LIBRARY"]),
                ("other.o", "main.c", []), ("guest.o", "main.c", ["-DWITH_LIBRARY", "-DALONE"]),
            ]
            let commands = try units.map { unit in
                let arguments = ["gcc", "-O2", "-g"] + unit.flags + ["-c", unit.source, "-o", unit.object]
                try runOrThrow("gcc", Array(arguments.dropFirst()), in: directory)
                let quoted = arguments.map { "\"\($0)\"" }.joined(separator: ", ")
                return "{\"directory\": \"\(directory)\", \"file\": \"\(unit.source)\", \"arguments\": [\(quoted)]}"
            }
            try writeText("[\(commands.joined(separator: ",\n"))]\n", to: directory + "/compile_commands.json")
            let withLibrary = ["-L.", "-lx", "-Wl,-rpath,$ORIGIN"]
            for (output, inputs) in [
                ("libx.so", ["-shared", "x.o", "-Wl,-soname,libx.so"]),
                ("served", ["served.o", "step.o"] + withLibrary), ("other", ["other.o", "step.o"]),
                ("guest", ["guest.o"] + withLibrary),
            ] {
                try runOrThrow("gcc", inputs + ["-pthread", "-o", output], in: directory)
            }
            let diff = ["x.c", "step.c"].map { file in
                let old = Self.sources[file] ?? ""
                let lines = old.split(separator: "\n").map(String.init)
                let head = "--- a/\(file)\n+++ b/\(file)\n@@ -1,\(lines.count) +1,\(lines.count) @@\n"
                let body = lines.flatMap { line in
                    line.contains("+ 1;") ? ["-" + line, "+" + line.replacing("+ 1;", with: "+ 2;")] : [" " + line]
                }
                return head + body.joined(separator: "\n") + "\n"
            }
            try writeText(diff.joined(), to: directory + "/fix.diff")
        }

        @Test func `one bundle patches a program with its library by one switch, and each alone elsewhere`() throws {
            let directory = try Workshop.directory("one-package")
            try build(directory)
            let bundle = directory + "/fix.lpatch"
            var arguments = ["build", "--source", directory, "--diff", directory + "/fix.diff", "--id", "one-package"]
            for target in ["other", "served", "libx.so"] { arguments += ["--target", directory + "/" + target] }
            let built = try run(toolPath("patchbuild"), arguments + ["-o", bundle])
            #expect(built.status == 0, "\(built)")
            let shown = try patchbuild("show", bundle)
            for file in ["other", "served", "libx.so"] {
                #expect(shown.stdout.contains("targets     \(file) may be patched alone\n"), "\(shown)")
            }
            try withProcess(directory + "/served") { served in
                try withProcess(directory + "/other") { other in
                    try withProcess(directory + "/guest") { guest in
                        for process in [served, other, guest] { try process.waitForOutput("f=1 step=1 mixed=0\n") }
                        let applied = try livepatch("apply", bundle, "--all", "--allow-unsigned")
                        #expect(applied.status == 0, "\(applied)")
                        #expect(applied.stdout.contains("pid \(served.pid): active (2 functions of served, libx.so, "))
                        #expect(applied.stdout.contains("pid \(other.pid): active (1 function of other, "))
                        #expect(applied.stdout.contains("pid \(guest.pid): active (1 function of libx.so, "))
                        for process in [served, other, guest] {
                            // Of two calls that follow upon each other, never the first alone was new.
                            #expect(try process.nextLine() == "f=2 step=2 mixed=0")
                        }
                        let reverted = try livepatch("revert", bundle, "--all")
                        #expect(reverted.status == 0, "\(reverted)")
                        for process in [served, other, guest] {
                            #expect(try process.nextLine().hasPrefix("f=1 step=1 "))
                        }
                    }
                }
            }
        }
    }
}
