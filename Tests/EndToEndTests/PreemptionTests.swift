import TestSupport
import Testing

extension EndToEnd {
    /// New code of a library is the first of it to use what the program may define, too.
    @Suite(.serialized) struct PreemptionTests {
        private static let library = """
            extern int shared; int hook(int); int other(int); volatile int calls;
            int work(int x) { calls++; return OTHER(x) + 1; }
            """
        private static let definitions = """
            int shared = 5; int hook(int x) { return x + 5000; } int other(int x) { return x; }
            """
        private static let program = """
            #include <stdio.h>
            #include <unistd.h>
            extern int shared; int work(int);
            #ifdef HOOK
            int hook(int x) { return x + 9000; }
            #endif
            int main(void)
            {
                shared = 700;
                setlinebuf(stdout);
                for (;;) { printf("%d\\n", work(0)); usleep(20000); }
            }
            """

        /// - Parameters:
        ///   - link: how the library is linked.
        ///   - calls: whether old code of the library calls a function that it exports.
        ///   - hooks: whether the program has a `hook` of its own.
        /// - Returns: what the patched program prints; nil when the load is refused.
        private func answer(_ link: [String], calls: Bool, hooks: Bool, uses use: String) throws -> String? {
            let directory = try Workshop.directory("preemption")
            func gcc(_ arguments: [String]) throws { try runOrThrow("gcc", ["-O2", "-g"] + arguments, in: directory) }
            func write(_ name: String, _ text: String) throws { try writeText(text, to: directory + "/" + name) }
            let code = Self.library.replacing("OTHER(x)", with: calls ? "other(x)" : "x")
            try write("library.c", code)
            try write("changed.c", code.replacing("+ 1;", with: "+ \(use);"))
            try write("definitions.c", Self.definitions)
            try write("program.c", Self.program)
            try gcc(["-shared", "-fPIC"] + link + ["library.c", "definitions.c", "-o", "libwork.so"])
            let run = ["-L.", "-lwork", "-Wl,-rpath,\(directory)"]
            try gcc((hooks ? ["-DHOOK"] : []) + ["program.c", "-o", "program"] + run)
            for (source, object) in [("library.c", "original.o"), ("changed.c", "new.o")] {
                try gcc(["-fPIC", "-ffunction-sections", "-fdata-sections", "-c", source, "-o", object])
            }
            let built = try patchbuild(
                "build", "--original", "original.o", "--new", "new.o", "--target", "libwork.so", "-o", "fix.lpatch",
                in: directory)
            #expect(built.status == 0, "\(built)")
            return try withProcess(directory + "/program") { process in
                try process.waitForOutput("1\n")
                let applied = try livepatch(
                    "apply", directory + "/fix.lpatch", "--pid", "\(process.pid)", "--allow-unsigned")
                if applied.status == 1, applied.stderr.contains("binding-scope") { return nil }
                #expect(applied.status == 0, "\(applied)")
                return try process.nextLine()
            }
        }

        @Test("trap binding-scope: what a library uses for the first time is what the process found first")
        func preempted() throws {
            #expect(try answer([], calls: true, hooks: true, uses: "hook(1)") == "9001")
            #expect(try answer([], calls: true, hooks: false, uses: "hook(1)") == "5001")
            // The program has the variable, by a copy relocation.
            #expect(try answer([], calls: false, hooks: false, uses: "shared") == "700")
            #expect(try answer(["-Wl,-Bsymbolic"], calls: false, hooks: true, uses: "hook(1) + shared") == "5006")
        }

        @Test("trap binding-scope: where the link bound the library's functions to its own, old calls show it")
        func boundByTheLink() throws {
            let link = ["-Wl,-Bsymbolic-functions"]
            #expect(try answer(link, calls: true, hooks: true, uses: "hook(1)") == "5001")
            #expect(try answer(link, calls: true, hooks: false, uses: "hook(1)") == "5001")
        }

        @Test("trap binding-scope: where nothing shows it, a program with another definition is refused")
        func unknown() throws {
            #expect(try answer([], calls: false, hooks: true, uses: "hook(1)") == nil)
            #expect(try answer([], calls: false, hooks: false, uses: "hook(1)") == "5001")
        }

        @Test(
            "trap binding-scope: a patch of a library's function that the process takes from the program is refused",
            arguments: ["", "-DOTHER", "-DADDRESS -no-pie -fno-pie"])
        func unusedDefinition(flags: String) throws {
            let directory = try Workshop.directory("unused-definition")
            func gcc(_ arguments: [String]) throws { try runOrThrow("gcc", ["-O2", "-g"] + arguments, in: directory) }
            func write(_ name: String, _ text: String) throws { try writeText(text, to: directory + "/" + name) }
            let other = "\n#ifdef OTHER\nint other(int x) { return x + 500; }\n#endif\n#ifdef ADDRESS\n"
            let kept = "int other(int); int (*const kept)(int) = other;\n#endif\n"
            try write("program.c", Self.program + other + kept)
            try write("library.c", Self.library.replacing("OTHER", with: "other"))
            let definitions = Self.definitions.replacing("return x; }", with: "static volatile int n; n++; return x; }")
            try write("definitions.c", definitions)
            try write("changed.c", definitions.replacing("return x; }", with: "return x + 40; }"))
            try gcc(["-shared", "-fPIC", "library.c", "definitions.c", "-o", "libwork.so"])
            let run = ["-L.", "-lwork", "-Wl,-rpath,\(directory)"]
            try gcc(flags.split(separator: " ").map(String.init) + ["program.c", "-o", "program"] + run)
            for (source, object) in [("definitions.c", "original.o"), ("changed.c", "new.o")] {
                try gcc(["-fPIC", "-ffunction-sections", "-fdata-sections", "-c", source, "-o", object])
            }
            let built = try patchbuild(
                "build", "--original", "original.o", "--new", "new.o", "--target", "libwork.so", "-o", "fix.lpatch",
                in: directory)
            #expect(built.status == 0, "\(built)")
            try withProcess(directory + "/program") { process in
                try process.waitForOutput("1\n")
                let applied = try livepatch(
                    "apply", directory + "/fix.lpatch", "--pid", "\(process.pid)", "--allow-unsigned")
                if flags == "-DOTHER" {
                    #expect(applied.status == 1 && applied.stderr.contains("[binding-scope] other"), "\(applied)")
                } else {
                    #expect(applied.status == 0, "\(applied)")
                    #expect(try process.nextLine() == "41")
                }
            }
        }
    }
}
