import TestSupport
import Testing

extension EndToEnd {
    /// Diffs that can't be patched into a running process, or not from what was given: `patchbuild build` says which rule,
    /// and leaves no bundle behind.
    @Suite(.serialized) struct BuildRefusalTests {
        /// Two units that share a header: a structure and an inline function.
        static let sources = [
            "line.h": """
            struct line { int number; int state; };
            extern struct line lines[4];
            static inline int tariff(int seconds) { return seconds * 3 + 1; }
            int day_charge(const struct line *line, int seconds);
            int night_charge(const struct line *line, int seconds);
            """,
            "day.c": """
            #include "line.h"
            static int limit = 1000;
            int day_charge(const struct line *line, int seconds)
            {
                int units = tariff(seconds) + line->number;
                if (line->state)
                    limit++;
                return units > limit ? limit : units;
            }
            """,
            "night.c": """
            #include "line.h"
            int night_charge(const struct line *line, int seconds)
            {
                int units = tariff(seconds / 2) + line->state;
                for (int i = 0; i < line->number; i++)
                    units ^= i;
                return units;
            }
            """,
            "main.c": """
            #include "line.h"
            #include <stdio.h>
            #include <unistd.h>
            struct line lines[4] = {{1, 0}, {2, 0}, {3, 0}, {4, 0}};
            int main(void)
            {
                setlinebuf(stdout);
                for (;;) {
                    printf("day %d night %d\\n", day_charge(&lines[1], 10), night_charge(&lines[2], 10));
                    usleep(20000);
                }
            }
            """,
        ]

        private func refused(
            _ rule: String, _ edits: [SmallProgram.Edit], _ program: SmallProgram,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            try expectRefusal(rule, try program.build(edits), sourceLocation: sourceLocation)
            #expect(!fileExists(program.bundle), "a bundle was left", sourceLocation: sourceLocation)
        }

        @Test func structureMember() throws {
            let program = try SmallProgram("member", Self.sources)
            try refused(
                "type-layout", [.init(file: "line.h", old: "int state;", new: "int state; int flags;")], program)
        }

        /// A fix that inserts one gives the others other values.
        @Test func enumeratorsCountedByLines() throws {
            let sources = [
                "kind.h": "enum kind {\n BASE = __LINE__,\n DAY = __LINE__ - BASE,\n NIGHT = __LINE__ - BASE\n};\n",
                "use.c": "#include \"kind.h\"\nint use(int x) { return x > 1 ? NIGHT : DAY; }\n",
                "main.c": "int use(int);\nint main(int c, char **v) { (void)v; return use(c); }\n",
            ]
            let program = try SmallProgram("counted", sources)
            let use = SmallProgram.Edit(file: "use.c", old: "x > 1", new: "x > 2")
            let insertion = SmallProgram.Edit(
                file: "kind.h", old: " NIGHT", new: " DAWN = __LINE__ - BASE,\n NIGHT")
            try refused("type-layout", [use, insertion], program)
            let removal = SmallProgram.Edit(file: "kind.h", old: " DAY = __LINE__ - BASE,\n", new: "")
            try refused(
                "type-layout", [.init(file: "use.c", old: ": DAY", new: ": 0"), removal], program)
            #expect(try program.build([use]).status == 0)
        }

        /// GCC describes a class only where its virtual table is, unless it is asked to do so everywhere.
        @Test func classWithTableElsewhere() throws {
            let sources = [
                "line.h": "struct line { line(); virtual ~line(); virtual int kind(); int a; };\nint use(line *);\n",
                "line.cpp":
                    "#include \"line.h\"\nline::line() : a(3) {}\nline::~line() {}\nint line::kind() { return a; }\n",
                "use.cpp": "#include \"line.h\"\nint use(line *l) { return l->a + l->kind(); }\n",
                "main.cpp": "#include \"line.h\"\nint main(int c, char **) { return use(new line[c]); }\n",
            ]
            let program = try SmallProgram("class", sources)
            let use = SmallProgram.Edit(file: "use.cpp", old: "l->kind()", new: "l->kind() + 1")
            // It lies in what was padding: nothing but the layout tells.
            let more = SmallProgram.Edit(file: "line.h", old: "int a;", new: "int a; int more;")
            try refused("type-layout", [use, more], program)
            #expect(try program.build([use]).status == 0)
        }

