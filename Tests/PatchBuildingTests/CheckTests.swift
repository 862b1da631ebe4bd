import Diagnostics
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Targets

@Suite("check")
struct CheckTests {
    /// Functions of several shapes: leaf, loop, switch, call, static, cold half.
    private static let source = """
        #include <stdlib.h>
        static int hidden(int a) { return a ^ 5; }
        int (*pointer)(int) = hidden;
        int leaf(int a) { return a * 3; }
        void empty(void) {}
        long loop(long *p) { long s = 0; while (*p) s += *p++; return s; }
        int chosen(int a) {
            switch (a) {
            case 0: return leaf(7);
            case 1: return rand();
            case 2: return abs(rand());
            case 3: return leaf(rand());
            case 4: return 11 * rand();
            case 5: exit(3);
            default: return pointer(a);
            }
        }
        int guarded(char *p) { if (__builtin_expect(!p, 0)) abort(); return chosen(*p); }
        """
    private static let library = ["-O2", "-fPIC", "-shared", "-nostartfiles", "-Wl,--build-id=sha1"]

    private func check(_ source: String, _ flags: [String], _ names: [String] = []) throws -> CheckReport {
        try checkEntries(of: try Fixture.compile(source, flags, output: "lib.so"), functions: names)
    }

    @Test(
        "the flag alone makes every function padded",
        arguments: [["-fcf-protection=none"], ["-fcf-protection"], ["-O0"], ["-Os", "-falign-functions=1"]])
    func padded(_ flags: [String]) throws {
        let report = try check(Self.source, Self.library + ["-fpatchable-function-entry=5"] + flags)
        let names = report.functions.map(\.name)
        for name in ["hidden", "leaf", "empty", "loop", "chosen", "guarded"] { #expect(names.contains(name)) }
        #expect(report.totals.functions == report.functions.count)
        // Without alignment, a pad may cross a page only where the code is longer than one: not here.
        #expect(report.functions.filter { $0.kind != .padded }.map(\.name) == [])
        #expect(report.totals.padded == report.totals.functions)
        #expect(!report.description.contains("Pads are not needed"))
    }

    @Test("the makefile template gives pads")
    func makefile() throws {
        let template = packageRoot + "/Templates/autotools/patchable.mk"
        let directory = try Fixture.cached([readText(template), Self.source]) { scratch in
            try writeText(Self.source, to: scratch + "/main.c")
            let rule = "lib.so: main.c\n\tgcc $(CFLAGS) $(LDFLAGS) main.c -o $@\n"
            // Make splits what it includes at blanks, which the path of this repository may have.
            try runOrThrow("cp", [template, scratch])
            try writeText("include patchable.mk\n" + rule, to: scratch + "/Makefile")
            try runOrThrow("make", ["CFLAGS=-O2 -fPIC -shared -nostartfiles"], in: scratch)
        }
        let report = try checkEntries(of: directory + "/lib.so")
        #expect(report.totals.padded == report.totals.functions && report.totals.functions >= 6)
        #expect(report.buildID != nil)
    }

    @Test("without the flag functions are bare, and the text says how to get pads")
    func bare() throws {
        let report = try check(Self.source, Self.library)
        #expect(report.totals.padded == 0)
        #expect(report.functions.filter { $0.kind == .none }.map(\.name) == [])
        #expect(report.functions.map(\.address) == report.functions.map(\.address).sorted())
        #expect(report.description.contains("-fpatchable-function-entry=5"))
        #expect(report.symbolTable == ".symtab")
    }

    @Test("a stripped file is told: only its exported functions are listed")
    func stripped() throws {
        let report = try check(Self.source, Self.library + ["-s"])
        #expect(report.symbolTable == ".dynsym")
        #expect(!report.functions.contains { $0.name == "hidden" })
        #expect(report.functions.contains { $0.name == "leaf" })
        #expect(report.description.contains("stripped"))
    }

    @Test("functions asked for by name, aliases included; an unknown name is refused")
    func selection() throws {
        let source =
            "int f(int a) { return a * 3 + 1; }\nint g(int) __attribute__((alias(\"f\")));\nint h(int a) { return a; }"
        let report = try check(source, Self.library, ["g"])
        #expect(report.functions.map { [$0.name] + $0.aliases }.map(Set.init) == [["f", "g"]])
        #expect(report.totals.functions == 1)
        #expect { _ = try check(source, Self.library, ["g", "nothing"]) } throws: { error in
            (error as? Refusals)?.refusals.map(\.subject) == ["nothing"]
        }
    }

