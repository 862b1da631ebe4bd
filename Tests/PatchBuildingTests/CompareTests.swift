import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing

/// Compiles two versions of a unit as the pipeline does, and compares them.
func changes(
    _ original: String, _ new: String, flags: [String] = ["-O2", "-fPIE"], compiler: String = "gcc"
) throws -> (changed: [String: String], unit: ComparedUnit) {
    let sections = flags + ["-g", "-ffunction-sections", "-fdata-sections", "-c"]
    let plain = ObjectView(
        try ObjectFile.read(path: try Fixture.compile(original, flags + ["-g", "-c"], compiler: compiler)))
    let before = ObjectView(try ObjectFile.read(path: try Fixture.compile(original, sections, compiler: compiler)))
    let after = ObjectView(try ObjectFile.read(path: try Fixture.compile(new, sections, compiler: compiler)))
    let unit = compareUnit(
        LoadedUnit(name: "unit.o", source: "unit.c", isCPlusPlus: false, plain: plain, original: before, new: after))
    let named = unit.changes.functions.map { (after.entities[$0.key].name, $0.value) }
    return (Dictionary(named, uniquingKeysWith: { first, _ in first }), unit)
}

@Suite struct CompareTests {
    @Test func `equal sources have no difference`() throws {
        let source =
            "int table[4]; int f(int x) { switch (x) { case 1: return 5; case 2: return table[1]; case 3: return 9; case 4: return 2; case 5: return 11; } return 0; }"
        let result = try changes(source, source)
        #expect(result.unit.changes.isEmpty)
    }

    @Test func `comments and blank lines are no difference`() throws {
        let result = try changes("int f(int x) { return x * 3; }", "/* more */\n\n\nint f(int x) { return x * 3; }")
        #expect(result.unit.changes.isEmpty)
    }

    @Test func `a changed body is found, its neighbours are not`() throws {
        let result = try changes(
            "int f(int x) { return x * 3; }\nint g(int x) { return x + 1; }",
            "int f(int x) { return x * 5; }\nint g(int x) { return x + 1; }")
        #expect(Set(result.changed.keys) == ["f"])
    }

    @Test func `a changed string literal is a change of its reader`() throws {
        let result = try changes(
            "int puts(const char *); int f(void) { return puts(\"one\"); } int g(void) { return puts(\"three\"); }",
            "int puts(const char *); int f(void) { return puts(\"two\"); } int g(void) { return puts(\"three\"); }")
        #expect(Set(result.changed.keys) == ["f"])
    }

    @Test(arguments: ["gcc", Machine.clang])
    func `another part of the same literal is a change`(_ compiler: String) throws {
        let source =
            "int puts(const char *); int f(void) { return puts(\"--one\" + 1); }"
            + " int g(void) { return puts(\"--one\"); }"
        let result = try changes(source, source.replacing("+ 1", with: "+ 2"), compiler: compiler)
        #expect(Set(result.changed.keys) == ["f"])
    }

    @Test(arguments: ["gcc", Machine.clang])
    func `numbers of literals say nothing`(_ compiler: String) throws {
        let source =
            "int puts(const char *); double h(double x) { return x * 2.5; }"
            + " int g(void) { return puts(\"one\"); } int k(void) { return puts(\"two\"); }"
        let before =
            "int puts(const char *); double e(double x) { return x * 3.5; } int f(void) { return puts(\"zero\"); }"
        let result = try changes(source, before + source.dropFirst(24), compiler: compiler)
        #expect(result.unit.changes.isEmpty)
    }

    @Test func `an inlined static makes its callers change`() throws {
        let result = try changes(
            "static inline int k(int x) { return x + 1; } int f(int x) { return k(x); } int g(int x) { return k(x) * 2; }",
            "static inline int k(int x) { return x + 2; } int f(int x) { return k(x); } int g(int x) { return k(x) * 2; }"
        )
        #expect(Set(result.changed.keys) == ["f", "g"])
    }

    @Test func `static locals are told apart by who uses them, not by their number`() throws {
        let original = "int f(void) { static int n; return ++n; } int g(void) { static int n; return n += 2; }"
        let new =
            "int e(void) { static int n; return n += 7; } int f(void) { static int n; return ++n; } int g(void) { static int n; return n += 2; }"
        let result = try changes(original, new)
        #expect(result.changed.isEmpty)
        #expect(result.unit.correlation.ambiguous.isEmpty)
    }

    @Test func `a switch's jump table is part of its function`() throws {
        func source(_ value: String) -> String {
            "int a(void), b(void), c(void), d(void), e(void);\nint f(int x) { switch (x) { case 0: return a(); case 1: return b(); case 2: return c(); case 3: return d(); case 4: return \(value)(); } return 0; }\nint g(int x) { return x; }"
        }
        let result = try changes(source("e"), source("a"))
        #expect(Set(result.changed.keys) == ["f"])
    }

