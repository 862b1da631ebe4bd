import TestSupport
import Testing

extension EndToEnd {
    /// A changed initial value is refused, or written at the switch where an engineer decides so.
    @Suite(.serialized) struct ValueTests {
        static let sources = [
            "values.c": """
            struct pair { int low, high; };
            struct named { int kind; const char *text; };
            int limit = 10;
            struct pair pair = {1, 2};
            int table[5] = {1, 2, 3, 4, 5};
            int zero;
            static int hidden = 5;
            struct named named = {1, "text"};
            struct named plain = {1, 0};
            _Thread_local int local = 7;
            __attribute__((weak)) int weak = 7;
            int hide(int x) { hidden += x; return hidden; }
            """,
            "main.c": """
            #include <stdio.h>
            #include <unistd.h>
            struct pair { int low, high; };
            struct named { int kind; const char *text; };
            extern int limit, table[5], zero;
            extern struct pair pair;
            extern struct named named, plain;
            extern _Thread_local int local;
            int hide(int x);
            int main(int argc, char **argv)
            {
                setlinebuf(stdout);
                if (argc > 1) pair.high = 9;
                for (;;) {
                    printf("limit %d pair %d,%d table %d,%d zero %d hidden %d\\n", limit, pair.low, pair.high,
                           table[1], table[4], zero, hide(0));
                    if (named.kind + plain.kind + local == 99) puts(named.text);
                    usleep(20000);
                }
            }
            """,
        ]

        @Test func writtenByDecision() throws {
            let program = try SmallProgram("values", Self.sources)
            let edit = SmallProgram.Edit(file: "values.c", old: "limit = 10", new: "limit = 20")
            try expectRefusal("data-initial-value", try program.build([edit]))
            let built = try program.build([edit], ["--allow", "data-initial-value=limit"])
            try #require(built.status == 0, "\(built)")
            #expect(try patchbuild("show", program.bundle).stdout.contains("0a000000 becomes 14000000"))
            try program.running { process in
                #expect(try process.nextLine().hasPrefix("limit 10 pair"))
                let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(applied.status == 0, "\(applied)")
                #expect(try process.nextLine().hasPrefix("limit 20 pair"))
                #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
                #expect(try process.nextLine().hasPrefix("limit 10 pair"))
            }
        }

        /// Members, elements, zeroed memory and a static, together with code that changes.
        @Test func allKinds() throws {
            let program = try SmallProgram("kinds", Self.sources)
            let old = "{1, 2};\nint table[5] = {1, 2, 3, 4, 5};\nint zero;\nstatic int hidden = 5;"
            let new = "{1, 4};\nint table[5] = {1, 6, 3, 4, 7};\nint zero = 3;\nstatic int hidden = 8;"
            let edit = SmallProgram.Edit(file: "values.c", old: old, new: new)
            let names = ["pair", "table", "zero", "hidden"]
            let built = try program.build([edit], names.flatMap { ["--allow", "data-initial-value=\($0)"] })
            try #require(built.status == 0, "\(built)")
            let before = "pair 1,2 table 2,5 zero 0 hidden 5"
            for (arguments, after, later) in [
                ([], "pair 1,4 table 6,7 zero 3 hidden 8", before),
                // A member of the same word was changed: the word is left alone.
                (["set"], "pair 1,9 table 6,7 zero 3 hidden 8", "pair 1,9 table 2,5 zero 0 hidden 5"),
            ] {
                try withProcess(program.program, arguments) { process in
                    try process.waitForOutput("\n")
                    let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                    #expect(applied.status == 0, "\(applied)")
                    #expect(applied.stdout.contains("had changed it") == !arguments.isEmpty, "\(applied)")
                    #expect(try process.nextLine().hasSuffix(after))
                    #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
                    #expect(try process.nextLine().hasSuffix(later))
                }
            }
        }

        /// The program may have a copy of what a library exports (a copy relocation).
        @Test func exportedByLibrary() throws {
            let program = try SmallProgram("library", Self.sources, flags: ["-O2", "-g", "-fPIC"])
            try runOrThrow("gcc", ["-shared", "values.o", "-o", "libvalues.so"], in: program.directory)
            for (name, edit) in [
                ("limit", SmallProgram.Edit(file: "values.c", old: "limit = 10", new: "limit = 20")),
                ("hidden", SmallProgram.Edit(file: "values.c", old: "hidden = 5", new: "hidden = 6")),
            ] {
                let output = try program.build(
                    [edit], ["--allow", "data-initial-value=\(name)"], target: program.directory + "/libvalues.so")
                #expect(output.status == (name == "limit" ? 1 : 0), "\(output)")
                #expect(output.stdout.contains("exports it") == (name == "limit"), "\(output)")
            }
        }

        @Test func pointersAndThreadLocalsAreRefusedEvenSo() throws {
            let program = try SmallProgram("pointers", Self.sources)
            for (name, old, new) in [
                ("named", "named = {1, \"text\"}", "named = {1, \"other\"}"),
                ("plain", "plain = {1, 0}", "plain = {1, \"other\"}"),
                ("local", "local = 7", "local = 8"),
                ("weak", "weak = 7", "weak = 8"),
            ] {
                let edit = SmallProgram.Edit(file: "values.c", old: old, new: new)
                let output = try program.build([edit], ["--allow", "data-initial-value=\(name)"])
                try expectRefusal("data-initial-value", output)
                #expect(output.stdout.contains("can't be written in the process"), "\(output)")
            }
            // Plain bytes beside a pointer that stays.
            let edit = SmallProgram.Edit(file: "values.c", old: "named = {1,", new: "named = {2,")
            let built = try program.build([edit], ["--allow", "data-initial-value=named"])
            #expect(built.status == 0, "\(built)")
        }
    }
}
