import Diagnostics
import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Matching
@testable import Targets

/// A program linked twice: as a distribution has it, stripped, and as a rebuild gives it, with symbols. What was not the
/// same at both builds is `OFFICIAL`.
struct Relinked {
    /// The official program, before it was stripped.
    var truth: ObjectFile
    var image: TargetImage
    /// The unit to be patched, as the rebuild compiled it.
    var view: ObjectView
    /// Where the objects of the rebuild lie.
    let directory: String

    init(
        _ sources: [String: String] = Relinked.sources, flags: [String], differing: Set<String> = ["version.c"],
        link: [String] = []
    ) throws {
        let units = sources.keys.filter { $0.hasSuffix(".c") }.sorted()
        directory = try Fixture.cached(
            ["relinked"] + flags + link + differing.sorted() + units.flatMap { [$0, sources[$0] ?? ""] }
        ) { directory in
            for (name, text) in sources { try writeText(text, to: directory + "/" + name) }
            for (program, define) in [("official", ["-DOFFICIAL"]), ("rebuilt", [])] {
                let objects = units.map { "\(program)-\($0).o" }
                for (unit, object) in zip(units, objects) {
                    let more = differing.contains(unit) ? define : []
                    try runOrThrow("gcc", flags + more + ["-c", unit, "-o", object], in: directory)
                }
                try runOrThrow("gcc", flags + link + objects + ["-o", program], in: directory)
            }
            try runOrThrow("strip", ["-o", "stripped", "official"], in: directory)
        }
        truth = try ObjectFile.read(path: directory + "/official")
        image = try TargetImage.load(path: directory + "/stripped", symbolsPath: directory + "/rebuilt")
        view = ObjectView(try ObjectFile.read(path: directory + "/rebuilt-unit.c.o"))
    }

    /// In the order of the link: what is shifted comes behind what differs.
    static let sources = [
        "alpha.c": """
        int alpha_count; static int seen[3];
        __attribute__((noinline)) int alpha(int x) { alpha_count++; seen[x & 1] += x; return x * 3 + seen[0]; }
        """,
        "unit.c": """
        #include <stdio.h>
        extern int alpha_count, zulu_level; int alpha(int), zulu(int), middle(int); const char *version(void);
        static int calls; static int limits[4] = {10, 20, 30, 40}; int shared = 7;
        static const char *const names[] = {"zero", "one", "two", "three"};
        static __attribute__((noinline)) int helper(int x) { calls++; return x * 700 + limits[x & 3]; }
        static int by_table(int x) { return x + calls * 5 - 77; }
        int (*const steps[])(int) = {alpha, by_table, middle};
        int work(int x) { if (x > 3) puts(names[x & 3]); shared += x; return helper(x) + steps[x & 1](x) + zulu_level; }
        """,
        "version.c": """
        #include <stdio.h>
        #ifdef OFFICIAL
        #define TEXT "1.22.1 (a much longer text than in the other build, made elsewhere)"
        static int more_data[37] = {1, 2, 3}; static int more_zeroes[11];
        int more(int x) { more_data[x & 7] ^= more_zeroes[x & 3]; return more_data[x & 31] * x; }
        #else
        #define TEXT "1.22.1"
        int more(int x) { return x; }
        #endif
        char version_text[] = TEXT; static int calls;
        const char *version(void) { calls++; puts("version " TEXT); return version_text; }
        int middle(int x) { return more(x) + calls; }
        """,
        "zulu.c": """
        int zulu_level = 5; static int calls; static char room[100]; extern int shared;
        static __attribute__((noinline)) int helper(int x) { calls += 2; room[x & 63]++; return x ^ 7; }
        int zulu(int x) { zulu_level += shared; return helper(x) + room[x & 31]; }
        int work(int), alpha(int), middle(int); const char *version(void);
        int main(int argc, char **argv) { return work(argc) + zulu(argc) + alpha(argc) + argv[0][0] + version()[0]; }
        """,
    ]

    /// Address by name and source file.
    static func addresses(_ symbols: Indexed<Symbol>) -> [String: UInt64] {
        var (file, result) = ("", [String: UInt64]())
        for symbol in symbols {
            if symbol.kind == .file { file = symbol.name }
            guard symbol.sectionIndex != nil, symbol.size > 0 else { continue }
            result[symbol.binding == .local ? "\(file) \(symbol.name)" : symbol.name] = symbol.value
        }
        return result
    }
}