    @Test func `a changed cold half makes its function changed`() throws {
        func source(_ text: String) -> String {
            "void abort(void); int puts(const char *); int f(int x) { if (__builtin_expect(x > 9, 0)) { puts(\"\(text)\"); abort(); } return x + 1; }"
        }
        let result = try changes(source("bad"), source("worse"))
        #expect(Set(result.changed.keys) == ["f"])
    }

    @Test func `a changed constant marks its readers`() throws {
        func source(_ value: Int) -> String {
            "static const int limit[2] = {\(value), 7}; int f(int i) { return limit[i]; } int g(void) { return 1; }"
        }
        let result = try changes(source(64), source(256))
        #expect(result.changed["f"] == "reads the changed constant limit")
        #expect(result.unit.changes.constants.count == 1)
    }

    @Test func `a changed initial value is seen`() throws {
        let result = try changes(
            "int level = 3; int f(void) { return level; }", "int level = 4; int f(void) { return level; }")
        #expect(result.changed.isEmpty)
        #expect(result.unit.changes.initialValues.count == 1)
    }

    @Test func `static locals of one name and several sizes, inlined into one function, are told apart`() throws {
        func source(_ step: Int) -> String {
            """
            void sink(char *);
            static void a(void) { static char tail[] = "one"; sink(tail); }
            static void b(void) { static char tail[] = "and two"; sink(tail); }
            static void c(void) { static char tail[] = "then three of them"; sink(tail); }
            int f(int x) { a(); b(); c(); return x + \(step); }
            void g(void) { a(); b(); c(); }
            """
        }
        let result = try changes(source(1), source(2))
        #expect(Set(result.changed.keys) == ["f"])
        #expect(result.unit.correlation.ambiguous.isEmpty)
    }

    @Test func `a changed size of data is seen`() throws {
        let result = try changes(
            "int room[4]; int f(void) { return room[1]; }", "int room[8]; int f(void) { return room[1]; }")
        #expect(result.unit.changes.sizes.count == 1)
    }

    @Test func `another callee of the same code is a change`() throws {
        let result = try changes(
            "int a(int), b(int); int f(int x) { return a(x) + 1; }",
            "int a(int), b(int); int f(int x) { return b(x) + 1; }")
        #expect(result.changed["f"] == "refers to b instead of a")
    }

    @Test func `names that the compiler gives to functions' own names are literals`() throws {
        let original = "void say(const char *); void f(void) { say(__func__); } void g(void) { say(__func__); }"
        let new = "void say(const char *); void e(void) { say(__func__); } " + original.dropFirst(24)
        let result = try changes(original, new)
        #expect(result.changed.isEmpty)
    }

    @Test func `clones are told apart by body`() throws {
        func source(_ extra: String) -> String {
            """
            int sink(int);
            static __attribute__((noinline)) int k(int x, int mode) { return mode == 4 ? sink(x * 3) : sink(x - 1); }
            \(extra)
            int f(int x) { return k(x, 4); }
            """
        }
        let result = try changes(source(""), source("int h(int x) { return sink(x + 40); }"))
        #expect(result.changed.isEmpty)
    }
}

@Suite struct CompareLiteralTests {
    @Test func `a literal is found where an immediate follows its address`() throws {
        let original = """
            #include <xmmintrin.h>
            __m128 f(__m128 x) { __m128 d = {5, 6, 7, 8}; return _mm_shuffle_ps(x, d, 0x1b); }
            __m128 e(__m128 x) { __m128 c = {9, 2, 3, 4}; return x * c; }
            """
        let result = try changes(original, original.replacing("7, 8", with: "7, 11"))
        #expect(Set(result.changed.keys) == ["f"])
        let other = try changes(original, original.replacing("9, 2", with: "9, 6"))
        #expect(Set(other.changed.keys) == ["e"])
    }

    @Test func `constants that refer to each other are all looked at`() throws {
        func source(_ text: String) -> String {
            """
            struct node { const struct node *next; const char *text; };
            static const struct node z, a = {&z, "same"}, z = {&a, "\(text)"};
            int puts(const char *);
            int f(int i) { const struct node *p = &a; while (i-- > 0) p = p->next; return puts(p->text); }
            """
        }
        let result = try changes(source("one"), source("two"), flags: ["-O0", "-fPIE"])
        #expect(Set(result.changed.keys) == ["f"])
        #expect(result.unit.changes.constants.count == 2)
    }
}
