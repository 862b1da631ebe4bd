import TestSupport
import Testing

extension EndToEnd {
    /// What the tools do where a container allows less than a machine does.
    @Suite(.serialized) struct ConfinedTests {
        /// Runs what it is given under a filter that refuses namespaces and mounts, as Docker's default profile does.
        private static let confine = """
            #define _GNU_SOURCE
            #include <errno.h>
            #include <linux/filter.h>
            #include <linux/seccomp.h>
            #include <stddef.h>
            #include <sys/prctl.h>
            #include <sys/syscall.h>
            #include <unistd.h>
            #define NO(call) {0x15, 0, 1, SYS_##call}, {6, 0, 0, SECCOMP_RET_ERRNO | EPERM}
            int main(int argc, char **argv) {
                struct sock_filter f[] = {
                    {0x20, 0, 0, offsetof(struct seccomp_data, nr)}, NO(unshare), NO(mount), {6, 0, 0, SECCOMP_RET_ALLOW}};
                struct sock_fprog p = {sizeof f / sizeof *f, f};
                if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &p)) return 126;
                execvp(argv[1], argv + 1);
                return 127;
            }
            """

        private static func program(_ name: String) throws -> SmallProgram {
            let main = """
                #include <stdio.h>
                #include <unistd.h>
                #include "rate.h"
                int main(void) { for (;;) { printf("%d\\n", rate(7)); fflush(stdout); usleep(20000); } }
                """
            return try SmallProgram(
                name,
                [
                    "main.c": main, "rate.h": "#define FACTOR 3\nint rate(int);\n",
                    "rate.c": "#include \"rate.h\"\nint rate(int x) { return x * FACTOR + x / 11 - x % 7; }\n",
                ])
        }

        private static let edit = SmallProgram.Edit(file: "rate.h", old: "FACTOR 3", new: "FACTOR 5")

        /// The modules of a bundle. Its manifest names the compiler's options, one of which only copies need.
        private static func modules(_ program: SmallProgram) throws -> String {
            try runOrThrow("tar", ["-xOf", program.bundle, "--wildcards", "modules/*"]).stdout
        }

        @Test func `without namespaces copies are compiled, and the module is the same`() throws {
            let program = try Self.program("confined-build")
            let free = try program.build([Self.edit])
            try #require(free.status == 0, "\(free)")
            let module = try Self.modules(program)
            let confine = try Fixture.compile(Self.confine, ["-O2"], output: "confine")
            let confined = try program.build([Self.edit], by: [confine])
            try #require(confined.status == 0, "\(confined)")
            #expect(try Self.modules(program) == module && !module.isEmpty)
        }

        /// Nobody under a filter may read the filters of others, and one of those might kill for the calls that patching makes.
        @Test func `under a container's filter no process is touched, and the refusal says what to do`() throws {
            let program = try Self.program("confined-apply")
            try #require(try program.build([Self.edit]).status == 0)
            let confine = try Fixture.compile(Self.confine, ["-O2"], output: "confine")
            try withProcess(confine, [program.program]) { process in
                try process.waitForOutput("21\n")
                let output = try run(
                    confine,
                    [
                        toolPath("livepatch"), "apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned",
                        "--json",
                    ])
                try expectRefusal("unsupported-process", output)
                #expect(output.stdout.contains("--security-opt seccomp=unconfined"), "\(output)")
                #expect(try process.nextLine() == "21")
            }
        }

        @Test func `a build that can't be traced is not recorded, and the way out is said`() throws {
            let directory = try Workshop.directory("no-tracing")
            let text = Self.confine.replacing("NO(mount)", with: "NO(mount), NO(ptrace)")
            let confine = try Fixture.compile(text, ["-O2"], output: "confine-tracing")
            let output = try run(confine, [toolPath("patchbuild"), "record", "--", "true"], in: directory)
            #expect(output.status == 4 && output.stderr.contains("--cap-add=SYS_PTRACE"), "\(output)")
            #expect(output.stderr.split(separator: "\n").count == 1 && !fileExists(directory + "/build.graph"))
        }
    }
}
