import PatchFormat
import TestSupport
import Testing

extension EndToEnd {
    /// The same inputs give the same bytes wherever and by whomever the bundle is built, and `verify --rebuild` proves it.
    @Suite(.serialized) struct ReproductionTests {
        private static let sources = [
            "main.c": """
            #include <stdio.h>
            #include <unistd.h>
            int answer(int x);
            int more(int x);
            int main(void)
            {
                for (int i = 0;; i++) {
                    printf("%d %d\\n", answer(i), more(i));
                    fflush(stdout);
                    usleep(20000);
                }
            }
            """,
            "answer.c": """
            #include <stdio.h>
            #include <stdlib.h>
            struct counter { int calls; };
            static struct counter counter = {1};
            static int level = 3;
            __attribute__((noinline)) int answer(int x)
            {
                if (x < 0) fprintf(stderr, "%s: negative\\n", __FILE__);
                level += x & 1;
                return x * level + counter.calls++;
            }
            """,
            "more.cpp": """
            struct Refused { int code; virtual int say() const { return code; } virtual ~Refused() {} };
            template <typename T> struct Checked {
                T limit;
                __attribute__((noinline)) T operator()(T x) const { if (x > limit) throw Refused(); return x; }
            };
            namespace {
            struct Limits { Checked<int> small; int seen; Limits() : small{100}, seen(0) {} } limits;
            }
            extern "C" __attribute__((noinline)) int more(int x)
            {
                try { return limits.small(x); } catch (const Refused &refused) { return refused.say() + limits.seen++; }
            }
            """,
        ]
        private static let edits = [
            SmallProgram.Edit(file: "answer.c", old: "x < 0)", new: "x < -1 || x > 1000000)"),
            SmallProgram.Edit(file: "answer.c", old: "static int level = 3;", new: "static int grade = 3;"),
            SmallProgram.Edit(file: "answer.c", old: "level += x & 1;", new: "grade += x & 3;"),
            SmallProgram.Edit(file: "answer.c", old: "x * level", new: "x * grade"),
        ]
        private static let mapped = ["-O2", "-g", "-ffile-prefix-map=DIRECTORY=."]

        private static let edited: String = {
            var text = sources["answer.c"] ?? ""
            for edit in edits where text.firstRange(of: edit.old) != nil {
                text = text.replacing(edit.old, with: edit.new)
            }
            return text
        }()

        /// The fix as one edit of each file, since `SmallProgram` makes a diff of each.
        private static let fix = [
            SmallProgram.Edit(file: "answer.c", old: sources["answer.c"] ?? "", new: edited),
            SmallProgram.Edit(file: "more.cpp", old: "limits.seen++", new: "(limits.seen += 2) + Checked<long>{7}(x)"),
        ]
        private static let decision = ["--allow", "lost-state=level"]

        private func program(_ name: String, flags: [String] = mapped) throws -> SmallProgram {
            try SmallProgram(name, Self.sources, flags: flags)
        }

        private func built(_ program: SmallProgram, _ more: [String] = [], target: String? = nil) throws -> [UInt8] {
            let output = try program.build(Self.fix, Self.decision + more, target: target)
            try #require(output.status == 0, "\(output)")
            return readBytes(program.bundle)
        }

        private func verify(
            _ bundle: String, source: SmallProgram, diff: String? = nil, target: String? = nil, _ more: [String] = []
        ) throws -> Output {
            try run(
                toolPath("patchbuild"),
                [
                    "verify", bundle, "--rebuild", "--source", source.directory, "--diff",
                    diff ?? source.directory + "/fix.diff", "--target", target ?? source.program, "--json",
                ] + more)
        }

        @Test func sameBytesInTwoDirectories() throws {
            let one = try program("reproduced")
            let two = try program("somewhere/else/altogether")
            try #require(readBytes(one.program) == readBytes(two.program), "the targets are the same")
            let first = try built(one)
            #expect(try built(two) == first)
            #expect(String(decoding: first, as: UTF8.self).firstRange(of: "patchbuild-e2e") == nil, "no path is left")
            #expect(try built(one) == first, "nor does the order of hash tables matter")
        }

