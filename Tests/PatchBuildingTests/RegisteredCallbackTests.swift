import Testing

@testable import Guarding

/// What has been registered calls as it was registered (trap callback-registered).
@Suite struct RegisteredCallbackTests {
    private static let library = """
        typedef int (*one)(int); typedef int (*two)(int, void *);
        static one first; static two second; static void *context;
        void lib_reg(one f) { first = f; }
        void lib_reg2(two f, void *c) { second = f; context = c; }
        int lib_run(int x) { return second ? second(x, context) : first ? first(x) : 0; }
        """
    private static let sources = [
        "l.c": library,
        "a.c": """
        void lib_reg(int (*)(int)); void lib_reg2(int (*)(int, void *), void *);
        static int offset = 3;
        static int handle(int x) { return x / 7 + offset; }
        void start(void) { lib_reg(handle); }
        int work(int x) { return x * 3 / 5; }
        """,
        "m.c": "void start(void); int lib_run(int); int work(int); "
            + "int main(int c, char **v) { (void)v; start(); while (c--) work(lib_run(c)); return 0; }",
    ]
    private static let body = ("return x / 7 + offset;", "return x / 7 + offset + 1;")

    @Test(arguments: [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]])
    func `trap callback-registered: with its registration`(flags: [String]) throws {
        let edits = [
            (
                "static int handle(int x) { return x / 7 + offset; }",
                "static int handle(int x, void *p) { return x / 7 + *(int *)p; }"
            ),
            ("lib_reg(handle)", "lib_reg2(handle, &offset)"),
        ]
        #expect(try Patching(Self.sources, ["a.c": edits], flags: flags).rules == ["changed-signature"])
        #expect(try Patching(Self.sources, ["a.c": [Self.body]], flags: flags).functions == ["handle"])
    }

    @Test func `trap callback-registered: a signal's handler`() throws {
        let sources = [
            "a.c": """
            #include <signal.h>
            #include <stddef.h>
            static volatile sig_atomic_t seen;
            static void on_signal(int n) { seen += n / 3; }
            void start(void) { signal(SIGUSR1, on_signal); }
            """,
            "m.c": "void start(void); int main(void) { start(); for (;;) ; }",
        ]
        let edits = [
            (
                "static void on_signal(int n) { seen += n / 3; }",
                "static void on_signal(int n, siginfo_t *i, void *c) { (void)c; if (i->si_code <= 0) seen += n / 3; }"
            ),
            (
                "signal(SIGUSR1, on_signal);",
                "struct sigaction a = {0}; a.sa_sigaction = on_signal; a.sa_flags = SA_SIGINFO; sigaction(SIGUSR1, &a, NULL);"
            ),
        ]
        #expect(try Patching(sources, ["a.c": edits]).rules == ["changed-signature"])
    }

    @Test func `trap callback-registered: another unit registers it`() throws {
        let sources = Self.sources.merging([
            "a.c": "int handle(int x) { return x / 7 + 1; } int work(int x) { return x * 3 / 5; }",
            "s.c": "void lib_reg(int (*)(int)); int handle(int); void start(void) { lib_reg(handle); }",
        ]) { $1 }
        let edits = [
            ("int handle(int x) { return x / 7 + 1; }", "int handle(int x, void *p) { return p ? x / 7 + 1 : x; }")
        ]
        #expect(try Patching(sources, ["a.c": edits]).rules == ["changed-signature"])
    }

    @Test func `trap callback-registered: a table of them, and C++`() throws {
        let sources = [
            "a.cc": """
            struct entry { const char *name; long (*call)(long); };
            static long parse(long x) { return x / 7; }
            extern const entry table[] = {{"parse", parse}};
            long work(long x) { return table[0].call(x) * 3 / 5; }
            """,
            "m.cc": "long work(long); int main(int c, char **) { return work(c); }",
        ]
        let edits = [
            ("long (*call)(long);", "long (*call)(long, long);"),
            ("long parse(long x) { return x / 7; }", "long parse(long x, long y) { return x / (y | 1); }"),
            ("call(x) * 3", "call(x, 9) * 3"),
        ]
        #expect(!(try Patching(sources, ["a.cc": edits]).rules.isEmpty))
    }

    @Test func `a function that is only called may take other arguments`() throws {
        let sources = [
            "a.c":
                "__attribute__((noinline)) int step(int x) { return x / 7; } int work(int x) { return step(x) * 3; }",
            "m.c": Patching.main("work"),
        ]
        let edits = [
            ("int step(int x) { return x / 7; }", "int step(int x, int y) { return x / (y | 1); }"),
            ("step(x)", "step(x, 9)"),
        ]
        #expect(try Patching(sources, ["a.c": edits]).functions == ["step", "work"])
    }

    @Test func `a decision lets it be`() throws {
        let edits = [
            (
                "static int handle(int x) { return x / 7 + offset; }",
                "static int handle(int x, void *p) { return x / 7 + *(int *)p; }"
            ),
            ("lib_reg(handle)", "lib_reg2(handle, &offset)"),
        ]
        let decided = try Patching(Self.sources, ["a.c": edits], allowed: ["changed-signature=handle (a.c)"])
        #expect(decided.decisions.map(\.rule) == ["changed-signature"])
    }
}
