import TestSupport
import Testing

extension EndToEnd {
    /// What was compiled again is cross-checked with what the target is made of, and with what calls it.
    @Suite(.serialized) struct CrossCheckTests {
        static let sources = [
            "rate.h": """
            #define UNIT 7
            static inline int rate(int s) { return s * 3 + 1; }
            static inline int fee(int s) { return s * 9 + 2; }
            static __attribute__((noinline, unused)) int tax(int s) { return s * 11 + 2; }
            int cost(int);
            """,
            "a.c": """
            #include "rate.h"
            int work(int x) { int sum = 0; for (int i = 0; i < x; i++) sum += rate(i) ^ fee(x) ^ tax(i); return sum; }
            """,
            "main.c": """
            #include <stdio.h>
            int work(int), other(int);
            int main(int c, char **v) { (void)v; printf("%d %d\\n", work(c), other(c)); return 0; }
            """,
        ]

        private func program(_ name: String, _ other: String) throws -> SmallProgram {
            var sources = Self.sources
            sources["other.c"] = other + "\n"
            return try SmallProgram(name, sources, unrecorded: ["other.c"])
        }

        private static let rate = SmallProgram.Edit(file: "rate.h", old: "* 3", new: "* 5")
        private static let tax = SmallProgram.Edit(file: "rate.h", old: "* 11", new: "* 13")

        @Test(
            "inlined-copy: a unit without a command holds an inlined copy, or a whole one, of a function that changes")
        func copies() throws {
            let inlined = try program("cc-inlined", "#include \"rate.h\"\nint other(int x) { return rate(x + 2); }")
            try expectRefusal("inlined-copy", try inlined.build([Self.rate]))
            let whole = try program("cc-whole", "#include \"rate.h\"\nint other(int x) { return tax(x + 2); }")
            try expectRefusal("inlined-copy", try whole.build([Self.tax]))
        }

