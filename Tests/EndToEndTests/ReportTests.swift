import TestSupport
import Testing

extension EndToEnd {
    /// What a release engineer reads before signing, of a patch that was really built.
    @Suite struct ReportTests {
        private static let sources = [
            "main.c": """
            #include <stdio.h>
            int parse(const char *text);
            int (*hook)(const char *) = parse;
            __attribute__((noinline)) int serve(const char *text) { return parse(text) + 1; }
            int main(int argc, char **argv)
            {
                printf("%d %d\\n", serve(argv[argc - 1]), hook("x"));
                return 0;
            }
            """,
            "parse.c": """
            static const int limits[4] = {10, 20, 30, 40};
            int seen;
            static int check(int kind, int n)
            {
                if (n > limits[kind & 3])
                    return -1;
                seen++;
                return 0;
            }
            int parse(const char *text)
            {
                int n = 0;
                while (text[n])
                    n++;
                return check(text[0], n) < 0 ? -1 : n;
            }
            const int *table(void)
            {
                return limits;
            }
            """,
        ]

        private func built(_ name: String) throws -> SmallProgram {
            let program = try SmallProgram(name, Self.sources, flags: ["-O2", "-g", "-ffile-prefix-map=DIRECTORY=."])
            let diff = """
                --- a/parse.c
                +++ b/parse.c
                @@ -1,8 +1,10 @@
                -static const int limits[4] = {10, 20, 30, 40};
                +static const int limits[4] = {10, 21, 30, 40};
                 int seen;
                 static int check(int kind, int n)
                 {
                +    if (kind < 0)
                +        return -2;
                     if (n > limits[kind & 3])
                         return -1;
                     seen++;
                     return 0;

                """
            try writeText(diff, to: program.directory + "/fix.diff")
            let output = try patchbuild(
                "build", "--source", program.directory, "--diff", program.directory + "/fix.diff", "--target",
                program.program, "--id", "fix", "--cve", "CVE-2099-0001", "--allow", "changed-constant-escapes=limits",
                "-o", program.bundle)
            #expect(output.status == 0, "\(output)")
            return program
        }

        private func review(_ program: SmallProgram) throws -> String {
            try runOrThrow("tar", ["xOf", program.bundle, "review.json"]).stdout
        }

        @Test func theBundleHoldsWhatAReviewerWants() throws {
            let review = try JSON(try review(try built("report")))
            #expect(review["diffs"][0]["name"].text == "fix.diff")
            let target = review["targets"][0]
            let function = try #require(target["functions"].elements.first { $0["name"].text == "parse" })
            #expect(function["callers"].elements.map { $0["name"].text } == ["serve"])
            #expect(function["callers"][0]["callers"].elements.map(\.text) == ["main"])
            #expect(function["addressTaken"].elements.map(\.text) == ["data: hook"])
            // Lines of the new file, though the compiler was told the numbers of the original.
            let touched = function["new"]["places"].elements.filter { $0["isTouched"] == .bool(true) }
            #expect(touched.first?["text"].text == "    if (kind < 0)")
            #expect(touched.first?["line"].number == 5)
            let limits = try #require(target["data"].elements.first { $0["name"].text == "limits" })
            #expect(limits["original"].text == "0a000000140000001e00000028000000")
            #expect(limits["new"].text == "0a000000150000001e00000028000000")
            #expect((target["proof"]["functions"].number ?? 0) >= 1)
        }

        @Test func twoDirectoriesGiveOneReview() throws {
            let first = try review(try built("here"))
            #expect(first == (try review(try built("elsewhere/deeper"))))
            #expect(!first.contains("/tmp/"))
        }

        @Test func thePageShowsItAndFindsTheModulesCodeTheSame() throws {
            let program = try built("page")
            let page = program.directory + "/review.html"
            let output = try patchbuild("report", program.bundle, "-o", page)
            #expect(output.status == 0, "\(output)")
            let text = readText(page)
            for part in [
                "CVE-2099-0001", "Code shown is code shipped", "<svg class=graph", "if (kind &lt; 0)", "data: hook",
                "limits", "Not signed yet", "1 point needs an answer", "was overridden for",
            ] {
                #expect(text.contains(part), "\(part)")
            }
            #expect(!text.contains("Do not sign"))
        }

        @Test func aReviewThatLiesAboutTheCodeIsFoundOut() throws {
            let program = try built("lie")
            let truth = try review(program)
            #expect(truth.contains("$0x3"))
            try writeText(truth, to: program.directory + "/review.json")
            // A builder that lies writes the digest of the lie.
            let script = """
                import hashlib, sys
                bundle, review = sys.argv[1:]
                truth, whole = open(review, 'rb').read(), open(bundle, 'rb').read()
                lie = truth.replace(b'$0x3', b'$0x7')
                digests = [hashlib.sha256(text).hexdigest().encode() for text in (truth, lie)]
                open(bundle, 'wb').write(whole.replace(truth, lie).replace(*digests))
                """
            try runOrThrow("python3", ["-c", script, program.bundle, program.directory + "/review.json"])
            #expect(try review(program) == truth.replacing("$0x3", with: "$0x7"))
            let page = program.directory + "/review.html"
            let output = try patchbuild("report", program.bundle, "-o", page)
            #expect(output.status == 1, "\(output)")
            #expect(readText(page).contains("Do not sign."))
        }

        @Test func whatIsNoBundleGivesNoPage() throws {
            let directory = try Workshop.directory("nobundle")
            try writeText("no bundle", to: directory + "/x.lpatch")
            let output = try patchbuild("report", directory + "/x.lpatch", "-o", directory + "/page.html")
            #expect(output.status == 1)
            #expect(output.stderr.contains("bad-bundle"))
            #expect(!fileExists(directory + "/page.html"))
        }
    }
}
