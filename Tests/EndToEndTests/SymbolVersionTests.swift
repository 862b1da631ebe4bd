import TestSupport
import Testing

extension EndToEnd {
    /// A library that has functions in two versions.
    @Suite(.serialized) struct SymbolVersionTests {
        private static let program = """
            #include <stdio.h>
            #include <unistd.h>
            int count(void), more(void);
            __attribute__((noinline)) int work(int base) { return base + count(); }
            int main(void) { setlinebuf(stdout); for (;;) { printf("%d\\n", work(0)); usleep(20000); } }
            """
        private static let library = """
            int old_count(void) { return 1; }
            int new_count(void) { return 2; }
            int old_more(void) { return 100; }
            int new_more(void) { return 200; }
            __asm__(".symver old_count, count@V1\\n.symver new_count, count@@V2");
            __asm__(".symver old_more, more@V1\\n.symver new_more, more@@V2");
            """

        @Test("trap binding-scope: imports, old and new ones, are bound at the version that a link would choose")
        func versions() throws {
            let directory = try Workshop.directory("versions")
            func write(_ name: String, _ text: String) throws { try writeText(text, to: directory + "/" + name) }
            func gcc(_ arguments: String...) throws { try runOrThrow("gcc", ["-O2", "-g"] + arguments, in: directory) }
            try write("program.c", Self.program)
            try write("changed.c", Self.program.replacing("base + count()", with: "base + 10 * count() + more()"))
            try write("library.c", Self.library)
            try write("library.map", "V1 { global: count; more; local: *; }; V2 { global: count; more; } V1;")
            let script = "-Wl,--version-script=library.map,-soname,libcount.so"
            try gcc("-fPIC", "-shared", script, "library.c", "-o", "libcount.so")
            try gcc("program.c", "-L.", "-lcount", "-Wl,-rpath,\(directory)", "-o", "program")
            try gcc("-ffunction-sections", "-fdata-sections", "-c", "program.c", "-o", "original.o")
            try gcc("-ffunction-sections", "-fdata-sections", "-c", "changed.c", "-o", "new.o")
            let built = try patchbuild(
                "build", "--original", "original.o", "--new", "new.o", "--target", "program", "-o", "fix.lpatch",
                in: directory)
            #expect(built.status == 0, "\(built)")
            try withProcess(directory + "/program") { process in
                try process.waitForOutput("2\n")
                try expectApplied(directory + "/fix.lpatch", process.pid)
                #expect(try process.nextLine() == "220")
            }
        }
    }
}
