import Testing

@testable import Guarding

@Suite struct GuardTests {
    private static func labels(_ kind: String) -> [String: String] {
        [
            "a.c": """
            int sink(int);
            int work(int x) {
                static \(kind) void *table[] = {&&a, &&b, &&c};
                int n = x;
                goto *table[n & 1];
                a: n = sink(n + 1000); goto *table[2];
                b: n = sink(n + 7); goto *table[2];
                c: return n;
            }
            """,
            "m.c": "int sink(int x) { return x * 3; }\n" + Patching.main("work"),
        ]
    }

    @Test func `a table of labels goes with its function, though its bytes are the same`() throws {
        let patching = try Patching(Self.labels("const"), ["a.c": [("1000", "2000")]])
        #expect(patching.functions == ["work"])
        // Bound to the target's table, new code would jump into the old body.
        #expect(patching.bindings.keys.contains { $0.hasPrefix("table") } == false)
    }

    @Test func `a writable table of labels of a changed function is refused`() throws {
        let patching = try Patching(Self.labels(""), ["a.c": [("1000", "2000")]], flags: ["-O0"])
        #expect(Set(patching.rules) == ["changed-constant-escapes"])
    }

    @Test func `what chooses an implementation has chosen already`() throws {
        let sources = [
            "a.c": """
            extern int base;
            static __attribute__((noinline)) int slow(int x) { return x * 3; }
            static __attribute__((noinline)) int fast(int x) { return x * 3 + 7; }
            static int (*pick(void))(int) { return base > 5 ? fast : slow; }
            int calc(int x) __attribute__((ifunc("pick")));
            int work(int x) { return calc(x) + 1; }
            """,
            "m.c": "int base;\n" + Patching.main("work"),
        ]
        let patching = { try Patching(sources, ["a.c": [($0, $1)]]).rules }
        #expect(try patching("base > 5", "base > 6") == ["constructors"])
        let implementation = try Patching(sources, ["a.c": [("x * 3;", "x * 4;")]])
        #expect(implementation.functions == ["slow"])
        // The symbol is the chooser's address; where the choice lies, nothing tells.
        #expect(try patching("calc(x) + 1", "calc(x) + 2") == ["unresolved-symbol"])
    }

    private static let counting = [
        "a.c": "static int used; int work(int x) { static int calls; used += x; return used + ++calls; }",
        "m.c": Patching.main("work"),
    ]

    @Test(arguments: [
        [("int used", "int spent"), ("used += x", "spent += x"), ("used + ", "spent + ")],
        [("int calls", "long count"), ("++calls", "++count")],
        [("int used", "struct { int used; } all"), ("used += x", "all.used += x"), ("used + ", "all.used + ")],
    ])
    func `a variable that another takes the place of would lose its value`(_ edits: [(String, String)]) throws {
        #expect(try Patching(Self.counting, ["a.c": edits]).rules == ["lost-state"])
    }

    @Test func `a variable that goes, or one that comes, loses nothing`() throws {
        let gone = try Patching(Self.counting, ["a.c": [("static int calls; ", ""), ("++calls", "x")]])
        #expect(gone.functions == ["work"])
        let fresh = try Patching(Self.counting, ["a.c": [("static int calls; ", "static int calls, more; more += x;")]])
        #expect(fresh.functions == ["work"])
    }

    private static let callback = [
        "a.c":
            "void keep(int (*)(int)); static int handle(int x) { return x * 3; } void start(void) { keep(handle); } int work(int x) { return x; }",
        "m.c": "int (*kept)(int); void keep(int (*f)(int)) { kept = f; } void start(void);\n"
            + "int work(int); int main(int c, char **v) { (void)v; start(); return work(c) + kept(c); }",
    ]

    @Test func `a callback that vanishes may be called for ever`() throws {
        let renamed = try Patching(
            Self.callback,
            [
                "a.c": [
                    ("int handle(int x) { return x * 3; }", "int safe(int x) { return x > 9 ? 0 : x * 3; }"),
                    ("keep(handle)", "keep(safe)"),
                ]
            ])
        #expect(renamed.rules == ["vanished-function"])
        let kept = try Patching(Self.callback, ["a.c": [("return x * 3", "return x > 9 ? 0 : x * 3")]])
        #expect(kept.functions == ["handle"])
    }

    private static let commands = [
        "a.c": """
        struct command { const char *name; int value; };
        static const struct command one __attribute__((section("commands"), used)) = {"one", 1};
        int work(int x) { return x * 7 / (x + 9) + 1; }
        """,
        "m.c": """
        struct command { const char *name; int value; };
        extern const struct command __start_commands[], __stop_commands[];
        int work(int);
        int main(int c, char **v) {
            (void)v;
            for (const struct command *p = __start_commands; p < __stop_commands; p++) c += p->value;
            return work(c);
        }
        """,
    ]

