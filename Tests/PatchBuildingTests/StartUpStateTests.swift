import Testing

@testable import Guarding

/// State that only code which has run already would set up (trap initialiser-has-run).
@Suite struct StartUpStateTests {
    private static let server = """
        #include <stdlib.h>
        int handle(int); void set_up(int); void add(int);
        int main(int c, char **v) {
            (void)v;
            set_up(c);
            for (int i = 0; i < c; i++) if (handle(i)) add(i);
            return 0;
        }
        """
    private static let sources = [
        "m.c": server,
        "a.c": """
        #include <stdlib.h>
        int seen;
        __attribute__((noinline)) void set_up(int c) { seen = c * 3 / 2; }
        __attribute__((noinline)) void add(int x) { seen += x / 3; }
        __attribute__((noinline)) int handle(int x) { return seen / (x + 1); }
        """,
    ]

    private func rules(_ edits: [(String, String)], flags: [String] = ["-O2"], allowed: [String] = []) throws
        -> [String]
    {
        try Patching(Self.sources, ["a.c": edits], flags: flags, allowed: allowed).rules
    }

    @Test(
        arguments: [
            // A limit, a table, a pointer, and one that is set through its address.
            [
                ("int seen;", "int seen; static int limit;"),
                ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
                ("return seen", "if (x > limit) return 0; return seen"),
            ],
            [
                ("int seen;", "int seen; static unsigned char table[256];"),
                ("seen = c * 3 / 2;", "seen = c * 3 / 2; for (int i = 0; i < 256; i++) table[i] = i * c;"),
                ("return seen", "return table[x & 255] + seen"),
            ],
            [
                ("int seen;", "int seen; static int *store;"),
                ("seen = c * 3 / 2;", "seen = c * 3 / 2; store = calloc(c, sizeof *store);"),
                ("return seen", "store[x]++; return seen"),
            ],
            [
                (
                    "int seen;",
                    "int seen; struct pool { int size; void *first; } pool; void fill(struct pool *p, int c);"
                ),
                ("seen = c * 3 / 2;", "seen = c * 3 / 2; fill(&pool, c);"),
                (
                    "__attribute__((noinline)) void add",
                    "__attribute__((noinline)) void fill(struct pool *p, int c) { p->size = c; p->first = malloc(c); }"
                        + " __attribute__((noinline)) void add"
                ),
                ("return seen", "return pool.size + seen"),
            ],
        ], [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]])
    func `trap initialiser-has-run`(_ edits: [(String, String)], flags: [String]) throws {
        #expect(try rules(edits, flags: flags) == ["initialiser-has-run"])
    }

    @Test func `trap initialiser-has-run: a variable that was there`() throws {
        let sources = Self.sources.merging([
            "a.c": (Self.sources["a.c"] ?? "").replacing("int seen;", with: "int seen; int limit;")
        ]) { $1 }
        let edits = [
            ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
            ("return seen", "if (x > limit) return 0; return seen"),
        ]
        #expect(try Patching(sources, ["a.c": edits]).rules == ["initialiser-has-run"])
    }

    @Test func `trap initialiser-has-run: a constructor`() throws {
        let sources = Self.sources.merging([
            "a.c": (Self.sources["a.c"] ?? "") + "__attribute__((constructor)) static void early(void) { add(9); }"
        ]) { $1 }
        let edits = [
            ("int seen;", "int seen; static int limit;"), ("{ add(9); }", "{ add(9); limit = 100; }"),
            ("return seen", "if (x > limit) return 0; return seen"),
        ]
        #expect(try Patching(sources, ["a.c": edits]).rules.contains("initialiser-has-run"))
    }

    @Test(arguments: [
        // Whoever uses it sets it up; code that runs again sets it; nobody but start-up uses it; it starts as it should.
        [
            ("int seen;", "int seen; static int limit;"),
            ("return seen", "if (!limit) limit = atoi(\"100\"); if (x > limit) return 0; return seen"),
        ],
        [
            ("int seen;", "int seen; static int limit;"), ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
            ("seen += x / 3", "seen += x / 3; limit = x * 7"), ("return seen", "if (x > limit) return 0; return seen"),
        ],
        [
            ("int seen;", "int seen; static volatile int limit;"),
            ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
            ("return seen", "return 3 + seen"),
        ],
        [
            ("int seen;", "int seen; static int count;"), ("return seen", "if (++count > 100) return 0; return seen"),
        ],
    ])
    func `state that running code sets up`(_ edits: [(String, String)]) throws {
        #expect(try rules(edits) == [])
    }

    @Test func `what a loop of main calls runs again`() throws {
        let sources = [
            "m.c": """
            int handle(int); void again(int);
            int main(int c, char **v) { (void)v; for (int i = 0; i < c; i++) { again(i); handle(i); } return 0; }
            """,
            "a.c": """
            int seen;
            __attribute__((noinline)) void again(int c) { seen = c * 3 / 2; }
            __attribute__((noinline)) int handle(int x) { return seen / (x + 1); }
            """,
        ]
        let edits = [
            ("int seen;", "int seen; static int limit;"), ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
            ("return seen", "if (x > limit) return 0; return seen"),
        ]
        #expect(try Patching(sources, ["a.c": edits]).functions == ["again", "handle"])
    }

    @Test func `a decision lets it be`() throws {
        let edits = [
            ("int seen;", "int seen; static int limit;"), ("seen = c * 3 / 2;", "seen = c * 3 / 2; limit = c * 100;"),
            ("return seen", "if (x > limit) return 0; return seen"),
        ]
        #expect(try rules(edits, allowed: ["initialiser-has-run=limit (a.c)"]) == [])
    }
}
