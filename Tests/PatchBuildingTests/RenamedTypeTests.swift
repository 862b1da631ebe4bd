import Testing

@testable import Guarding

/// A structure behind a `void *` that gets another name and another layout.
@Suite struct RenamedTypeTests {
    private static let sources = [
        "a.c": """
        #include <stdlib.h>
        struct session { int id; int count; };
        void *current;
        void open_session(int id) { struct session *s = malloc(sizeof *s); s->id = id; s->count = 0; current = s; }
        int work(int x) { struct session *s = current; s->count += x; return s->count / 3; }
        """,
        "m.c":
            "void open_session(int); int work(int); int main(int c, char **v) { (void)v; open_session(c); while (c--) work(c); return 0; }",
    ]

    private func rules(_ edits: [(String, String)], _ flags: [String] = ["-O2"]) throws -> [String] {
        Array(Set(try Patching(Self.sources, ["a.c": edits], flags: flags).rules)).sorted()
    }

    @Test(arguments: [
        // It grows; it is another one; its members change places; it is a union; only casts name it.
        [
            ("struct session { int id; int count; };", "struct client { int id; int count; int limit; };"),
            ("struct session *s = malloc", "struct client *s = malloc"),
            ("struct session *s = current", "struct client *s = current"),
            ("s->count / 3", "s->count / (3 + s->limit)"),
        ],
        [
            ("struct session { int id; int count; };", "struct client { long count; long id; };"),
            ("struct session *s = malloc", "struct client *s = malloc"),
            ("struct session *s = current", "struct client *s = current"),
        ],
        [
            ("struct session { int id; int count; };", "typedef struct { char *name; int id, count; } client;"),
            ("struct session *s = malloc", "client *s = malloc"),
            ("struct session *s = current", "client *s = current"),
        ],
        [
            ("struct session { int id; int count; };", "struct client { int id; union { long all; int count; }; };"),
            ("struct session *s = malloc", "struct client *s = malloc"),
            ("struct session *s = current", "struct client *s = current"),
        ],
        [
            ("struct session { int id; int count; };", "struct client { int id, more, count; };"),
            (
                "struct session *s = malloc(sizeof *s); s->id = id; s->count = 0; current = s;",
                "current = calloc(1, sizeof(struct client)); ((struct client *)current)->id = id;"
            ),
            (
                "struct session *s = current; s->count += x; return s->count / 3;",
                "((struct client *)current)->count += x; return ((struct client *)current)->count / 3;"
            ),
        ],
    ])
    func `trap renamed-type: the structure behind a void pointer`(_ edits: [(String, String)]) throws {
        #expect(try rules(edits) == ["type-layout"])
    }

    @Test func `a structure with another name and the same layout`() throws {
        let edits = [
            ("struct session { int id; int count; };", "struct client { int id; int count; };"),
            ("struct session *s = malloc", "struct client *s = malloc"),
            (
                "struct session *s = current; s->count += x; return s->count / 3;",
                "struct client *s = current; s->count += x; return s->count / 5;"
            ),
        ]
        #expect(try rules(edits) == [])
    }

    @Test func `a structure that is new, where none goes`() throws {
        let edits = [
            (
                "struct session { int id; int count; };",
                "struct session { int id; int count; }; struct range { int low, high; };"
            ),
            ("return s->count / 3;", "struct range r = {x, s->count}; return r.high / (r.low | 1);"),
        ]
        #expect(try rules(edits) == [])
    }
}