        /// Another user's: home, language, time zone, umask, place of temporary files.
        @Test func sameBytesInAnotherEnvironment() throws {
            let one = try program("reproduced-environment")
            let first = try built(one)
            let scratch = try Workshop.directory("scratch/of/another")
            let arguments =
                [
                    toolPath("patchbuild"), "build", "--source", "./", "--diff", "fix.diff", "--target", "program",
                    "--id",
                    "fix", "-o", "other.lpatch",
                ] + Self.decision
            let command = "umask 077; exec env -i \"PATH=$PATH\" \"$@\""
            let environment = [
                "TMPDIR=\(scratch)", "LANG=de_DE.UTF-8", "HOME=/nonexistent", "TZ=Asia/Tokyo", "USER=me",
            ]
            try runOrThrow("sh", ["-c", command, "sh"] + environment + arguments, in: one.directory)
            #expect(readBytes(one.directory + "/other.lpatch") == first)
        }

        /// A parallel build records its commands as they come.
        @Test func sameBytesInAnotherOrderOfCommands() throws {
            let one = try program("reproduced-order")
            let first = try built(one)
            let record = one.directory + "/compile_commands.json"
            let lines = readText(record).split(separator: "\n").map { line in
                String(line).replacing("[{", with: "{").replacing("}]", with: "}").replacing("},", with: "}")
            }
            try writeText("[" + lines.reversed().joined(separator: ",\n") + "]\n", to: record)
            #expect(try built(one) == first)
        }

        @Test func rebuildInAnotherDirectoryProvesTheBundle() throws {
            let one = try program("proved", flags: ["-O2", "-g", "-fmacro-prefix-map=DIRECTORY=."])
            let two = try program("proved-elsewhere", flags: ["-O2", "-g", "-fmacro-prefix-map=DIRECTORY=."])
            _ = try built(one, ["--cve", "CVE-2099-0001"])
            _ = try built(two)
            #expect(readBytes(one.program) != readBytes(two.program), "debug information tells where they were built")
            let output = try verify(one.bundle, source: two, target: one.program)
            #expect(output.status == 0, "\(output)")
            #expect(try JSON(output.stdout)["reproduced"]["id"].text == "fix")
        }

        @Test func timesAreTakenFromTheBundle() throws {
            let one = try program("dated")
            let arguments = [
                "build", "--source", ".", "--diff", "fix.diff", "--target", "program", "-o", "dated.lpatch",
            ]
            _ = try built(one)
            try runOrThrow(
                toolPath("patchbuild"), arguments + Self.decision, in: one.directory,
                environment: ["SOURCE_DATE_EPOCH": "1769860800"])
            let output = try verify(one.directory + "/dated.lpatch", source: one)
            #expect(output.status == 0, "\(output)")
            let manifest = try Bundle.read(path: one.directory + "/dated.lpatch").manifest
            #expect(manifest.created == "2026-01-31T12:00:00Z")
        }

        @Test func anotherDiffIsNamed() throws {
            let one = try program("other-diff")
            _ = try built(one)
            let other = one.directory + "/other.diff"
            try writeText(readText(one.directory + "/fix.diff").replacing("1000000", with: "2000000"), to: other)
            let output = try verify(one.bundle, source: one, diff: other)
            try expectRefusal("not-reproduced", output)
            #expect(output.stdout.contains("provenance.diffDigests[0]"), "\(output)")
            #expect(output.stdout.contains("answer (answer.o), byte +0x"), "\(output)")
        }