/// `--symbols` of a rebuild that is not the official file to the last byte.
@Suite struct TranslationTests {
    @Test(arguments: [
        ["-O2"], ["-O1"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"], ["-O2", "-fcf-protection"],
        ["-O2", "-fPIC", "-fno-plt"],
    ])
    func `symbols of another link get the official file's addresses, or none`(_ flags: [String]) throws {
        let program = try Relinked(flags: flags)
        let (truth, found) = (
            Relinked.addresses(program.truth.symbols), Relinked.addresses(program.image.symbolFile.symbols)
        )
        for (name, address) in found { #expect(truth[name] == address, "\(name) \(flags)") }
        // Whatever is used is found, shifted or not.
        for name in [
            "work", "unit.c helper", "unit.c by_table", "alpha", "zulu", "main", "zulu.c helper", "alpha_count",
            "zulu_level", "shared", "unit.c calls", "zulu.c calls", "unit.c limits", "version_text", "zulu.c room",
        ] {
            #expect(found[name] != nil, "\(name) \(flags)")
        }
        #expect(found["more"] == nil, "its code is another one")
        let moved = found.filter { Relinked.addresses(program.truth.symbols)[$0.key] != nil }.count
        #expect(moved > 15)
    }

    @Test(arguments: [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]])
    func `a unit of another link is matched with the official bytes`(_ flags: [String]) throws {
        let program = try Relinked(flags: flags)
        let truth = Relinked.addresses(program.truth.symbols)
        let matched = try #require(match(program.view, in: program.image))
        #expect(matched.mismatches.isEmpty, "\(matched.mismatches)")
        #expect(matched.matched.isSuperset(of: ["work", "helper", "by_table"]))
        #expect(matched.addresses["helper"] == truth["unit.c helper"])
        #expect(matched.addresses["calls"] == truth["unit.c calls"])
        #expect(matched.addresses["limits"] == truth["unit.c limits"])
        #expect(matched.addresses["zulu_level"] == truth["zulu_level"])
    }

    @Test func `the unit itself may hold what differs, as long as its functions do not`() throws {
        var sources = Relinked.sources
        sources["unit.c"] =
            "#ifdef OFFICIAL\nchar stamp[] = \"built far away, at another time\";\n"
            + "__attribute__((noinline)) int extra(int x) { return x * 11 + stamp[x & 7]; }\n#else\n"
            + "char stamp[] = \"here\"; int extra(int x) { return stamp[x]; }\n#endif\n" + (sources["unit.c"] ?? "")
        let program = try Relinked(sources, flags: ["-O2"], differing: ["version.c", "unit.c"])
        let truth = Relinked.addresses(program.truth.symbols)
        let matched = try #require(match(program.view, in: program.image))
        #expect(matched.matched.isSuperset(of: ["work", "helper", "by_table"]), "\(matched.mismatches)")
        #expect(!matched.matched.contains("extra"))
        #expect(matched.addresses["work"] == truth["work"])
        #expect(matched.addresses["calls"] == truth["unit.c calls"])
        #expect(matched.addresses["shared"] == truth["shared"])
    }

    @Test func `a function that differs by one instruction is named, with offset and both instructions`() throws {
        var sources = Relinked.sources
        sources["unit.c"] = sources["unit.c"]?.replacing(
            "x * 700", with: "x * FACTOR"
        ).replacing(
            "static int calls;",
            with: "#ifdef OFFICIAL\n#define FACTOR 700\n#else\n#define FACTOR 900\n#endif\nstatic int calls;",
            maxReplacements: 1)
        let program = try Relinked(sources, flags: ["-O2"], differing: ["version.c", "unit.c"])
        let matched = try #require(match(program.view, in: program.image))
        let why = try #require(matched.mismatches["helper"])
        #expect(why.contains("byte +0x") && why.contains("$0x2bc") && why.contains("$0x384"), "\(why)")
        #expect(!matched.matched.contains("helper"))
        #expect(matched.likelyCause.contains("another constant"))
    }

    /// Two functions that are alike, and their data, in another order.
    private static let twins = [
        "unit.c": """
        #define BUMP(n) static int n##_count[8], n##_total; int n##_bump(int x) { int s = x; \\
            for (int i = 0; i < x; i++) { s = s * 77 + i; if (s & 5) s ^= x << 3; } \\
            n##_count[x & 7] += s; return ++n##_total + s; }
        #ifdef OFFICIAL
        BUMP(y) BUMP(x)
        #else
        BUMP(x) BUMP(y)
        #endif
        """,
        "zulu.c": """
        int x_bump(int), y_bump(int);
        int zulu(int x) { int s = x; for (int i = 0; i < x; i++) { s = s * 177 + i; if (s & 9) s ^= x << 5; } return s; }
        int (*volatile table[])(int) = {x_bump, y_bump};
        int main(int argc, char **argv) { return table[argc & 1](argc) + zulu(argc) + argv[0][0]; }
        """,
    ]

    @Test(arguments: [["-O2"], ["-O2", "-fno-pie", "-no-pie"]])
    func `functions that are alike are not taken for each other`(_ flags: [String]) throws {
        let program = try Relinked(Self.twins, flags: flags, differing: ["unit.c"])
        let truth = Relinked.addresses(program.truth.symbols)
        for (name, address) in Relinked.addresses(program.image.symbolFile.symbols) {
            #expect(truth[name] == address, "\(name) \(flags)")
        }
        guard let matched = match(program.view, in: program.image) else { return }
        for name in matched.matched { #expect(matched.addresses[name] == truth[name], "\(name) \(flags)") }
    }

    @Test func `a datum that nothing equal refers to has no address, though its neighbour has`() throws {
        let sources = [
            "unit.c": """
            #ifdef OFFICIAL
            int b_var, extra_var[4], a_var; int more(int x) { return extra_var[x & 1] ^= x; }
            #else
            int b_var, a_var;
            #endif
            int work(int x)
            { int s = x; for (int i = 0; i < x; i++) { s = s * 77 + i; if (s & 5) s ^= x << 3; } return s + (a_var += s); }
            """,
            "zulu.c": """
            extern int b_var; int work(int);
            #ifdef OFFICIAL
            int main(int argc, char **argv) { b_var ^= 44; return work(argc) * argv[0][0] + b_var; }
            #else
            int main(int argc, char **argv) { return work(argc) + b_var + argv[0][0]; }
            #endif
            """,
        ]
        let program = try Relinked(sources, flags: ["-O2"], differing: ["unit.c", "zulu.c"])
        let matched = try #require(match(program.view, in: program.image))
        let truth = Relinked.addresses(program.truth.symbols)
        #expect(matched.addresses["work"] == truth["work"])
        #expect(matched.addresses["a_var"] == truth["a_var"])
        #expect(matched.addresses["b_var"] == nil)
    }
}