    @Test("a jump table's entry, a relocation and another function's branch into the first bytes leave no entry")
    func targetsFromElsewhere() throws {
        let source = """
            .macro function name
            .type \\name, @function
            \\name: push %rbx
            .L\\name\\()_inside: mov %rdi, %rax
            add $1, %rax
            pop %rbx
            ret
            .size \\name, . - \\name
            .endm
            .text
            function by_table
            function by_relocation
            function by_branch
            function by_nobody
            .type user, @function
            user: lea table(%rip), %rcx
            movslq (%rcx,%rdi,4), %rax
            add %rcx, %rax
            jmp *%rax
            jmp .Lby_branch_inside
            .size user, . - user
            .section .rodata
            .balign 4
            table: .long by_nobody - table, .Lby_table_inside - table
            .data
            .balign 8
            .quad .Lby_relocation_inside
            """
        let path = try Fixture.compile(["code.s": source + "\n"], ["-shared", "-nostdlib"], output: "lib.so")
        let report = try checkEntries(of: path)
        let kinds = Dictionary(uniqueKeysWithValues: report.functions.map { ($0.name, $0.kind) })
        #expect(
            kinds == ["by_table": .none, "by_relocation": .none, "by_branch": .none, "by_nobody": .bare, "user": .bare])
    }

    @Test("trap loop-to-entry: told by the report")
    func loopToEntry() throws {
        let source = """
            .globl f
            .type f, @function
            f: .L1: mov (%rdi), %rax
            add $8, %rdi
            test %rax, %rax
            jne .L1
            ret
            .size f, . - f

            """
        let path = try Fixture.compile(["code.s": source], ["-shared", "-nostdlib"], output: "lib.so")
        let report = try checkEntries(of: path, functions: ["f"])
        #expect(report.functions.map(\.loopsToEntry) == [true])
        #expect(report.description.contains("stack consistency only"))
    }

    @Test("a program at a fixed address has no relocations: words of data that look like code are targets")
    func fixedAddress() throws {
        let source = """
            .globl f
            .type f, @function
            f: push %rbx
            .L1: mov %rdi, %rax
            pop %rbx
            ret
            .size f, . - f
            .section .rodata
            .balign 8
            .quad .L1

            """
        let flags = ["-no-pie", "-static", "-nostdlib", "-Wl,-e,0"]
        #expect(try checkEntries(of: Fixture.compile(["code.s": source], flags)).totals.none == 1)
        let plain = source.split(separator: "\n").dropLast().joined(separator: "\n") + "\n.quad 7\n"
        #expect(try checkEntries(of: Fixture.compile(["code.s": plain], flags)).totals.bare == 1)
    }

    @Test("a file that is no linked ELF file is refused")
    func badInput() throws {
        let object = try Fixture.compile("int f(void) { return 1; }", ["-c"], output: "f.o")
        for path in [object, "/nonexistent", "/etc/passwd"] {
            #expect(throws: Refusals.self) { _ = try checkEntries(of: path) }
        }
    }

    @Test("no symbol at all is refused as stripped")
    func noSymbols() throws {
        let source = "void _start(void) { for (;;); }"
        let path = try Fixture.compile(source, ["-O2", "-nostdlib", "-static", "-s"], output: "none")
        #expect { _ = try checkEntries(of: path) } throws: { error in
            (error as? Refusals)?.refusals.map(\.rule) == [Rule.stripped.rawValue]
        }
    }
}
