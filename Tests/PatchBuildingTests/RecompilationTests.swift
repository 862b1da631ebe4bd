import Diagnostics
import TestSupport
import Testing

@testable import PatchBuilding
@testable import Recompiling
@testable import Targets

/// A diff that only adds comments and blanks has nothing to patch, whatever numbers its lines look at.
@Suite struct RecompilationTests {
    private static let sensitive = ["assert", "__LINE__", "LOG", "STEP", "UNIQUE"]
    private static let prologue = """
        int printf(const char *, ...); void abort(void); int rand(void);
        #define assert(e) ((e) ? (void)0 : (printf("%s:%d: %s: " #e "\\n", __FILE__, __LINE__, __func__), abort()))
        #define LOG(format, ...) \\
            do { \\
                static int logged; \\
                if (!logged++) printf("%d: " format, __LINE__, __VA_ARGS__); \\
            } while (0)

        """
    private static let sources: [String: String] = [
        "asserts.c": """
        static int check(int x)
        {
            assert(x > 3);

            // before

            assert(x < 1000 &&
                   x != 77);
            return x * 2;
        }

        int asserts(int x) { return check(x) + check(x + 1); } /* behind */
        int more(int x)
        {
            LOG("more %d\\n", x);
            if (x > 5)
                LOG("large %d\\n", x);
            else
                return __LINE__;
            assert(rand() != x); return 0;
        }

        """,
        "steps.c": """
        #define STEP(s) case __LINE__: (s) = __LINE__ + 1
        #define JOIN(a, b) a##b
        #define NAME(a, b) JOIN(a, b)
        #define UNIQUE(n) int NAME(n, __LINE__) = __LINE__
        UNIQUE(first);
        UNIQUE(second); int third(void) { return rand() + 1; }
        int steps(int s, int *next)
        {
            switch (s) {
                STEP(*next); return 4;
                STEP(*next); return 5;

                STEP(*next); return 6;
            }
            return -1;
        }

        """,
        "branches.c": """
        #if defined(NOTHING) && \\
            NOTHING > 2
        int absent(void) { return __LINE__; }
        #elif 1
        int present(void)
        {
            return __LINE__;
        }
        #else
        int never(int x) { return x; }
        #endif
        #ifndef OTHER
        # define OTHER 12
        #endif
        _Static_assert(sizeof(int) == 4, "four");
        #if OTHER > 3
        int branches(int x) {
        #if OTHER == 12
            assert(x);
        #endif
            return x + OTHER;
        }
        #endif

        """,
        "tables.c": """
        static const char *const names[] = {
            "a // no comment", "b /* nor this */",
            "c \\" quoted", "d"
        };
        static const struct { int line; const char *name; } lines[] = {
            { __LINE__, "one" },
            { __LINE__, "two" }, { 3, "three" },
        };
        int tables(int x) { return names[x & 3][0] + lines[x % 3].line + '"' + '\\''; }
        double numbers(int x)
        {
            static const double values[] = { 1.5, 2.5e3, 0x1p4 };
            switch (x) {
            case 0: return values[0]; case 1: return 7; case 2: return rand();
            case 3: return values[1]; case 4: return printf("four");
            case 5: return values[2] * __LINE__;
            }
            return values[x % 3];
        }

        """,
        "calls.c": """
        static __attribute__((noinline)) int deep(int a, int b, int line)
        {
            if (__builtin_expect(a > 99, 0)) { printf("%d", line); abort(); }
            return a + b * line;
        }
        int calls(int x)
        {
            int sum = deep(x, 2, __LINE__) +
                deep(x + 1,
                     3,
                     __LINE__);
            for (int i = 0; i < x; i++)
                sum += deep(i, sum, __LINE__);
            return sum
                - __LINE__;
        }

        """,
    ]
    private static let plusSources: [String: String] = [
        "raw.cc": """
        extern "C" int puts(const char *); extern "C" int printf(const char *, ...); extern "C" void abort();
        static const char *const text = R"(raw // text
        /* not a comment */ "quoted"

          #line 7
        )";
        template <typename T> T larger(T a, T b)
        {
            static_assert(sizeof(T) <= 8, "small");
            return a > b ? a : b;
        }
        int raw(int x)
        {
            auto say = [&](int line) { printf("%d %s", line, text); return x; };
            return larger(say(__LINE__), 3) + puts(text);
        }

        """
    ]

    /// Nine builds of a tree of 24 units, every unit edited in each: 216 recompilations.
    @Test(.timeLimit(.minutes(20))) func `comments and blanks are no change`() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("RecompilationTests: seed \(seed)")
        let files = Self.files()
        var tree = try SourceTree(files)
        defer { tree.remove() }
        for name in files.keys.sorted() {
            tree.add(name, name.hasSuffix(".cc") ? ["-O2", "-std=c++17", "-xc++"] : ["-O2"])
        }
        try tree.build()
        try writeCommands(tree)
        let target = try Fixture.compile("int main(void) { return 0; }")
        var compiled = 0
        for round in 0..<9 {
            let changed = files.map { name, text in
                var edits = NeutralEdits(
                    text, sensitive: Self.sensitive, seed: seed &+ UInt64(round * 1000) &+ hash(name))
                return (name, edits.edited(rate: 2 + round))
            }
            let refusals = try await refusals(of: Dictionary(uniqueKeysWithValues: changed), tree, target)
            #expect(refusals.map(\.rule) == ["nothing-to-patch"], "seed \(seed), round \(round): \(refusals)")
            #expect(refusals.first?.why.contains("(\(files.count))") == true, "\(refusals)")
            compiled += files.count
        }
        #expect(compiled >= 200)
    }

    private static func files() -> [String: String] {
        var files: [String: String] = [:]
        for copy in 0..<4 {
            for (name, text) in sources { files["\(copy)-\(name)"] = prologue + text }
            for (name, text) in plusSources { files["\(copy)-\(name)"] = text }
        }
        return files
    }

    private func hash(_ name: String) -> UInt64 { name.utf8.reduce(5381) { $0 &* 33 &+ UInt64($1) } }

    private func writeCommands(_ tree: SourceTree) throws {
        let entries = tree.units.map { unit in
            let arguments = unit.arguments.map { "\"\($0)\"" }.joined(separator: ", ")
            return "{\"directory\": \"\(unit.directory)\", \"file\": \"\(unit.file)\", \"arguments\": [\(arguments)]}"
        }
        try writeText("[" + entries.joined(separator: ",\n") + "]", to: tree.root + "/compile_commands.json")
    }

    /// What `patchbuild build --diff` says of these new texts.
    private func refusals(of changed: [String: String], _ tree: SourceTree, _ target: String) async throws -> [Refusal]
    {
        let new = tree.scratch + "/b"
        removeTree(new)
        try makeDirectory(new)
        for (name, text) in changed { try writeText(text, to: new + "/" + name) }
        let old = tree.scratch + "/a"
        removeTree(old)
        try makeDirectory(old)
        for name in changed.keys { try writeBytes(readBytes(tree.root + "/" + name), to: old + "/" + name) }
        let diff = try run("diff", ["-u", "a", "b"], in: tree.scratch)
        try writeText(diff.stdout, to: tree.scratch + "/fix.diff")
        let options = BuildOptions(
            input: .diffs(
                source: tree.root, compileCommands: tree.root + "/compile_commands.json",
                diffs: [tree.scratch + "/fix.diff"]),
            targets: [TargetFiles(path: target, symbols: nil)], output: "fix.lpatch")
        do { _ = try await buildBundle(options) } catch let error as Refusals { return error.refusals }
        return []
    }
}
