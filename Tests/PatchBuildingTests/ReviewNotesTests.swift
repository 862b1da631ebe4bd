import SourceChanges
import Testing

@testable import Guarding
@testable import Recompiling

/// Trap meaning-without-layout: what is listed, and what needs a decision.
@Suite struct ReviewNotesTests {
    private func changes(
        _ before: [String: String], _ edited: [String: String], constants: [String: (Int64, Int64)] = [:]
    ) throws -> [ConstantChange] {
        let tree = try SourceTree(before)
        defer { tree.remove() }
        var input = CompiledInput()
        input.change = tree.change(edited)
        input.units = before.keys.filter { $0.hasSuffix(".c") }.map { path in
            UnitObjects(
                name: path, source: tree.root + "/" + path, isCPlusPlus: false, plainObject: "", originalObject: "",
                newObject: "")
        }
        return constantChanges(
            input, constants: [("u.o", constants.mapValues(\.0), constants.mapValues(\.1))])
    }

    private static let pool = [
        "size.h": "#define ROOM 64 /* bytes */\n#define SAME 7\n#define F(x) x\n#define DOUBLE (ROOM * 2)\n",
        "make.c": """
        #include "size.h"
        char *make(void) { size_t n = DOUBLE; return malloc(n); }
        """,
        "fill.c": """
        #include "size.h"
        static int seen[SAME];
        void fill(char *p) { for (int i = 0; i < ROOM; i++) p[i] = seen[i & 3]; }
        """,
    ]

    @Test("trap meaning-without-layout: a macro with another value is named with the functions that it reaches")
    func macroIsNamed() throws {
        var sources = Self.pool
        sources["make.c"] = nil
        let found = try changes(sources, ["size.h": "#define ROOM 256\n#define SAME  7\n#define F(x) (x)\n"])
        #expect(found.map(\.name) == ["ROOM"])
        #expect(found.first?.note.contains("ROOM changes from 64 to 256 (used by fill)") == true)
        #expect(found.first?.finding == nil)
    }

    @Test("trap meaning-without-layout: an allocation size that another function relies on needs a decision")
    func allocationSize() throws {
        let found = try changes(Self.pool, ["size.h": Self.pool["size.h"]!.replacing("64", with: "256")])
        #expect(found.first?.functions.sorted() == ["fill", "make"])
        #expect(found.first?.allocating == ["make"])
        #expect(found.first?.finding != nil)
        #expect(found.first?.finding?.subject == "ROOM")
    }

    @Test("trap meaning-without-layout: one function alone agrees with itself")
    func oneFunction() throws {
        var sources = Self.pool
        sources["fill.c"] = nil
        let found = try changes(sources, ["size.h": sources["size.h"]!.replacing("64", with: "256")])
        #expect(found.count == 1 && found.first?.finding == nil)
    }

    @Test("trap meaning-without-layout: enumerators without a type's name, and integer constants")
    func constantsOfDebugInformation() throws {
        let sources = [
            "a.c":
                "enum { ROOM = 64 }; char *make(void) { return calloc(ROOM, 1); } int use(int i) { return i < ROOM; }"
        ]
        let found = try changes(
            sources, ["a.c": sources["a.c"]!.replacing("64", with: "256")],
            constants: ["ROOM": (64, 256), "OTHER": (3, 3)])
        #expect(found.map(\.name) == ["ROOM"])
        #expect(found.first?.finding != nil)
    }

    @Test("trap meaning-without-layout: states that are numbered anew need a decision")
    func renumbered() throws {
        let before = [
            "s.h": "#define IDLE 0\n#define BUSY 1\n#define LIMIT 9\n", "a.c": "int f(int s) { return s == BUSY; }",
        ]
        let swapped = try changes(before, ["s.h": "#define IDLE 1\n#define BUSY 0\n#define LIMIT 9\n"])
        #expect(swapped.compactMap(\.finding).map(\.subject) == ["BUSY", "IDLE"])
        func grammar(_ first: Int) -> String {
            "#define BEFORE 2\n" + (0..<8).map { "#define TOKEN\($0) \(first + $0)\n" }.joined()
        }
        let tokens = try changes(["t.h": grammar(3), "a.c": before["a.c"]!], ["t.h": grammar(4)])
        #expect(tokens.count == 8 && tokens.compactMap(\.finding).count == 7)
        #expect(guardMeaning(tokens).map(\.subject) == ["t.h"])
        let raised = try changes(before, ["s.h": "#define IDLE 0\n#define BUSY 1\n#define LIMIT 12\n"])
        #expect(raised.count == 1 && raised.allSatisfy { $0.finding == nil })
    }
}
