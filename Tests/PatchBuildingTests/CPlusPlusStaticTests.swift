import TestSupport
import Testing

@testable import ModuleLinking

/// Static variables of functions: initialised once, at the first call, which the process has behind it.
@Suite struct CPlusPlusStaticTests {
    private static let sources = [
        "seed.cc": """
        int seed(int x) { return x * 7 + 1; }
        int scale(int x) { return x * 9 + 2; }
        """,
        "a.cc": """
        #include <string>
        int seed(int); int scale(int);
        struct Pair { int a, b; Pair(int x); ~Pair(); };
        Pair::Pair(int x) : a(x), b(x * 2) {}
        Pair::~Pair() { a = 0; }
        int work(int x) { static int first = seed(7); static Pair pair(x); return first + pair.b + x; }
        int loop(int x) { int s = 0; for (int i = 0; i < x; i++) { static Pair pair(5); s += pair.a + i; } return s; }
        """,
        "m.cc": """
        int work(int); int loop(int); int seed(int);
        int main(int c, char **) { return work(c) + loop(c) + seed(c); }
        """,
    ]

    private func rules(_ edits: [(String, String)], flags: [String] = ["-O2"]) throws -> [String] {
        try Patching(Self.sources, ["a.cc": edits], flags: flags).rules
    }

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"], ["-O2", "-fno-plt"], ["-O1"], ["-Os"]])
    func `another first value of a static variable is refused`(_ flags: [String]) throws {
        #expect(Set(try rules([("seed(7)", "seed(8)")], flags: flags)) == ["data-initial-value"])
        #expect(Set(try rules([("seed(7)", "scale(7)")], flags: flags)) == ["data-initial-value"])
        #expect(Set(try rules([("pair(5)", "pair(i + 5)")], flags: flags)) == ["data-initial-value"])
        #expect(Set(try rules([("seed(7)", "x > 3 ? seed(7) : 9")], flags: flags)) == ["data-initial-value"])
    }

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"], ["-O2", "-fno-plt"], ["-O1"], ["-Os"]])
    func `what stands around an initialiser may change`(_ flags: [String]) throws {
        #expect(try rules([("pair.b + x;", "pair.b * x;")], flags: flags).isEmpty)
        // More values to keep, so that others move to other registers.
        let busy = "int y = scale(x), z = seed(x), v = scale(z); s += y; if (s > 90) { s -= seed(v) * z; } "
        #expect(try rules([("int s = 0;", "int s = 0; " + busy)], flags: flags).isEmpty)
        let version = try runOrThrow("g++", ["-dumpversion"]).stdout.prefix { $0.isNumber }
        // Documentation/limits.md: refused without need, since the initialiser passes a value through another register.
        let found = try rules([("s += pair.a + i;", "s += pair.a * i + scale(s);")], flags: flags)
        withKnownIssue("GCC 14", isIntermittent: true) {
            #expect(found.isEmpty)
        } when: {
            Int(version).map { $0 >= 14 } ?? false
        }
    }

    private static let inputs = sources.merging([
        "a.cc": """
        int seed(int); int scale(int); int sum(const int *, int);
        struct Pair { int a, b; Pair(int x); };
        Pair::Pair(int x) : a(x), b(x * 2) {}
        int work(int x) { if (x > 99) return 0; static Pair pair(x); return pair.b + x; }
        int loop(int x) { int v[2] = {x, 1}; static Pair pair(sum(v, 2)); return pair.b * 3 + x; }
        """,
        "seed.cc": """
        int seed(int x) { return x * 7 + 1; }
        int scale(int x) { return x * 9 + 2; }
        int sum(const int *v, int n) { int s = 0; while (n-- > 0) s += v[n]; return s; }
        """,
    ]) { $1 }

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"], ["-O2", "-fstack-protector-all"], ["-O1"], ["-O0"]])
    func `what an initialiser works on has to be computed as before`(_ flags: [String]) throws {
        func rules(_ old: String, _ new: String) throws -> [String] {
            try Patching(Self.inputs, ["a.cc": [(old, new)]], flags: flags).rules
        }
        #expect(try rules("return 0; static", "return 0; x += 3; static") == ["data-initial-value"])
        #expect(try rules("{x, 1}", "{x, 2}") == ["data-initial-value"])
        #expect(try rules("pair.b + x", "pair.b - x").isEmpty)
        #expect(try rules("pair.b * 3 + x", "pair.b * 5 - x").isEmpty)
    }

