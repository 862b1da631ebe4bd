import TestSupport
import Testing

/// A fix that adds a source file: two trees, each recorded.
private struct Trees {
    let directory: String
    let old: String
    let new: String

    static let makefile = """
        CFLAGS = -O2 -g
        program: $(OBJECTS)
        \t$(CC) $(CFLAGS) -o $@ $(OBJECTS)

        """
    static let program = """
        #include <stdio.h>
        #include <unistd.h>
        __attribute__((weak)) int limit(void) { return 100; }
        __attribute__((noinline)) int answer(int n) { return n < limit() ? n : -1; }
        int main(void)
        {
            setlinebuf(stdout);
            for (int i = 0;; i++) {
                printf("%d\\n", answer(7));
                usleep(20000);
            }
        }
        """
    static let fixed = program.replacing(
        "__attribute__((noinline))", with: "int checked(int);\n__attribute__((noinline))"
    ).replacing("n < limit()", with: "checked(n) < limit()").replacing("? n :", with: "? checked(n) :")
    static let added = """
        static int calls;
        static int seven(int n) { return n == 7 ? 70 : n; }
        int checked(int n) { return seven(n) + (++calls > 100000000); }
        """

    /// - Parameter files: what else is in the new tree, or in another form.
    init(_ name: String, adding files: [String: String], oldFlags: String = "", newFlags: String = "") throws {
        directory = try Workshop.directory(name)
        (old, new) = (directory + "/old", directory + "/new")
        let common = ["Makefile": "OBJECTS = main.o\n" + Self.makefile, "main.c": Self.program]
        let sources = files.keys.filter { $0.hasSuffix(".c") && $0 != "main.c" }.sorted()
        let objects = (["main.o"] + sources.map { $0.dropLast(2) + ".o" }).joined(separator: " ")
        let changed = ["Makefile": "OBJECTS = \(objects)\n" + Self.makefile, "main.c": Self.fixed]
        try build(old, common, oldFlags)
        try build(new, changed.merging(files) { $1 }, newFlags)
    }

    private func build(_ tree: String, _ files: [String: String], _ flags: String) throws {
        try makeDirectory(tree)
        for (path, text) in files { try writeText(text, to: tree + "/" + path) }
        let recorded = try patchbuild("record", "--", "make", "CFLAGS=-O2 -g \(flags)", in: tree)
        try #require(recorded.status == 0, "\(recorded)")
    }

    func build() throws -> Output {
        try patchbuild(
            "build", "--source", old, "--new-source", new, "--target", old + "/program", "--id", "fix", "-o",
            directory + "/fix.lpatch", "--json")
    }
}

extension EndToEnd {
    @Suite struct NewUnitTests {
        @Test("trap source-and-generator: a new source is compiled as the new tree's record says, and travels")
        func newSource() throws {
            let trees = try Trees("new-source", adding: ["checked.c": Trees.added])
            let built = try trees.build()
            #expect(built.status == 0, "\(built)")
            try withProcess(trees.old + "/program") { process in
                try process.waitForOutput("7\n")
                try expectApplied(trees.directory + "/fix.lpatch", process.pid)
                #expect(try process.nextLine() == "70")
                #expect(try livepatch("revert", "fix", "--pid", "\(process.pid)").status == 0)
                #expect(try process.nextLine() == "7")
            }
        }

        @Test("trap source-and-generator: without a record of the new tree a new source is refused")
        func newSourceUnrecorded() throws {
            let trees = try Trees("new-source-unrecorded", adding: ["checked.c": Trees.added])
            removeTree(trees.new + "/compile_commands.json")
            let built = try trees.build()
            try expectRefusal("no-compile-command", built)
            #expect(built.stdout.contains("make has read it"))
            #expect(built.stdout.contains("give it with --new-source"))
        }

        @Test("trap source-and-generator: a build script that changes how the other units are compiled is refused")
        func otherFlags() throws {
            let trees = try Trees("new-source-flags", adding: ["checked.c": Trees.added], newFlags: "-DLIMIT=2")
            let built = try trees.build()
            try expectRefusal("no-compile-command", built)
            #expect(built.stdout.contains("compiles main.o by another command"))
        }

        @Test(
            "a new unit that would act on code that does not change is refused",
            arguments: [
                ("checked.c", "int limit(void) { return 5; }\n", "ambiguous-symbol"),
                ("other.c", "int limit(void) { return 5; }\n", "no-compile-command"),
                ("other.c", "int usleep(unsigned n) { return (int)n; }\n", "ambiguous-symbol"),
                (
                    "other.c", "int stopped;\n__attribute__((constructor)) static void start(void) { stopped++; }\n",
                    "no-compile-command"
                ),
                (
                    "checked.c",
                    "int started;\n__attribute__((constructor)) static void start(void) { started = 1; }\n",
                    "constructors"
                ),
            ])
        func newUnitWithEffects(_ file: String, _ text: String, _ rule: String) throws {
            var files = ["checked.c": Trees.added]
            files[file] = file == "checked.c" ? text + Trees.added : text
            let trees = try Trees("new-source-effects", adding: files)
            try expectRefusal(rule, try trees.build())
        }

        @Test("a new unit of another program does not matter")
        func otherProgram() throws {
            let makefile = "OBJECTS = main.o checked.o\nall: program tool\n" + Trees.makefile + "tool: tool.o\n"
            let trees = try Trees(
                "new-source-other",
                adding: ["checked.c": Trees.added, "tool.c": "int main(void) { return 0; }\n", "Makefile": makefile])
            let built = try trees.build()
            #expect(built.status == 0, "\(built)")
        }
    }
}