    @Test func `a list that the linker collects can't grow`() throws {
        let more = try Patching(
            Self.commands,
            [
                "a.c": [
                    ("x + 9", "x + 2"),
                    (
                        "",
                        "\nstatic const struct command two __attribute__((section(\"commands\"), used)) = {\"two\", 2};"
                    ),
                ]
            ])
        #expect(more.rules == ["constructors"])
        let other = try Patching(Self.commands, ["a.c": [("\"one\", 1", "\"one\", 3"), ("x + 9", "x + 2")]])
        #expect(!other.rules.isEmpty)
        let neither = try Patching(Self.commands, ["a.c": [("x + 9", "x + 2")]])
        #expect(neither.functions == ["work"])
    }

    private static let once = [
        "a.c": """
        int puts(const char *);
        #define ONCE(m) do { static int once; if (!once++) puts(m); } while (0)
        __attribute__((noinline)) int quiet(int x) { ONCE("a"); if (x > 2) ONCE("b"); return x; }
        int work(int x) { return quiet(x) + 3; }
        """,
        "m.c": Patching.main("work"),
    ]

    @Test func `static locals of one name in one function hinder only its own change`() throws {
        #expect(try Patching(Self.once, ["a.c": [("+ 3", "+ 4")]]).functions == ["work"])
        #expect(try Set(Patching(Self.once, ["a.c": [("x > 2", "x > 3")]]).rules) == ["ambiguous-symbol"])
    }

    @Test func `a common symbol keeps its size and stays without a value`() throws {
        let sources = ["a.c": "int room[4]; int work(int x) { return room[x & 3] + x; }", "m.c": Patching.main("work")]
        let flags = ["-O2", "-fcommon"]
        let larger = try Patching(sources, ["a.c": [("room[4]", "room[8]")]], flags: flags)
        #expect(larger.rules == ["data-size"])
        let valued = try Patching(sources, ["a.c": [("room[4]", "room[4] = {1}")]], flags: flags)
        #expect(!valued.rules.isEmpty)
        #expect(try Patching(sources, ["a.c": [("+ x", "+ x * 9")]], flags: flags).functions == ["work"])
    }

    @Test(arguments: ["NEIGHBOUR", "STRING", "TABLE"])
    func `a neighbour that the target has otherwise may hold what changes`(_ difference: String) throws {
        let unit = """
            int puts(const char *);
            #ifdef STRING
            #define TEXT "text"
            #else
            #define TEXT "test"
            #endif
            static const int table[4] = {1, 2, 3,
            #ifdef TABLE
                5
            #else
                4
            #endif
            };
            static inline int limit(int x) { return x > 64 ? 64 : x; }
            __attribute__((noinline)) int neighbour(int x) {
            #ifdef NEIGHBOUR
                return limit(x) * 5 + table[x & 3] + puts(TEXT);
            #else
                return x * 5 + table[x & 3] + puts(TEXT);
            #endif
            }
            int work(int x) { return neighbour(x) + limit(x + 900); }
            """
        let sources = ["a.c": unit, "m.c": Patching.main("work")]
        let edits = ["a.c": [("x > 64 ? 64", "x > 32 ? 32")]]
        #expect(try Patching(sources, edits, targetFlags: ["-D\(difference)"]).rules == ["unmatched-function"])
        #expect(try Patching(sources, edits).functions == ["work"])
    }

    @Test(arguments: [
        ("TABLE; static int calls; int work(int x) { return table[x & 1] + calls++; }", []),
        ("TABLE; static int calls; int work(int x) { return table[x & 1]++ + calls++; }", ["table"]),
        ("static int calls; int work(int x) { TABLE; return table[x & 1] + calls++; }", []),
        ("static int calls; int work(int x) { TABLE; return table[x & 1]++ + calls++; }", ["work()::table"]),
        // What differs between two of one name is not looked into.
        (
            "static int calls; int other(int x) { static int table[2]; return table[x & 1]++; } "
                + "int work(int x) { TABLE; return table[x & 1] + calls++; }", ["work()::table"]
        ),
    ])
    func `a table that nothing writes has no layout in the process`(_ text: String, _ refused: [String]) throws {
        let source = text.replacing("TABLE", with: "static int table[] = {3, 4}")
        let patching = try Patching(
            ["a.c": source, "m.c": Patching.main("work")],
            ["a.c": [("4}", "4, 5, 6}"), ("table[x & 1]", "table[x & 3]")]])
        #expect(patching.subjects(of: .typeLayout) == refused)
        // Its size is another rule's matter, and so is its address.
        let others: Set = ["type-layout", "data-size", "changed-constant-escapes"]
        #expect(others.isSuperset(of: patching.rules))
    }
}
