import Testing

@testable import PatchBuilding

/// What the target's copy of a definition can't be used for any more, each beside a neighbour that is harmless.
@Suite struct GuardObjectTests {
    private func rules(
        _ unit: String, _ edits: [(String, String)], flags: [String] = ["-O2"],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [String] {
        try Patching(["a.c": unit, "m.c": Patching.main("work")], ["a.c": edits], flags: flags).rules
    }

    private func passes(_ unit: String, _ edits: [(String, String)], flags: [String] = ["-O2"]) throws -> [String] {
        try Patching(["a.c": unit, "m.c": Patching.main("work")], ["a.c": edits], flags: flags).functions
    }

    private static let constant =
        "const int limit[4] = {4, 5, 6, 7}; int level[4] = {1}; int work(int x) { return limit[x & 3] + level[x & 1]; }"

    @Test func `read-only-data: a constant that is written now lies in memory that can't be`() throws {
        #expect(
            try rules(Self.constant, [("const int", "int"), ("return", "limit[1]++; return")]) == ["read-only-data"])
        // Relocated constants are written by the dynamic linker only.
        let names =
            "static const char *const names[2] = {\"a\", \"b\"}; const char *get(int i) { return names[i]; } "
            + "int work(int x) { return get(x & 1)[0]; }"
        #expect(
            try rules(names, [("*const", "*"), ("const char *get(int i) {", "const char *get(int i) { names[1] = 0;")])
                .contains("read-only-data"))
        #expect(try passes(Self.constant, [("return", "level[1]++; return")]) == ["work"])
    }

    private static let vectors =
        "static long buffer[64]; int work(int x) { for (int i = 0; i < 64; i++) buffer[i] += x; return buffer[1]; }"

    @Test func `data-size: an alignment that the target's variable lacks is refused`() throws {
        let raised = ("buffer[64]", "buffer[64] __attribute__((aligned(8192)))")
        #expect(try rules(Self.vectors, [raised, ("+= x", "+= x * 3")], flags: ["-O3"]) == ["data-size"])
        #expect(try passes(Self.vectors, [("+= x", "+= x * 3")], flags: ["-O3"]) == ["work"])
    }

    private static let resuming = """
        int sink(int x); int sink(int x) { return x; }
        int work(int x) { static void *saved; if (saved && x > 5) goto *saved; saved = &&late; x++; late: return sink(x) * 3; }
        """

    @Test func `trap changed-constant-escapes: a label's address that the function has stored`() throws {
        for flags in [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]] {
            #expect(try rules(Self.resuming, [("* 3", "* 5")], flags: flags) == ["changed-constant-escapes"])
        }
        let calling =
            "int sink(int x); int (*kept)(int); int sink(int x) { kept = sink; return x + 4; } "
            + "int work(int x) { return sink(x) * 3; }"
        #expect(try passes(calling, [("+ 4", "+ 5")]).contains("sink"))
    }

    @Test func `trap changed-constant-escapes: the address that only old code has stored`() throws {
        let unit = """
            const int *kept; static const int table[4] = {5, 8, 2, 9};
            int first(int x) { kept = table; return x + table[x & 3]; }
            int work(int x) { return first(x) * (kept ? *kept : 1) + table[x & 1]; }
            """
        let flags = ["-O2", "-fno-pie", "-no-pie"]
        let loses = ("kept = table; return x", "return x * 2")
        #expect(try rules(unit, [("{5", "{6"), loses], flags: flags) == ["changed-constant-escapes"])
        #expect(try passes(unit, [loses], flags: flags) == ["first", "work"])
        let direct = "static const int table[4] = {5, 8, 2, 9}; int work(int x) { return x + table[x & 3]; }"
        #expect(try passes(direct, [("{5", "{6")], flags: flags) == ["work"])
    }

    @Test func `constructors: a variable that moves into a section that is read as a whole`() throws {
        let unit = "int cell = 4; int work(int x) { return cell++ + x; }"
        #expect(
            try rules(unit, [("int cell", "__attribute__((section(\"cells\"))) int cell"), ("+ x", "+ x * 2")])
                == ["constructors"])
        #expect(try passes(unit, [("+ x", "+ x * 2")]) == ["work"])
    }

    private static let listing = """
        asm(".section marks,\\"aw\\"\\n.long 5\\n.text");
        extern int __start_marks[]; int work(int x) { return __start_marks[0] + x; }
        """

    @Test func `constructors: a list that an asm statement makes`() throws {
        #expect(try rules(Self.listing, [(".long 5", ".long 6"), ("+ x", "+ x * 2")]) == ["constructors"])
        #expect(try passes(Self.listing, [("+ x", "+ x * 2")]) == ["work"])
    }

    private static let listed = """
        __attribute__((noinline)) int sink(int x) { asm volatile(""); return x; }
        int work(int x) { x = sink(x); asm volatile("1: nop\\n.pushsection places,\\"aw\\"\\n.quad 1b\\n.popsection"); return sink(x) * 3; }
        int other(int x) { return sink(x) * 31; }
        """

    @Test func `constructors: a list of places inside of a function that changes`() throws {
        #expect(try rules(Self.listed, [("* 3;", "* 5;")]) == ["constructors"])
        #expect(try passes(Self.listed, [("* 31", "* 33")]) == ["other"])
    }

    @Test func `data-initial-value: a variable of an asm statement`() throws {
        let unit =
            "asm(\".data\\n.globl cell\\ncell: .long 5\\n.text\"); extern int cell; int work(int x) { return cell++ + x; }"
        #expect(try rules(unit, [(".long 5", ".long 6"), ("+ x", "+ x * 2")]) == ["data-initial-value"])
        #expect(try passes(unit, [("+ x", "+ x * 2")]) == ["work"])
    }

    private static let starting = """
        int state;
        static __attribute__((noinline)) void set(int x) { state = x * 7; }
        static __attribute__((noinline)) void both(int x) { state += x * 9; }
        __attribute__((constructor(200))) static void start(void) { set(1); both(2); }
        int work(int x) { both(x); return x + state; }
        """

    @Test func `constructors: what has run already and will not run again`() throws {
        #expect(try rules(Self.starting, [("set(1)", "set(3)")]) == ["constructors"])
        #expect(try rules(Self.starting, [("x * 7", "x * 8")]) == ["constructors"])
        #expect(try rules(Self.starting, [("200", "300"), ("x + state", "x - state")]) == ["constructors"])
        #expect(
            try rules(
                Self.starting,
                [
                    ("x + state", "x - state"),
                    ("", "__attribute__((destructor)) static void end(void) { state = 0; }"),
                ]
            )
            .contains("constructors"))
        #expect(try passes(Self.starting, [("x * 9", "x * 8")]).contains("both"))
    }

    private static let renamed = """
        int a(int x) { return x * 313; } int b(int x) { return x * 515; }
        int pick(int) __attribute__((alias("a"))); int work(int x) { return x / 7 + x * 25 + 2; }
        """

    @Test func `trap aliases: a name that stands for another function now`() throws {
        #expect(try rules(Self.renamed, [("alias(\"a\")", "alias(\"b\")"), ("+ 2", "+ 3")]) == ["aliases"])
        #expect(try passes(Self.renamed, [("x * 313", "x * 314")]) == ["a"])
    }

    @Test func `vanished-function: a clone that is only called may go`() throws {
        let unit = """
            int puts(const char *);
            static __attribute__((noinline)) int f(int a, int m) { if (m == 3) puts("x"); return a * m + m; }
            int work(int x) { return f(x, 3); } int other(int x) { return f(x + 1, 3) * 2; }
            """
        #expect(try passes(unit, [("f(x, 3)", "f(x, 4)")]) == ["other", "work", "+f"])
    }

    @Test func `entry-none: a function shorter than a jump is refused, a longer one is not`() throws {
        #expect(try rules("int work(int x) { return x; }", [("return x", "return x * 3 + 1")]) == ["entry-none"])
        #expect(try passes("int work(int x) { return x * 25 / 7; }", [("25", "35")]) == ["work"])
    }

    @Test func `relocation-type: a place inside of another function is refused, the function is not`() throws {
        let inner =
            "asm(\".text\\n.globl raw\\n.type raw,@function\\nraw: lea 1(%rdi), %eax\\n inner: imul $7, %eax\\n ret\\n"
            + " .size raw, .-raw\"); int raw(int); extern char inner[]; long work(int x) { return raw(x) + 1; }"
        #expect(
            try rules(inner, [("raw(x) + 1", "raw(x) + (long)inner")], flags: ["-O2", "-fno-pie", "-no-pie"]).isEmpty
                == false)
        #expect(try passes(inner, [("raw(x) + 1", "raw(x) * 9")]) == ["work"])
    }
}