        @Test(
            "inlined-copy: a unit is known by its command where options hide the build's directory",
            arguments: [false, true])
        func hiddenDirectory(_ isRecorded: Bool) throws {
            var sources = Self.sources
            sources["other.c"] = "#include \"rate.h\"\nint other(int x) { return rate(x + 2); }\n"
            let program = try SmallProgram(
                "cc-mapped-\(isRecorded)", sources, flags: ["-O2", "-g", "-ffile-prefix-map=DIRECTORY=."],
                unrecorded: isRecorded ? [] : ["other.c"])
            let built = try program.build([Self.rate])
            if isRecorded { #expect(built.status == 0, "\(built)") } else { try expectRefusal("inlined-copy", built) }
        }

        @Test("inlined-copy: a partly inlined function's copies are seen")
        func partlyInlined() throws {
            let long =
                "if (s > 5) return 1; for (int i = 0; i < s; i++) { puts(\"x\"); puts(\"yy\"); puts(\"zzz\"); } return s * 3"
            var sources = Self.sources
            sources["rate.h"] =
                "int puts(const char *);\n" + Self.sources["rate.h"]!.replacing("return s * 3", with: long)
            sources["other.c"] = "#include \"rate.h\"\nint other(int x) { return rate(x) + rate(x + 9); }\n"
            let program = try SmallProgram("cc-partly", sources, unrecorded: ["other.c"])
            try expectRefusal("inlined-copy", try program.build([Self.rate]))
        }

        @Test("inlined-copy: a copy of another function of the touched header is no hindrance")
        func otherFunction() throws {
            let program = try program("cc-other", "#include \"rate.h\"\nint other(int x) { return fee(x + 2); }")
            let built = try program.build([Self.rate])
            #expect(built.status == 0, "\(built)")
        }

        @Test("no-compile-command: a macro leaves no trace in a unit without a command, which may read it")
        func macro() throws {
            let reading = try program("cc-macro", "#include \"rate.h\"\nint other(int x) { return x * UNIT; }")
            let wide = SmallProgram.Edit(
                file: "rate.h", old: "UNIT 7\nstatic inline int rate(int s) { return s * 3",
                new: "UNIT 8\nstatic inline int rate(int s) { return s * 5")
            try expectRefusal("no-compile-command", try reading.build([wide]))
            let blind = try program("cc-blind", "int other(int x) { return x * 7; }")
            try expectRefusal("no-compile-command", try blind.build([wide]))
            // The remedy.
            let recorded = try patchbuild(
                "record", "--", "sh", "-c",
                "rm *.o program; for f in *.c; do gcc -O2 -g -c $f; done; gcc *.o -o program -pthread",
                in: blind.directory)
            try #require(recorded.status == 0, "\(recorded)")
            let built = try blind.build([wide])
            #expect(built.status == 0, "\(built)")
        }

        @Test("no-compile-command: without debug information nothing shows copies")
        func bare() throws {
            var sources = Self.sources
            let code = "static __attribute__((noinline)) int own(int x) { return x * 7; }\n"
            sources["other.c"] = "#include \"rate.h\"\n\(code)int other(int x) { return own(rate(x + 2)); }\n"
            let reading = try SmallProgram("cc-bare", sources, flags: ["-O2"], unrecorded: ["other.c"])
            try expectRefusal("no-compile-command", try reading.build([Self.rate]))
        }

        @Test("no-compile-command: a recorded unit whose source is gone again may read what changes")
        func goneSource() throws {
            func program(_ name: String, _ other: String) throws -> SmallProgram {
                var sources = Self.sources
                sources["other.c"] = "#include \"rate.h\"\nint other(int x) { return \(other); }\n"
                let program = try SmallProgram(name, sources)
                try runOrThrow("rm", ["other.c"], in: program.directory)
                return program
            }
            let wide = SmallProgram.Edit(
                file: "rate.h", old: "UNIT 7\nstatic inline int rate(int s) { return s * 3",
                new: "UNIT 8\nstatic inline int rate(int s) { return s * 5")
            try expectRefusal("no-compile-command", try program("cc-gone", "x * UNIT").build([wide]))
            try expectRefusal("inlined-copy", try program("cc-gone-copy", "rate(x)").build([Self.rate]))
            let other = try program("cc-gone-other", "fee(x)").build([Self.rate])
            #expect(other.status == 0, "\(other)")
        }

        @Test("changed-signature: a library that is no target may call what the program hands on in the old way")
        func callback() throws {
            let sources = [
                "event.h": "typedef int (*event)(int x);\nvoid when(event); int fire(int);\n",
                "lib.c": """
                #include "event.h"
                static event kept; void when(event e) { kept = e; } int fire(int x) { return kept(x) + 1; }
                """,
                "main.c": """
                #include <stdio.h>
                #include "event.h"
                static int count; static int happen(int x) { count += x; return count * 3; }
                int main(int c, char **v) { (void)v; when(happen); printf("%d\\n", fire(c)); return 0; }
                """,
            ]
            let program = try SmallProgram("cc-callback", sources, flags: ["-O2", "-g", "-fPIC"])
            try runOrThrow("gcc", ["-shared", "lib.o", "-o", "lib.so"], in: program.directory)
            try runOrThrow("gcc", ["main.o", "lib.so", "-o", "main"], in: program.directory)
            let main = program.directory + "/main"
            let body = SmallProgram.Edit(file: "main.c", old: "count * 3", new: "count * 5")
            let edits: [SmallProgram.Edit] = [
                .init(file: "event.h", old: "int x", new: "int x, int y"),
                .init(file: "lib.c", old: "kept(x)", new: "kept(x, 7)"),
                .init(
                    file: "main.c", old: "happen(int x) { count += x; return count * 3",
                    new: "happen(int x, int y) { count += x + y; return count * 5"),
            ]
            try expectRefusal("changed-signature", try program.build(edits, target: main))
            let both = try program.build(
                edits,
                [
                    "--target", program.directory + "/lib.so", "--allow", "type-layout=kept",
                    "--allow", "changed-signature=happen",
                ], target: main)
            #expect(both.status == 0, "\(both)")
            let own = try program.build(
                [body, .init(file: "lib.c", old: "+ 1", new: "+ 2")], target: main)
            #expect(own.status == 0, "\(own)")
        }

        @Test("no-compile-command: the target has more units of a source than commands are recorded")
        func repeated() throws {
            var sources = Self.sources
            sources["other.c"] = "#include \"rate.h\"\nint NAME(int x) { return fee(x + 2); }\n"
            let flags = ["-O2", "-g", "-DNAME=other"]
            let program = try SmallProgram("cc-repeated", sources, flags: flags)
            let edit = SmallProgram.Edit(file: "other.c", old: "x + 2", new: "x + 3")
            #expect(try program.build([edit]).status == 0)
            try runOrThrow(
                "gcc", ["-O2", "-g", "-DNAME=again", "-c", "other.c", "-o", "again.o"], in: program.directory)
            try runOrThrow(
                "gcc", ["a.o", "main.o", "other.o", "again.o", "-o", "program"], in: program.directory)
            try expectRefusal("no-compile-command", try program.build([edit]))
        }

        @Test("no-compile-command: templates leave no trace in a unit of C++ without a command")
        func template() throws {
            let sources = [
                "rate.hpp": "template<class T> inline T rate(T s) { return s * 3; }\n",
                "work.cpp": "#include \"rate.hpp\"\nint work(int x) { return rate(x) * 7 + x / 3; }\n",
                "main.cpp": """
                #include <stdio.h>
                #include "rate.hpp"
                int work(int);
                int main(int c, char **) { printf("%d %d\\n", work(c), rate(7)); }
                """,
            ]
            let program = try SmallProgram("cc-template", sources, unrecorded: ["main.cpp"])
            let edit = SmallProgram.Edit(file: "rate.hpp", old: "* 3", new: "* 5")
            try expectRefusal("no-compile-command", try program.build([edit]))
        }

        @Test("changed-signature: a program that is no target calls the library's function in the old way")
        func signature() throws {
            let sources = [
                "lib.h": "int scale(int x);\n",
                "lib.c": """
                #include "lib.h"
                int scale(int x) { int r = 0; for (int i = 0; i < x; i++) r ^= i * 3; return r; }
                """,
                "main.c": """
                #include <stdio.h>
                #include "lib.h"
                __attribute__((weak)) int main(int c, char **v) { (void)v; printf("%d\\n", scale(c)); return 0; }
                """,
                "other.c": """
                #include "lib.h"
                __attribute__((weak)) int main(int c, char **v) { (void)v; return scale(c) + scale(c + 2); }
                """,
            ]
            let program = try SmallProgram("cc-signature", sources, flags: ["-O2", "-g", "-fPIC"])
            try runOrThrow("gcc", ["-shared", "lib.o", "-o", "lib.so"], in: program.directory)
            let edits: [SmallProgram.Edit] = [
                .init(file: "lib.h", old: "int x", new: "int x, int y"),
                .init(
                    file: "lib.c", old: "int x) { int r = 0; for (int i = 0; i < x; i++) r ^= i * 3",
                    new: "int x, int y) { int r = 0; for (int i = 0; i < x; i++) r ^= i * y"),
                .init(file: "main.c", old: "scale(c)", new: "scale(c, 3)"),
                .init(file: "other.c", old: "scale(c) + scale(c + 2)", new: "scale(c, 3) + scale(c + 2, 3)"),
            ]
            let library = program.directory + "/lib.so"
            try expectRefusal("changed-signature", try program.build(edits, target: library))
            let body = try program.build([.init(file: "lib.c", old: "i * 3", new: "i * 5")], target: library)
            #expect(body.status == 0, "\(body)")
            // Two programs that have the function each for itself.
            try runOrThrow("gcc", ["lib.o", "other.o", "-o", "other"], in: program.directory)
            let own = try program.build(edits, target: program.directory + "/other")
            #expect(own.status == 0, "\(own)")
        }

        @Test("type-layout: a unit begins to use a type that changes, and that only another unit makes")
        func newType() throws {
            let sources = [
                "box.h": "struct box { char kind; int size; };\nvoid *make(int x);\n",
                "make.c": """
                #include <stdlib.h>
                #include "box.h"
                void *make(int x) { struct box *b = malloc(sizeof *b); b->kind = 1; b->size = x; return b; }
                """,
                "main.c": """
                #include <stdio.h>
                void *make(int x);
                __attribute__((noinline)) int get(void *p) {
                    int s = 0; for (int i = 0; i < 9; i++) s ^= ((char *)p)[0] * i; return s; }
                int main(int c, char **v) { (void)v; printf("%d\\n", get(make(c))); return 0; }
                """,
            ]
            let program = try SmallProgram("cc-new-type", sources)
            func use(_ member: String) -> [SmallProgram.Edit] {
                let declaration = "void *make(int x);\n"
                let get =
                    "__attribute__((noinline)) int get(void *p) {\n    int s = 0; for (int i = 0; i < 9; i++) s ^= "
                return [
                    .init(
                        file: "main.c", old: declaration + get + "((char *)p)[0]",
                        new: "#include \"box.h\"\n" + get + "((struct box *)p)->\(member)")
                ]
            }
            // What was padding holds whatever malloc left there.
            let added = SmallProgram.Edit(file: "box.h", old: "char kind;", new: "char kind; char open;")
            try expectRefusal("type-layout", try program.build([added] + use("open")))
            let renamed = SmallProgram.Edit(file: "box.h", old: "void *make(int x)", new: "void *make(int number)")
            let same = try program.build([renamed] + use("size"))
            #expect(same.status == 0, "\(same)")
        }

        @Test("trap meaning-without-layout: an allocation size needs a decision, and is named in the bundle")
        func allocationSize() throws {
            let sources = [
                "room.h": "#define ROOM 64\nextern char *room;\nvoid make(void);\n",
                "make.c":
                    "#include <stdlib.h>\n#include \"room.h\"\nchar *room;\nvoid make(void) { room = malloc(ROOM); }\n",
                "main.c": """
                #include "room.h"
                #include <stdio.h>
                __attribute__((noinline)) int fill(int x) { for (int i = 0; i < ROOM; i++) room[i] = x; return room[1]; }
                int main(int c, char **v) { (void)v; make(); printf("%d\\n", fill(c)); return 0; }
                """,
            ]
            let program = try SmallProgram("cc-meaning", sources)
            let edit = SmallProgram.Edit(file: "room.h", old: "64", new: "256")
            try expectRefusal("meaning-without-layout", try program.build([edit]))
            let decided = try program.build([edit], ["--allow", "meaning-without-layout=ROOM"])
            try #require(decided.status == 0, "\(decided)")
            #expect(decided.stdout.contains("ROOM changes from 64 to 256 (used by"))
            let shown = try patchbuild("show", program.bundle)
            #expect(shown.stdout.contains("ROOM changes from 64 to 256 (used by"), "\(shown)")
            #expect(shown.stdout.contains("meaning-without-layout=ROOM"), "\(shown)")
        }
    }
}
