import TestSupport
import Testing

extension EndToEnd {
    /// Two archives have a member each with the same bytes, of two sources. A fix of the one is none of the other's program.
    @Suite(.serialized, .needsTracing) struct ArchiveTwinTests {
        private static let source = "int answer(int x) { volatile int y = x; return y + 10; }\n"
        private static let main = "int answer(int); int main(int c, char **v) { (void)v; return answer(c); }\n"
        private static let script = """
            gcc -O2 -c main.c
            for part in one two; do (cd $part && gcc -O2 -c part.c && ar rc part.a part.o); gcc -o $part.out main.o $part/part.a; done
            """

        @Test("trap archive-twin: a unit that only another program was linked from is not patched in this one")
        func twins() throws {
            let directory = try Workshop.directory("twins")
            for part in ["one", "two"] {
                try makeDirectory("\(directory)/\(part)")
                try writeText(Self.source, to: "\(directory)/\(part)/part.c")
            }
            try writeText(Self.main, to: directory + "/main.c")
            try writeText(
                "--- a/two/part.c\n+++ b/two/part.c\n@@ -1 +1 @@\n-\(Self.source)+"
                    + Self.source.replacing("10", with: "20"), to: directory + "/fix.diff")
            let recorded = try patchbuild("record", "--", "sh", "-c", Self.script, in: directory)
            try #require(recorded.status == 0, "\(recorded)")
            func build(_ target: String) throws -> Output {
                try patchbuild(
                    "build", "--source", ".", "--diff", "fix.diff", "--target", target, "-o", "fix.lpatch", "--json",
                    in: directory)
            }
            try expectRefusal("unmatched-function", try build("one.out"))
            #expect(try build("two.out").status == 0)
        }
    }
}
