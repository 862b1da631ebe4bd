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

    @Test func whatOneFunctionKeepsIsMetByItsNextCall() {
        func relying(_ text: String) -> Set<String> { reach("N", text).relying }
        let loop = "for (int i = 0; i < N; i++) p[i] = 0;"
        #expect(relying("void f(void) { static char *p; if (!p) p = malloc(N); \(loop) }") == ["f"])
        #expect(relying("char *p; void f(void) { if (!p) p = malloc(N); \(loop) }") == ["f"])
        #expect(relying("void f(struct s *s) { s->p = malloc(N); s->room = N; }") == ["f"])
        #expect(relying("char *f(void) { char *p = malloc(N); \(loop) return p; }") == ["f"])
        #expect(relying("void f(struct s *s) { char *p; p = malloc(N); \(loop) s->p = p; }") == ["f"])
        #expect(relying("void f(struct s *s)\n{\n char *p;\n p = malloc(N);\n \(loop)\n s->p = p;\n}") == ["f"])
        // A buffer that goes with the call.
        #expect(relying("int f(int d) { char *p = malloc(N); int n = read(d, p, N); free(p); return n; }").isEmpty)
        #expect(relying("int f(int d) { char c, *p; p = malloc(N); c = read(d, p, N); free(p); return c; }").isEmpty)
        #expect(relying("char *f(void) { return malloc(N); }").isEmpty)
        #expect(relying("char *f(void) { size_t n = N * 4; return malloc(n); }").isEmpty)
        #expect(relying("void f(void) { size_t n = N; if (!p) p = malloc(n); memset(p, 0, n); }") == ["f"])
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