        /// The bundle is not what its diff makes: somebody changed a byte of the module, and the manifest with it.
        @Test func aChangedModuleIsNamedByFunction() throws {
            let one = try program("tampered")
            _ = try built(one)
            var bundle = try Bundle.read(path: one.bundle)
            let target = try #require(bundle.manifest.targets.first)
            let function = try #require(target.functions.first { $0.name == "answer" })
            var module = try #require(bundle.modules[target.module])
            let original = bundle.modules
            // Sections of a module lie in the file where they lie in memory.
            let at = Int(try #require(function.newRanges.first).address) + 8
            try #require(module.indices.contains(at))
            module[at] ^= 1
            bundle.modules[target.module] = module
            try #require(bundle.modules != original)
            let bad = one.directory + "/bad.lpatch"
            try writeBytes(
                try Bundle.write(manifest: bundle.manifest, modules: bundle.modules, review: bundle.review), to: bad)
            let output = try verify(bad, source: one)
            try expectRefusal("not-reproduced", output)
            #expect(output.stdout.contains("the new body of answer (answer.o), byte +0x8 of"), "\(output)")
            #expect(!output.stdout.contains("provenance"), "\(output)")
        }

        @Test func aChangedManifestIsNamedByField() throws {
            let one = try program("retold")
            _ = try built(one)
            let bundle = try Bundle.read(path: one.bundle)
            let bad = one.directory + "/bad.lpatch"
            func output(_ change: (inout Manifest) throws -> Void) throws -> Output {
                var manifest = bundle.manifest
                try change(&manifest)
                try writeBytes(
                    try Bundle.write(manifest: manifest, modules: bundle.modules, review: bundle.review), to: bad)
                return try verify(bad, source: one)
            }
            let compiler = try output { $0.provenance.compilers = ["GNU C17 99.1 -O2"] }
            try expectRefusal("not-reproduced", compiler)
            #expect(
                compiler.stdout.contains("provenance.compilers[0]") && compiler.stdout.contains("99.1"), "\(compiler)")
            #expect(compiler.stdout.contains("install the compiler that the bundle names"), "\(compiler)")

            let claim = try output { $0.review = ["nothing to see here"] }
            try expectRefusal("not-reproduced", claim)
            #expect(
                claim.stdout.contains("manifest.json: review") && claim.stdout.contains("nothing to see"), "\(claim)")
        }

        /// What made the bundle was not refused: a rebuild that is says that something else was given.
        @Test func aRefusedRebuildIsNoProof() throws {
            let one = try program("refused-rebuild")
            _ = try built(one)
            let record = one.directory + "/compile_commands.json"
            try writeText(readText(record).replacing("\"-O2\"", with: "\"-O0\""), to: record)
            let output = try verify(one.bundle, source: one)
            #expect(output.status == 1, "\(output)")
            let rules = try refusedRules(output)
            #expect(rules.first == "not-reproduced" && rules.contains("unmatched-function"), "\(output)")
            #expect(output.stdout.contains("the bundle was compiled by GNU C"), "\(output)")
        }

        @Test func bundlesThatItBuildsOnMustBeGiven() throws {
            let one = try program("required")
            _ = try built(one)
            let first = one.directory + "/first.lpatch"
            try writeBytes(readBytes(one.bundle), to: first)
            let build = ["build", "--source", ".", "--diff", "fix.diff", "--target", "program", "-o", "second.lpatch"]
            try runOrThrow(
                toolPath("patchbuild"), build + Self.decision + ["--supersedes", first], in: one.directory)
            let second = one.directory + "/second.lpatch"
            let without = try verify(second, source: one)
            #expect(without.status == 2 && without.stderr.contains("give --supersedes FILE"), "\(without)")
            let with = try verify(second, source: one, ["--supersedes", first])
            #expect(with.status == 0, "\(with)")
            let other = try verify(second, source: one, ["--supersedes", second])
            #expect(other.status == 2, "\(other)")
        }

        @Test func optionsOfARebuildNeedRebuild() throws {
            let output = try patchbuild("verify", "x.lpatch", "--source", ".")
            #expect(output.status == 2 && output.stderr.contains("--rebuild"), "\(output)")
        }

        /// The schemas' own validators, where they can be had (Tests/SKIPS.md).
        @Test func documentsAreValid() throws {
            let output = try run(
                "python3", [packageRoot + "/Tests/documents", "--tools", String(toolPath("").dropLast())], seconds: 300)
            if output.status == 77 {
                try Test.cancel(Comment(rawValue: String(output.stdout.split(separator: "\n").last ?? "skipped")))
            }
            #expect(output.status == 0, "\(output)")
            #expect(output.stdout.contains("valid    cyclonedx") && output.stdout.contains("valid    in-toto"))
        }
    }
}