    @Test func `clang's initialisers are compared, too, and its tables of cleanups travel`() throws {
        func patching(_ edit: (String, String)) throws -> Patching {
            try Patching(Self.sources, ["a.cc": [edit]], compiler: "clang++")
        }
        #expect(Set(try patching(("seed(7)", "seed(8)")).rules) == ["data-initial-value"])
        let same = try patching(("pair.b + x;", "pair.b * x;"))
        #expect(same.rules.isEmpty)
        let extraction = try extract(#require(same.plan))
        #expect(extraction.object.sections.contains { $0.name.hasPrefix(".gcc_except_table") })
    }

    @Test func `a variable that was computed and is a constant now keeps what was computed`() throws {
        let constant = ("static int first = seed(7);", "static int first = 0; first += x;")
        #expect(Set(try rules([constant])) == ["data-initial-value"])
        let renamed = try rules([("static int first = seed(7)", "static int other = seed(7)"), ("first +", "other +")])
        #expect(renamed.contains("lost-state"))
    }

    @Test func `a thread's own variable is initialised in a way that can't be compared`() throws {
        let sources = Self.sources.merging([
            "a.cc": """
            int seed(int);
            int work(int x) { thread_local int first = seed(7); return first + x; }
            int loop(int x) { return x + 1; }
            """
        ]) { $1 }
        #expect(try Patching(sources, ["a.cc": [("seed(7)", "seed(8)")]]).rules == ["data-initial-value"])
        #expect(try Patching(sources, ["a.cc": [("x + 1", "x + 2")]]).rules.isEmpty)
    }

    private static let tables = Self.sources.merging([
        "a.cc": """
        int seed(int);
        struct Table { int cells[8]; };
        int work(int x) {
            static const Table table = [] () __attribute__((noinline)) {
                Table made; for (int i = 0; i < 8; i++) made.cells[i] = seed(i) * 3; return made; }();
            return table.cells[x & 7];
        }
        static __attribute__((noinline)) Table make(int x) {
            Table made; for (int &c : made.cells) c = seed(x); return made; }
        int loop(int x) { static const Table table = make(4); return table.cells[x & 7]; }
        """
    ]) { $1 }

    @Test func `a function that only an initialiser calls has run already`() throws {
        let lambda = try Patching(Self.tables, ["a.cc": [("* 3", "* 4")]])
        #expect(Set(lambda.rules) == ["constructors"])
        let local = try Patching(Self.tables, ["a.cc": [("c = seed(x)", "c = seed(x) + 1")]])
        #expect(local.rules == ["constructors"])
        let other = try Patching(Self.tables, ["a.cc": [("table.cells[x & 7]", "table.cells[x & 3]")]])
        #expect(other.rules.isEmpty)
        #expect(other.functions == ["_Z4worki"])
    }

    private static let shared = [
        "one.h": """
        struct One { int n; One(int x); };
        inline One &one() { static One made(11); return made; }
        """,
        "seed.cc": "#include \"one.h\"\nOne::One(int x) : n(x * 3) {}\nint other(int x) { return one().n + x; }",
        "a.cc": """
        #include "one.h"
        int work(int x) { return x * 3 + x / 7; }
        int third(int x) { return one().n * x; }
        """,
        "m.cc": """
        int work(int); int other(int); int third(int);
        int main(int c, char **) { return work(c) + other(c) + third(c); }
        """,
    ]

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"]])
    func `an old variable of an inline function is used by more functions`(_ flags: [String]) throws {
        let used = try Patching(Self.shared, ["a.cc": [("x / 7", "one().n")]], flags: flags)
        #expect(used.rules.isEmpty)
        #expect(used.functions.filter { !$0.hasPrefix("+") } == ["_Z4worki"])
        let changed = try Patching(Self.shared, ["one.h": [("made(11)", "made(12)")]], flags: flags)
        #expect(Set(changed.rules) == ["data-initial-value"])
    }
}
