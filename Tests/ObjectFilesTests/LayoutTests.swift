import ObjectFiles
import TestSupport
import Testing

/// Rule `type-layout`: each test compiles a type as it was and as it is.
@Suite struct LayoutTests {
    private func differences(_ before: String, _ after: String) throws -> [LayoutDifference] {
        layoutDifferences(original: try debugUnit(before), new: try debugUnit(after))
    }

    private func expectDifference(
        _ before: String, _ after: String, _ subject: String, _ text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let found = try differences(before, after)
        #expect(
            found.contains { $0.subject == subject && $0.description.contains(text) }, "\(found)",
            sourceLocation: sourceLocation)
    }

    @Test func sameTypesDoNotDiffer() throws {
        #expect(try differences(DebugInfoTests.types, DebugInfoTests.types).isEmpty)
    }

    @Test func grownTypeSaysBothSizes() throws {
        try expectDifference(
            "struct s { int a; } x;", "struct s { int a; long b; } x;", "struct s", "size changes from 4 to 16 bytes")
    }

    @Test func memberInTailPaddingIsADifference() throws {
        try expectDifference(
            "struct s { long a; int b; } x;", "struct s { long a; int b; int c; } x;", "struct s",
            "member `c` is added at offset 12")
    }

    @Test func memberInPlaceOfPaddingIsADifference() throws {
        try expectDifference(
            "struct s { long a; int pad; } x;", "struct s { long a; int flags; } x;", "struct s",
            "member `flags` is added")
        try expectDifference(
            "struct s { char pad[8]; } x;", "struct s { char pad[4]; int n; } x;", "struct s", "changes from `char [8]`"
        )
    }

    @Test func whatATypedefNamesIsADifference() throws {
        for (before, after) in [
            ("typedef char key[16];", "typedef char key[20];"), ("typedef int key;", "typedef long key;"),
            ("typedef float key;", "typedef int key;"),
            ("struct a { int x; }; typedef struct a *key;", "struct b { long x; }; typedef struct b *key;"),
        ] {
            let use = " int use(key *p) { return sizeof(key) + (p != 0); }"
            try expectDifference(before + use, after + use, "key", "the type that it names changes from")
        }
        for (before, after) in [
            ("typedef int key;", "typedef unsigned key;"), ("typedef int (*key)(int);", "typedef int (*key)(long);"),
            ("typedef struct { int a; } key;", "typedef struct { int b; } key;"),
            ("typedef void *key;", "typedef int *key;"),
            ("typedef __builtin_va_list key;", "typedef __builtin_va_list key; typedef int other;"),
        ] {
            let use = " key *use(key *p) { return p; }"
            #expect(try differences(before + use, after + use).isEmpty)
        }
    }

    @Test func byteOrderOfMembersIsADifference() throws {
        let type = "struct ORDER s { int a; } x;"
        try expectDifference(
            type.replacing("ORDER ", with: ""),
            type.replacing("ORDER", with: "__attribute__((scalar_storage_order(\"big-endian\")))"), "struct s",
            "member `a` changes")
    }

    @Test func movedMembersAreOneSentence() throws {
        let found = try differences(
            "struct s { int a, b, c, d; } x;", "struct s { int n, a, b, c, d; } x;")
        #expect(
            found.contains { $0.description == "member `a` moves from offset 0 to offset 4, and 3 more members move" })
    }

    @Test func removedMemberIsADifference() throws {
        try expectDifference(
            "struct s { long a; int b; } x;", "struct s { long a; } x;", "struct s", "member `b` is removed")
    }

    @Test func retypedMemberIsADifference() throws {
        try expectDifference(
            "struct s { long a; } x;", "struct s { double a; } x;", "struct s", "changes from `long int` to `double`")
        try expectDifference(
            "struct s { int a; } x;", "struct s { unsigned a; } x;", "struct s", "to `unsigned int`")
        try expectDifference(
            "struct s { int (*f)(int); } x;", "struct s { int (*f)(int, int); } x;", "struct s", "member `f` changes")
    }

    @Test func renamedMemberIsNone() throws {
        #expect(try differences("struct s { int a; long b; } x;", "struct s { int z; long b; } x;").isEmpty)
    }

    @Test func enumMemberInPlaceOfIntegerIsNone() throws {
        #expect(
            try differences("struct s { int a; } x;", "enum e { A }; struct s { enum e a; } x;").isEmpty)
    }

    @Test func typesOfOneSideAreNone() throws {
        #expect(try differences("struct a { int x; } a;", "struct b { long x; } b;").isEmpty)
    }

    @Test func movedBitFieldIsADifference() throws {
        try expectDifference(
            "struct s { unsigned a : 3, b : 4; } x;", "struct s { unsigned a : 3, n : 1, b : 4; } x;", "struct s",
            "member `b` moves from bit 3 to bit 4")
        try expectDifference(
            "struct s { unsigned a : 3; } x;", "struct s { unsigned a : 4; } x;", "struct s", "from 3 bits to 4 bits")
    }

    @Test func enumeratorsMayOnlyBeAppended() throws {
        #expect(try differences("enum e { A, B } x;", "enum e { A, B, C } x;").isEmpty)
        try expectDifference("enum e { A, B } x;", "enum e { A, N, B } x;", "enum e", "`B` changes from 1 to 2")
        try expectDifference("enum e { A, B } x;", "enum e { A } x;", "enum e", "`B` (1) is removed")
    }

    @Test func anonymousTypesAreComparedThroughWhatNamesThem() throws {
        try expectDifference(
            "typedef struct { int a; } T; T x;", "typedef struct { long a; } T; T x;", "T", "changes from `int`")
        try expectDifference(
            "struct s { struct { int a, b; } in; } x;", "struct s { struct { int b, a; } in; } x;", "struct s",
            "member `in` changes")
        try expectDifference(
            "struct s { union { int a; float b; }; } x;", "struct s { union { int a; float b; int *c; }; } x;",
            "struct s", "member `c` is added")
        #expect(
            try differences("struct s { int a, b; } x;", "struct s { struct { int a, b; }; } x;").isEmpty)
    }

    @Test func renamedTypesAreComparedByLayoutAndRecursionEnds() throws {
        let before = "struct a { struct a *next; int v; }; struct s { struct a *list; } x;"
        #expect(
            try differences(before, "struct b { struct b *next; int v; }; struct s { struct b *list; } x;").isEmpty)
        try expectDifference(
            before, "struct b { struct b *next; float v; }; struct s { struct b *list; } x;", "struct s",
            "member `list` changes from `struct a *` to `struct b *`")
        #expect(
            try differences("struct s { void *p; } x;", "struct a { int i; }; struct s { struct a *p; } x;").isEmpty)
    }

    @Test func variablesKeepTheirTypes() throws {
        for (before, after, subject) in [
            ("int v;", "float v;", "v"), ("int v;", "unsigned v;", "v"), ("int v[4];", "short v[8];", "v"),
            ("struct { int a, b; } v;", "struct { int b, a; } v;", "v"),
            (
                "int f(void) { static struct { int a, b; } v; return v.a++; }",
                "int f(void) { static struct { int b, a; } v; return v.a++; }", "f()::v"
            ),
            ("typedef int n; n v;", "typedef float n; n v;", "v"),
            ("_Thread_local int v;", "_Thread_local float v;", "v"),
            ("struct p { int a; } *v;", "struct q { float f; } *v;", "v"),
            ("extern int v; int f(void) { return v; }", "extern float v; int f(void) { return v; }", "v"),
        ] { try expectDifference(before, after, subject, "the variable's type changes") }
        #expect(try differences("const int v = 1;", "const float v = 2;").isEmpty)
        #expect(try differences("int f(int x) { return x; }", "int f(int x) { float v = x; return v; }").isEmpty)
        #expect(try differences("struct p { int a; } v;", "struct q { int a; } v;").isEmpty)
    }

    @Test func raisedAlignmentIsADifference() throws {
        let aligned = "__attribute__((aligned(16)))"
        try expectDifference(
            "struct s { long a, b; } x;", "struct s { long a, b; } \(aligned) x;", "struct s",
            "alignment is raised to 16")
        try expectDifference(
            "typedef struct { long a, b; } t; t *x;", "typedef struct { long a, b; } t \(aligned); t *x;", "t",
            "alignment is raised to 16")
        #expect(try differences("struct s { long a, b; } \(aligned) x;", "struct s { long a, b; } x;").isEmpty)
    }

    @Test func changedArrayIsADifference() throws {
        try expectDifference(
            "struct s { int n; char b[64]; } x;", "struct s { int n; char b[256]; } x;", "struct s",
            "`char [64]` (64 bytes) to `char [256]` (256 bytes)")
    }

    private func classDifferences(_ before: String, _ after: String) throws -> [String] {
        func unit(_ text: String) throws -> DebugUnit {
            let path = try Fixture.compile(["unit.cc": text], ["-g", "-c"], output: "unit.o", compiler: "g++")
            return try #require(try DebugInfo.read(path: path).units.first)
        }
        return layoutDifferences(original: try unit(before), new: try unit(after)).map { "\($0.subject): \($0)" }
    }

    @Test func aVirtualFunctionMoreIsAnotherTable() throws {
        let text = "struct A { virtual int f(); virtual int g(); int a; }; int A::f() { return a; } A *x;"
        #expect(try classDifferences(text, text).isEmpty)
        let more = try classDifferences(
            text, text.replacing("virtual int g()", with: "virtual int e(); virtual int g()"))
        #expect(more.contains { $0.contains("struct A") && $0.contains("_ZN1A1eEv` is added") }, "\(more)")
        #expect(more.contains { $0.contains("_ZN1A1gEv` gets another place") }, "\(more)")
    }

    @Test func typesOfOneNameAreToldApart() throws {
        let text =
            "int f(int x) { auto l = [x](int y) { return x + y; }; { struct S { int a; } s{x}; x = s.a; } "
            + "{ struct S { long b; } s{x}; x = s.b; } return l(x); }"
        #expect(try classDifferences(text, text).isEmpty)
        let inner = try classDifferences(text, text.replacing("long b; }", with: "long b; int c; }"))
        #expect(inner.contains { $0.contains("size changes from 8 to 16") }, "\(inner)")
        let added = "int f(int x) { { struct S { char z[3]; } s{1}; x += s.z[0]; }"
        #expect(try classDifferences(text, text.replacing("int f(int x) {", with: added)).isEmpty)
    }
}
