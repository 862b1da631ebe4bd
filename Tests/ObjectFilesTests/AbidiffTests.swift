import ObjectFiles
import TestSupport
import Testing

/// The rule of layouts beside another judge: what `abidiff` reports of a type that a function takes, we report.
@Suite(.needs("abidiff")) struct AbidiffTests {
    enum Verdict: Sendable {
        /// `type-layout`.
        case refused
        /// Every byte stays where and what it is: named for the reviewer.
        case remarked
        case nothing
    }

    struct Pair: Sendable, CustomTestStringConvertible {
        var name: String
        var verdict: Verdict
        var before: String
        var after: String
        init(_ name: String, _ verdict: Verdict, _ before: String, _ after: String) {
            (self.name, self.verdict, self.before, self.after) = (name, verdict, before, after)
        }
        var testDescription: String { name }
    }

    // swift-format-ignore
    static let pairs: [Pair] = [
            .init("appended", .refused, "struct s { int a; };", "struct s { int a; int b; };"),
            .init("tail-padding", .refused, "struct s { long a; int b; };", "struct s { long a; int b; int c; };"),
            .init("inserted", .refused, "struct s { int a; int c; };", "struct s { int a; int b; int c; };"),
            .init("reordered", .refused, "struct s { int a; int b; };", "struct s { int b; int a; };"),
            .init("retyped-same-size", .refused, "struct s { int a; };", "struct s { float a; };"),
            .init("signedness", .refused, "struct s { int a; };", "struct s { unsigned a; };"),
            .init("char-sign", .refused, "struct s { char a; };", "struct s { unsigned char a; };"),
            .init("bool", .refused, "struct s { char a; };", "struct s { _Bool a; };"),
            .init("bitfield-width", .refused, "struct s { unsigned a:3, b:5; };", "struct s { unsigned a:4, b:5; };"),
            .init("bitfield-order", .refused, "struct s { unsigned a:3, b:3; };", "struct s { unsigned b:3, a:3; };"),
            .init("enum-value", .refused, "enum e { A, B }; struct s { enum e a; };", "enum e { A, B = 5 }; struct s { enum e a; };"),
            .init("enum-inserted", .refused, "enum e { A, B }; struct s { enum e a; };", "enum e { A, N, B }; struct s { enum e a; };"),
            .init("enum-appended", .nothing, "enum e { A, B }; struct s { enum e a; };", "enum e { A, B, C }; struct s { enum e a; };"),
            .init("enum-removed", .refused, "enum e { A, B, C }; struct s { enum e a; };", "enum e { A, B }; struct s { enum e a; };"),
            .init("enum-renamed", .refused, "enum e { A, B }; struct s { enum e a; };", "enum e { A, Z }; struct s { enum e a; };"),
            .init("union-grown", .refused, "union u { int a; }; struct s { union u u; };", "union u { int a; long b; }; struct s { union u u; };"),
            .init("union-member-same-size", .refused, "union u { int a; }; struct s { union u u; };", "union u { int a; float f; }; struct s { union u u; };"),
            .init("anon-union", .refused, "struct s { union { int a; float f; }; };", "struct s { union { int a; float f; unsigned b; }; };"),
            .init("anon-struct", .refused, "struct s { struct { int a, b; } in; };", "struct s { struct { int b, a; } in; };"),
            .init("anon-struct-reorder-direct", .refused, "struct s { struct { int a, b; }; };", "struct s { struct { int b, a; }; };"),
            .init("wrap-anon", .nothing, "struct s { int a, b; };", "struct s { struct { int a, b; }; };"),
            .init("typedef", .refused, "typedef int n; struct s { n a; };", "typedef float n; struct s { n a; };"),
            .init("typedef-harmless", .nothing, "typedef int n; struct s { n a; };", "struct s { int a; };"),
            .init("nested-value", .refused, "struct t { int a; }; struct s { struct t t; };", "struct t { int a; int b; }; struct s { struct t t; };"),
            .init("nested-pointer", .refused, "struct t { int a; }; struct s { struct t *t; };", "struct t { int a; int b; }; struct s { struct t *t; };"),
            .init("pointer-other", .refused, "struct t { int a; }; struct r { float f; }; struct s { struct t *t; };", "struct t { int a; }; struct r { float f; }; struct s { struct r *t; };"),
            .init("void-to-struct", .remarked, "struct t { int a; }; struct s { void *t; };", "struct t { int a; }; struct s { struct t *t; };"),
            .init("struct-to-void", .remarked, "struct t { int a; }; struct s { struct t *t; };", "struct t { int a; }; struct s { void *t; };"),
            .init("char-to-struct", .refused, "struct t { int a; }; struct s { char *t; };", "struct t { int a; }; struct s { struct t *t; };"),
            .init("char-to-uchar-ptr", .remarked, "struct s { char *t; };", "struct s { unsigned char *t; };"),
            .init("int-to-uint-ptr", .remarked, "struct s { int *t; };", "struct s { unsigned *t; };"),
            .init("int-to-float-ptr", .refused, "struct s { int *t; };", "struct s { float *t; };"),
            .init("opaque-to-other", .refused, "struct x; struct y; struct s { struct x *t; };", "struct x; struct y; struct s { struct y *t; };"),
            .init("renamed-member", .remarked, "struct s { int a; };", "struct s { int z; };"),
            .init("renamed-type", .remarked, "struct t { int a; }; struct s { struct t *t; };", "struct q { int a; }; struct s { struct q *t; };"),
            .init("flexible", .refused, "struct s { int n; char b[]; };", "struct s { int n; short b[]; };"),
            .init("flexible-from-1", .refused, "struct s { int n; int b[1]; };", "struct s { int n; int b[]; };"),
            .init("array-length", .refused, "struct s { char b[8]; };", "struct s { char b[16]; };"),
            .init("array-dims", .refused, "struct s { char b[2][8]; };", "struct s { char b[4][4]; };"),
            .init("array-dims-same", .refused, "struct s { int b[2][3]; };", "struct s { int b[3][2]; };"),
            .init("fnptr", .refused, "struct s { int (*f)(int); };", "struct s { int (*f)(int, int); };"),
            .init("fnptr-ret", .refused, "struct s { int (*f)(int); };", "struct s { void (*f)(int); };"),
            .init("fnptr-ptrarg", .refused, "struct t { int a; }; struct r { float f; }; struct s { int (*f)(struct t *); };", "struct t { int a; }; struct r { float f; }; struct s { int (*f)(struct r *); };"),
            .init("packed", .refused, "struct s { char a; int b; };", "struct s { char a; int b; } __attribute__((packed));"),
            .init("aligned", .refused, "struct s { long a, b; };", "struct s { long a, b; } __attribute__((aligned(16)));"),
            .init("aligned-member", .refused, "struct s { char a; int b; };", "struct s { char a; int b __attribute__((aligned(8))); };"),
            .init("const", .remarked, "struct s { int a; };", "struct s { const int a; };"),
            .init("volatile", .remarked, "struct s { int a; };", "struct s { volatile int a; };"),
            .init("const-ptr", .nothing, "struct s { char *a; };", "struct s { const char *a; };"),
            .init("long-vs-longlong", .remarked, "struct s { long a; };", "struct s { long long a; };"),
            .init("ptr-vs-long", .refused, "struct s { void *a; };", "struct s { long a; };"),
            .init("struct-to-union", .refused, "struct s { int a; };", "union s { int a; };"),
            .init("enum-vs-int", .remarked, "enum e { A }; struct s { enum e a; };", "enum e { A }; struct s { int a; };"),
            .init("enum-other", .refused, "enum e { A, B }; enum g { C, D }; struct s { enum e a; };", "enum e { A, B }; enum g { C, D }; struct s { enum g a; };"),
            .init("removed", .refused, "struct s { long a; int b; };", "struct s { long a; };"),
            .init("bitfield-vs-int", .refused, "struct s { unsigned a:8; };", "struct s { unsigned char a; };"),
            .init("atomic", .remarked, "struct s { int a; };", "struct s { _Atomic int a; };"),
            .init("double-vs-long", .refused, "struct s { double a; };", "struct s { long a; };"),
            .init("int128", .refused, "struct s { __int128 a; };", "struct s { long double a; };"),
            .init("complex", .refused, "struct s { float _Complex a; };", "struct s { double a; };"),
            .init("self", .refused, "struct s { struct s *n; int v; };", "struct s { struct s *n; long v; };"),
            .init("deep", .refused, "struct d { int x; }; struct c { struct d *d; }; struct b { struct c *c; }; struct s { struct b *b; };", "struct d { float x; }; struct c { struct d *d; }; struct b { struct c *c; }; struct s { struct b *b; };"),
    ]

    // swift-format-ignore
    static let plusPlusPairs: [Pair] = [
            .init("virtual-added", .refused, "struct s { virtual void f() {} int a; };", "struct s { virtual void f() {} virtual void g() {} int a; };"),
            .init("virtual-order", .refused, "struct s { virtual void f() {} virtual void g() {} };", "struct s { virtual void g() {} virtual void f() {} };"),
            .init("virtual-removed", .refused, "struct s { virtual void f() {} virtual void g() {} };", "struct s { virtual void f() {} };"),
            .init("first-virtual", .refused, "struct s { void f() {} int a; };", "struct s { virtual void f() {} int a; };"),
            .init("virtual-parameter", .refused, "struct s { virtual void f(int) {} };", "struct s { virtual void f(long) {} };"),
            .init("virtual-of-base", .refused, "struct b { virtual void f() {} }; struct s : b { int a; };", "struct b { virtual void f() {} virtual void g() {} }; struct s : b { int a; };"),
            .init("base-added", .refused, "struct b { int x; }; struct s { int a; };", "struct b { int x; }; struct s : b { int a; };"),
            .init("empty-base-added", .refused, "struct b { }; struct s { int a; };", "struct b { }; struct s : b { int a; };"),
            .init("base-grown", .refused, "struct b { int x; }; struct s : b { int a; };", "struct b { int x; int y; }; struct s : b { int a; };"),
            .init("base-tail-padding", .refused, "struct b { b() {} long x; char y; }; struct s : b { char a; };", "struct b { b() {} long x; char y, z; }; struct s : b { char a; };"),
            .init("bases-reordered", .refused, "struct b { int x; }; struct c { int y; }; struct s : b, c { };", "struct b { int x; }; struct c { int y; }; struct s : c, b { };"),
            .init("base-becomes-virtual", .refused, "struct b { int x; }; struct s : b { int a; };", "struct b { int x; }; struct s : virtual b { int a; };"),
            .init("base-becomes-member", .nothing, "struct b { int x; }; struct s : b { int a; };", "struct b { int x; }; struct s { b x; int a; };"),
            .init("template-argument", .refused, "template <class T> struct t { T v; }; struct s { t<int> a; };", "template <class T> struct t { T v; }; struct s { t<float> a; };"),
            .init("template-member", .refused, "template <class T> struct t { T v; }; struct s { t<int> a; };", "template <class T> struct t { T v, w; }; struct s { t<int> a; };"),
            .init("template-pointer", .refused, "template <class T> struct t { T *v; }; struct s { t<int> a; };", "template <class T> struct t { T *v; }; struct s { t<float> a; };"),
            .init("template-value", .refused, "template <int N> struct t { char v[N]; }; struct s { t<4> a; };", "template <int N> struct t { char v[N]; }; struct s { t<8> a; };"),
            .init("scoped-enum-size", .refused, "enum class e : char { A }; struct s { e a; };", "enum class e : short { A }; struct s { e a; };"),
            .init("scoped-enum-value", .refused, "enum class e { A, B }; struct s { e a; };", "enum class e { B, A }; struct s { e a; };"),
            .init("reference-to-pointer", .remarked, "struct s { int &a; };", "struct s { int *a; };"),
            .init("reference-target", .refused, "struct s { int &a; };", "struct s { float &a; };"),
            .init("member-pointer", .refused, "struct s { int s::*a; };", "struct s { float s::*a; };"),
            .init("member-function-pointer", .refused, "struct s { void (s::*a)(int); };", "struct s { void (s::*a)(long); };"),
            .init("static-member", .nothing, "struct s { int a; };", "struct s { int a; static int b; };"),
            .init("member-function", .nothing, "struct s { int a; };", "struct s { int a; void f() {} };"),
            .init("access", .nothing, "struct s { int a; };", "struct s { private: int a; };"),
            .init("class-key", .nothing, "struct s { int a; };", "class s { public: int a; };"),
            .init("nested-class", .refused, "struct s { struct n { int x; } a; };", "struct s { struct n { long x; } a; };"),
            .init("namespace", .refused, "namespace m { struct t { int x; }; } struct s { m::t a; };", "namespace m { struct t { float x; }; } struct s { m::t a; };"),
            .init("alignas", .refused, "struct s { int a; };", "struct alignas(32) s { int a; };"),
            .init("inherited-enum", .refused, "struct b { enum e { A, B }; }; struct s : b { e a; };", "struct b { enum e { B, A }; }; struct s : b { e a; };"),
            .init("string", .refused, "#include <string>\nstruct s { std::string a; };", "#include <string>\nstruct s { const char *a; };"),
            .init("vector", .refused, "#include <vector>\nstruct s { std::vector<int> a; };", "#include <vector>\nstruct s { std::vector<long> a; };"),
            .init("vector-element", .refused, "#include <vector>\nstruct t { int x; }; struct s { std::vector<t> a; };", "#include <vector>\nstruct t { int x, y; }; struct s { std::vector<t> a; };"),
    ]

    private static func source(_ types: String) -> String {
        let type = types.hasPrefix("union s") ? "union s" : "struct s"
        return types + "\n\(type) *get(\(type) *p) { return p; }\n"
    }

    /// Whether `abidiff` sees a change: bit 2 of its status. Bits 0 and 1 are its own failure.
    private static func reports(_ before: String, _ after: String, _ compiler: String) throws -> Bool {
        let flags = ["-g", "-shared", "-fPIC"] + (compiler == "g++" ? ["-x", "c++", "-femit-class-debug-always"] : [])
        let old = try Fixture.compile(source(before), flags, output: "s.so", compiler: compiler)
        let new = try Fixture.compile(source(after), flags, output: "s.so", compiler: compiler)
        let output = try run("abidiff", [old, new])
        try #require(output.status & 3 == 0, "\(output)")
        return output.status & 4 != 0
    }

    @Test("type-layout: whatever abidiff reports of a type that the code reaches, we report", arguments: pairs)
    func superset(_ pair: Pair) throws { try compare(pair, "gcc") }

    @Test("type-layout: the same of classes", arguments: plusPlusPairs)
    func supersetOfClasses(_ pair: Pair) throws { try compare(pair, "g++") }

    private func compare(_ pair: Pair, _ compiler: String) throws {
        let suffix = compiler == "g++" ? "cc" : "c"
        let flags = ["-c", "-g"] + (compiler == "g++" ? ["-femit-class-debug-always"] : [])
        let old = try debugUnit(Self.source(pair.before), flags, suffix: suffix)
        let new = try debugUnit(Self.source(pair.after), flags, suffix: suffix)
        let differences = layoutDifferences(original: old, new: new)
        let remarks = layoutRemarks(original: old, new: new)
        if try Self.reports(pair.before, pair.after, compiler) {
            #expect(!differences.isEmpty || !remarks.isEmpty, "abidiff reports it, we don't")
        }
        switch pair.verdict {
        case .refused: #expect(!differences.isEmpty)
        case .remarked: #expect(differences.isEmpty && !remarks.isEmpty, "\(differences)")
        case .nothing: #expect(differences.isEmpty, "\(differences)")
        }
    }
}
