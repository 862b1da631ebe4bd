import TestSupport
import Testing

extension EndToEnd {
    /// A stripped program, patched with the symbols of a rebuild that is not equal to it.
    @Suite(.serialized) struct OtherLinkTests {
        private static let sources = [
            "charge.c": """
            int rate(int); extern int surcharge;
            static int calls = 1000; static int step[4] = {1, 2, 3, 4};
            static int factor(int x)
            {
            #ifdef OFFICIAL
                return x * 700;
            #else
                return x * 900;
            #endif
            }
            __attribute__((noinline)) int odd(int x) { return factor(x) + step[x & 3]; }
            int charge(int x) { calls++; step[x & 3] += 0; return rate(x) + step[x & 3] + calls * 0; }
            int count(void) { return calls; }
            """,
            "build.c": """
            #include <stdio.h>
            #ifdef OFFICIAL
            static char room[333] = "more"; int before(int x) { for (int i = 0; i < x; i++) room[i] ^= x; return room[1]; }
            char text[] = "a version text that is much longer than that of the rebuild";
            #else
            int before(int x) { return x; }
            char text[] = "short";
            #endif
            """,
            "main.c": """
            #include <stdio.h>
            #include <unistd.h>
            int charge(int), count(void), before(int), odd(int); extern char text[]; int surcharge = 50;
            int rate(int x) { return x * 10 + surcharge / 1000; }
            int main(int argc, char **argv)
            {
                (void)argv;
                setlinebuf(stdout);
                if (argc > 5) printf("%s %d %d", text, before(argc), odd(argc));
                for (;;) {
                    printf("%d %s\\n", charge(2), count() > 1000 ? "counted" : "lost");
                    usleep(20000);
                }
            }
            """,
        ]

        @Test func patchIsBoundToTheOfficialAddresses() throws {
            let program = try SmallProgram("other-link", Self.sources)
            let official = try program.relinked(official: ["build.c"])
            let built = try program.build(
                [.init(file: "charge.c", old: "+ calls * 0", new: "+ surcharge + (calls > 1000 ? 100 : 0)")],
                ["--symbols", program.program], target: official)
            try #require(built.status == 0, "\(built)")
            try withProcess(official) { process in
                try process.waitForOutput("\n")
                #expect(try process.nextLine() == "23 counted")
                let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(applied.status == 0, "\(applied)")
                #expect(try process.nextLine() == "173 counted")
                #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
                #expect(try process.nextLine() == "23 counted")
            }
        }

        @Test func functionOfTheUnitThatTheRebuildLacksIsRefused() throws {
            var sources = Self.sources
            sources["charge.c"]? += """

                #ifdef OFFICIAL
                int more(int x) { for (int i = 0; i < x; i++) calls += factor(i ^ calls); return calls; }
                #endif
                """
            sources["charge.c"] = sources["charge.c"]?.replacing(
                "#ifdef OFFICIAL\n    return x * 700;", with: "#ifdef NEVER\n    return x * 700;")
            let program = try SmallProgram("other-functions", sources)
            let edit = SmallProgram.Edit(file: "charge.c", old: "return x * 900;", new: "return x * 901;")
            for (official, isRefused) in [(["build.c"], false), (["build.c", "charge.c"], true)] {
                let built = try program.build(
                    [edit], ["--symbols", program.program], target: try program.relinked(official: official))
                guard isRefused else {
                    #expect(built.status == 0, "\(built)")
                    continue
                }
                try expectRefusal("unmatched-function", built)
                for text in ["0x", "count", "inlined copy"] {
                    #expect(built.stdout.contains(text), "\(text): \(built)")
                }
            }
        }

        private static let threads = [
            "charge.c": """
            int rate(int); extern __thread int mine, left;
            int charge(int x) { mine++; return rate(x) + mine * 0; }
            """,
            "build.c": """
            #ifdef OFFICIAL
            __thread int mine = 500, right = 300, left = 400;
            #else
            __thread int mine = 500, left = 400, right = 300;
            #endif
            char text[] = "the same";
            """,
            "main.c": """
            #include <stdio.h>
            #include <unistd.h>
            int charge(int); extern __thread int mine, left, right; extern char text[];
            int rate(int x) { return x * 10 + (text[0] == 'x'); }
            int main(int argc, char **argv)
            {
                (void)argv;
                setlinebuf(stdout);
                for (;;) {
                    mine = 500;
            #ifdef OFFICIAL
                    printf("%d %d\\n", charge(2), left + right);
            #else
                    printf("%d %d.\\n", charge(2), left - right + argc);
            #endif
                    usleep(20000);
                }
            }
            """,
        ]

        @Test func threadLocalIsBoundWhereOldCodeUsesItAndRefusedWhereNothingShowsIt() throws {
            let program = try SmallProgram(
                "other-threads", Self.threads, flags: ["-O2", "-g", "-fno-toplevel-reorder"])
            let official = try program.relinked(
                official: ["build.c", "main.c"], flags: ["-O2", "-g", "-fno-toplevel-reorder"])
            func build(_ name: String) throws -> Output {
                try program.build(
                    [.init(file: "charge.c", old: "+ mine * 0", new: "+ \(name)")], ["--symbols", program.program],
                    target: official)
            }
            // Both have the same size, so that only code tells which is which.
            try expectRefusal("unresolved-symbol", try build("left"))
            let built = try build("mine")
            try #require(built.status == 0, "\(built)")
            try withProcess(official) { process in
                try process.waitForOutput("\n")
                #expect(try process.nextLine() == "20 700")
                let applied = try livepatch("apply", program.bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                #expect(applied.status == 0, "\(applied)")
                #expect(try process.nextLine() == "521 700")
                #expect(try livepatch("revert", program.bundle, "--pid", "\(process.pid)").status == 0)
            }
        }

        @Test func functionThatDiffersByOneInstructionIsNamed() throws {
            let program = try SmallProgram("other-code", Self.sources)
            let official = try program.relinked(official: ["build.c", "charge.c"])
            let built = try program.build(
                [.init(file: "charge.c", old: "return factor(x) +", new: "return 1 + factor(x) +")],
                ["--symbols", program.program], target: official)
            try expectRefusal("unmatched-function", built)
            for text in ["odd", "byte +0x", "$0x384", "$0x2bc", "another constant"] {
                #expect(built.stdout.contains(text), "\(text): \(built)")
            }
        }
    }
}