        @Test func staticInitialiser() throws {
            let program = try SmallProgram("initialiser", Self.sources)
            try refused("data-initial-value", [.init(file: "day.c", old: "= 1000", new: "= 2000")], program)
        }

        /// An inline function of a header, in two units that are both known: patched in both.
        @Test func inlineFunctionInTwoUnits() throws {
            let program = try SmallProgram("inline", Self.sources)
            let built = try program.build([.init(file: "line.h", old: "* 3 + 1", new: "* 5 + 1")])
            try #require(built.status == 0, "\(built)")
            let shown = try JSON(try patchbuild("show", program.bundle, "--json").stdout)
            let names = shown["targets"][0]["functions"].elements.compactMap { $0["name"].text }
            #expect(names.contains("day_charge") && names.contains("night_charge"), "\(names)")
            try program.running { process in
                #expect(try process.nextLine() == "day 33 night 19")
                let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(applied.status == 0, "\(applied)")
                #expect(try process.nextLine() == "day 53 night 25")
                #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
                #expect(try process.nextLine() == "day 33 night 19")
            }
        }

        /// The same, but one of the units is not in the compile commands: the copy in it would stay.
        @Test func inlinedCopyInAnUnknownUnit() throws {
            let program = try SmallProgram("copy", Self.sources, unrecorded: ["night.c"])
            try refused("inlined-copy", [.init(file: "line.h", old: "* 3 + 1", new: "* 5 + 1")], program)
        }

        @Test func grammarFile() throws {
            var sources = Self.sources
            sources["digits.y"] = "%%\nnumber: DIGIT;\n"
            let program = try SmallProgram("grammar", sources)
            try refused("unread-source", [.init(file: "digits.y", old: "DIGIT", new: "DIGIT number")], program)
        }

        @Test func diffOfAnotherSource() throws {
            let program = try SmallProgram("fuzz", Self.sources)
            try writeText(
                "--- a/day.c\n+++ b/day.c\n@@ -2,1 +2,1 @@\n-static int limit = 17;\n+static int limit = 18;\n",
                to: program.directory + "/other.diff")
            let output = try patchbuild(
                "build", "--source", program.directory, "--compile-commands",
                "\(program.directory)/compile_commands.json",
                "--diff", "\(program.directory)/other.diff", "--target", program.program, "-o", program.bundle, "--json"
            )
            try expectRefusal("diff-does-not-apply", output)
        }

        /// The program was built with other flags than the recorded ones.
        @Test func targetOfAnotherBuild() throws {
            let program = try SmallProgram("flags", Self.sources)
            try runOrThrow("gcc", ["-O1", "-g", "day.c", "night.c", "main.c", "-o", "program"], in: program.directory)
            try refused(
                "unmatched-function", [.init(file: "day.c", old: "line->number", new: "line->number * 2")], program)
        }

        @Test func nothingToPatch() throws {
            let program = try SmallProgram("nothing", Self.sources)
            try refused(
                "nothing-to-patch",
                [.init(file: "day.c", old: "static int limit", new: "/* units */ static int limit")],
                program)
        }

        @Test func newThreadLocal() throws {
            let program = try SmallProgram("tls", Self.sources)
            let counting = "{ static _Thread_local int calls; limit += ++calls; }"
            try refused("new-thread-local", [.init(file: "day.c", old: "limit++;", new: counting)], program)
        }

        @Test func linkTimeOptimisation() throws {
            let program = try SmallProgram("lto", Self.sources, flags: ["-O2", "-g", "-flto"])
            try refused("lto-object", [.init(file: "day.c", old: "line->number", new: "line->number * 2")], program)
        }
    }
}
