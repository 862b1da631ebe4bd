import TestSupport
import Testing

@testable import Closing

private let unit = """
    static int calls;
    static __attribute__((noinline)) int helper(int x) { volatile int y = x; calls++; return y * 3 + calls; }
    int unused(int x) { return helper(x) + helper(x + 1); }
    int f(int x) { volatile int y = x; for (int i = 0; i < 3; i++) y += i; return y + 10; }

    """

@Suite struct DroppedDefinitionTests {
    private func patching(_ edits: [(String, String)], flags: [String] = [], link: [String] = []) throws -> Patching {
        try Patching(
            ["a.c": unit, "main.c": Patching.main("f")], ["a.c": edits],
            flags: ["-O2", "-ffunction-sections", "-fdata-sections"] + flags, link: ["-Wl,--gc-sections"] + link)
    }

    @Test func `trap dropped-section: what --gc-sections left out of the target travels`() throws {
        let patch = try patching([("y + 10", "helper(y)")])
        #expect(patch.functions == ["f", "+helper"])
        #expect(patch.bindings["helper"] == nil && patch.bindings["calls"] == nil)
    }

    @Test func `what the change makes of a dropped function travels, and only where it is called`() throws {
        let called = try patching([("y + 10", "helper(y)"), ("y * 3", "y * 4")])
        #expect(called.functions == ["f", "+helper"])
        let alone = try patching([("y + 10", "y + 11"), ("y * 3", "y * 4")])
        #expect(alone.functions == ["f"])
    }

    @Test func `a variable that other code uses is the target's, though a dropped function uses it`() throws {
        let used = "\nint g(int x) { return calls += x; }\n"
        let patch = try Patching(
            ["a.c": unit + used, "main.c": Patching.main("f", "g")], ["a.c": [("y + 10", "helper(y)")]],
            flags: ["-O2", "-ffunction-sections", "-fdata-sections"], link: ["-Wl,--gc-sections"])
        #expect(patch.functions == ["f", "+helper"])
        #expect(patch.bindings["calls"] != nil)
    }

    @Test func `where the symbol table does not name statics, nothing counts as left out`() throws {
        let patch = try Patching(
            ["a.c": unit, "main.c": Patching.main("f")], ["a.c": [("y + 10", "helper(y)")]],
            flags: ["-O2", "-ffunction-sections", "-fdata-sections"], link: ["-Wl,--gc-sections"], strip: ["-x"])
        #expect(patch.rules == ["unresolved-symbol", "unresolved-symbol"] || patch.rules == ["unresolved-symbol"])
    }
}
