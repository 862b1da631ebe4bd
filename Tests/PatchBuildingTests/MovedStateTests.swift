import Testing

@testable import Guarding

/// State that moves to another unit, or is renamed there, would start anew (trap state-moves-units).
@Suite struct MovedStateTests {
    private static let sources = [
        "a.c": "static int used; int add(int x) { used += x; return used; } int seen(int x) { return x + 1; }",
        "b.c": "int add(int); int work(int x) { return add(x) * 3; } int last(int x) { return x * 2; }",
        "m.c": Patching.main("work", "seen", "last"),
    ]

    @Test(arguments: [
        // A static variable and its user move.
        [
            "a.c": [("static int used; int add(int x) { used += x; return used; } ", "")],
            "b.c": [("int add(int);", "static int used; static int add(int x) { used += x; return used; }")],
        ],
        // It moves, under another name.
        [
            "a.c": [("static int used; int add(int x) { used += x; return used; } ", "")],
            "b.c": [
                ("int add(int);", "static int spent; int plus(int x) { spent += x; return spent; }"),
                ("add(x)", "plus(x)"),
            ],
        ],
        // It becomes global in the other unit.
        [
            "a.c": [("static int used;", "extern int used;")],
            "b.c": [("int add(int);", "int used; int add(int);"), ("* 3", "* 3 + used")],
        ],
        // It is renamed to a global of the other unit.
        [
            "a.c": [("static int used;", "extern int total;"), ("used += x; return used", "total += x; return total")],
            "b.c": [("int add(int);", "int total; int add(int);"), ("* 3", "* 3 + total")],
        ],
    ])
    func `trap state-moves-units`(_ edits: [String: [(String, String)]]) throws {
        let patching = try Patching(Self.sources, edits)
        #expect(!Set(patching.rules).isDisjoint(with: ["lost-state", "ambiguous-symbol"]))
    }

    private static let global = [
        "a.c": "int used; int add(int x) { used += x; return used; }",
        "b.c": "extern int used; int add(int); int work(int x) { return add(x) * 3 + used; }",
        "m.c": Patching.main("work"),
    ]

    @Test func `trap state-moves-units: a global is renamed`() throws {
        let patching = try Patching(
            Self.global,
            [
                "a.c": [("int used", "int spent"), ("used += x; return used", "spent += x; return spent")],
                "b.c": [("extern int used", "extern int spent"), ("+ used", "+ spent")],
            ])
        #expect(patching.rules.contains("lost-state"))
    }

    @Test func `new state in one unit has nothing to do with what goes in another`() throws {
        let patching = try Patching(
            [
                "a.c": "static int calls; int add(int x) { calls++; return x / 7 + 1; }",
                "b.c": "int work(int x) { return x / 3; }", "m.c": Patching.main("work", "add"),
            ],
            [
                "a.c": [("static int calls; ", ""), ("calls++; ", "")],
                "b.c": [("return x / 3", "static int limit; return ++limit > 9 ? 0 : x / 3")],
            ])
        #expect(patching.functions == ["add", "work"])
    }
}
