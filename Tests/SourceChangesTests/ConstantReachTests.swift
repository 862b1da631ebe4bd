import Testing

@testable import SourceChanges

@Suite struct ConstantReachTests {
    private func reach(_ name: String, _ text: String) -> ConstantReach {
        ConstantReach(of: [name], in: Array(text.utf8))
    }

    @Test func functionsAreFoundByTheirBodies() {
        let text = """
            int table[N] = { N };
            static int __attribute__((noinline)) first(int (*f)(int), char *s)
            { /* N */ return f(1); }
            struct s { int a[N]; };
            int second(a, b) int a; int b; { if (a) { return N; } return 2; }
            extern "C" { int third(void) { return N; } }
            """
        #expect(reach("N", text).functions == ["second", "third"])
    }

    @Test func allocatorsAreFoundByTheirArguments() {
        #expect(reach("N", "void *f(void) { return xmalloc(4 * (N + 1)); }").allocating == ["f"])
        #expect(reach("N", "void *f(void) { int n = N * 4; return g_malloc0(n); }").allocating == ["f"])
        #expect(reach("N", "int *f() { return new int[N]; }").allocating == ["f"])
        #expect(reach("N", "void *f(int x) { return x > N ? 0 : malloc(x); }").allocating == [])
    }

    @Test func macrosOfMacros() {
        let text = "#define A (N\\\n * 2)\n  # define B A\n#define C 7\n"
        #expect(ConstantReach.macros(expandingTo: ["N"], in: [Array(text.utf8)]) == ["N", "A", "B"])
    }

    @Test func onlyBodiesDiffer() {
        func changed(_ a: String, _ b: String) -> Set<String>? {
            changedDefinitions(original: Array(a.utf8), new: Array(b.utf8))
        }
        let header = "#define Q 7\nstruct s { int a; };\nstatic inline int f(int x) { return x; }\nint g(void);\n"
        #expect(changed(header, header.replacing("return x", with: "return x + 1")) == ["f"])
        #expect(changed(header, "/* note */\n" + header) == [])
        #expect(changed(header, header.replacing("Q 7", with: "Q 8")) == nil)
        #expect(changed(header, header.replacing("int a;", with: "int a, b;")) == nil)
        #expect(changed(header, header.replacing("g(void)", with: "g(int)")) == nil)
    }
}
