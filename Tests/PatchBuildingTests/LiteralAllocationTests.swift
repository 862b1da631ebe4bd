import Testing

@testable import Guarding

/// A number that an allocation and other code share, however it is spelled (trap literal-allocation).
@Suite struct LiteralAllocationTests {
    private static let sources = [
        "a.c": """
        #include <stdlib.h>
        #include <string.h>
        static char *room;
        void set_up(void) { room = malloc(64); }
        int work(int x) { int sum = 0; for (int i = 0; i < 64; i++) { room[i] = (char)(x + i); sum += room[i]; } return sum; }
        void clear(void) { memset(room, 0, 64); }
        """,
        "m.c": "void set_up(void); int work(int); void clear(void); int main(int c, char **v) "
            + "{ (void)v; while (c--) { set_up(); work(c); clear(); } return 0; }",
    ]

    @Test(
        arguments: [
            [("malloc(64)", "malloc(256)"), ("i < 64", "i < 256")],
            [("malloc(64)", "malloc(256)"), ("0, 64)", "0, 256)")],
        ], [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"]])
    func `trap literal-allocation`(_ edits: [(String, String)], flags: [String]) throws {
        #expect(try Patching(Self.sources, ["a.c": edits], flags: flags).rules == ["meaning-without-layout"])
    }

    @Test func `trap literal-allocation: an inline function, and calloc`() throws {
        let sources = Self.sources.merging([
            "a.c": (Self.sources["a.c"] ?? "").replacing(
                "static char *room;", with: "static char *room; static inline int size(void) { return 64; }"
            )
            .replacing("malloc(64)", with: "calloc(1, size())").replacing("i < 64", with: "i < size()")
        ]) { $1 }
        #expect(
            try Patching(sources, ["a.c": [("return 64;", "return 256;")]]).rules == ["meaning-without-layout"])
    }

    @Test func `trap literal-allocation: a constant of a class`() throws {
        let sources = [
            "a.cc": """
            struct pool {
                static constexpr int cap = 64;
                char *room = nullptr;
                void open();
                int sum(int x);
            };
            void pool::open() { room = new char[cap]; }
            int pool::sum(int x) { int s = 0; for (int i = 0; i < cap; i++) { room[i] = (char)(x * i); s += room[i]; } return s; }
            pool one;
            """,
            "m.cc": "struct pool { char *room; void open(); int sum(int); }; extern pool one; "
                + "int main(int c, char **) { while (c--) { one.open(); one.sum(c); } return 0; }",
        ]
        #expect(try Patching(sources, ["a.cc": [("cap = 64", "cap = 256")]]).rules.contains("meaning-without-layout"))
    }

    @Test func `where an argument lies is no size`() throws {
        let sources = [
            "a.c": """
            #include <stdlib.h>
            struct box { char more[64]; long size; char *room; };
            void open_box(struct box *b) { b->room = malloc(b->size); }
            void close_box(struct box *b) { b->size = 7; free(b->room); }
            """,
            "m.c": "#include <stdlib.h>\nvoid open_box(void *); void close_box(void *); "
                + "int main(void) { char b[512] = {0}; open_box(b); close_box(b); return 0; }",
        ]
        #expect(try Patching(sources, ["a.c": [("more[64]", "more[72]")]]).rules.allSatisfy { $0 == "type-layout" })
    }

    @Test(arguments: [
        // Only the allocation grows; only the loop changes; it shrinks; another number grows elsewhere.
        [("malloc(64)", "malloc(256)")],
        [("i < 64", "i < 32")],
        [("malloc(64)", "malloc(48)"), ("i < 64", "i < 48")],
        [("malloc(64)", "malloc(256)"), ("int sum = 0;", "int sum = 7;")],
    ])
    func `numbers that have nothing to do with each other`(_ edits: [(String, String)]) throws {
        #expect(try Patching(Self.sources, ["a.c": edits]).rules == [])
    }
}
