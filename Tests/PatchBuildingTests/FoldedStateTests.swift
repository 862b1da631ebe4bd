import Testing

/// A switch that one function turns and another looks at, a count that nothing reads, and a limit that nothing writes.
private let unit = """
    static int enabled;
    static int seen;
    static int limit = 10;
    void start(int x) { if (x > 3) enabled = x; seen = x; }
    int work(int x) { static int calls = 1; return (enabled ? x * 2 : x) + (x > limit) + calls; }

    """
private let main = "void start(int); int work(int); int main(int c, char **v) { start(c); return work(c); }\n"

@Suite struct FoldedStateTests {
    private func patching(_ edits: [(String, String)], clang: Bool) throws -> Patching {
        let unit = clang ? unit.replacing("void start", with: "extern \"C\" void start") : unit
        let edits = edits.map { ($0.0, $0.1) }
        return clang
            ? try Patching(
                ["a.cc": unit, "main.cc": main.replacing("void start", with: "extern \"C\" void start")],
                ["a.cc": edits], compiler: "clang++")
            : try Patching(["a.c": unit, "main.c": main], ["a.c": edits])
    }

    @Test(arguments: [false, true])
    func `trap folded-state: the last writer goes, and new code takes the variable for zero`(
        clang: Bool
    ) throws {
        let fix = ("if (x > 3) enabled = x;", "")
        let patch = try patching([fix, ("x * 2", "x * 3")], clang: clang)
        #expect(patch.subjects(of: .lostState).contains { $0.hasPrefix("enabled") })
        #expect(patch.remedies.contains { $0.contains("__attribute__((used))") })
        let kept = try patching(
            [fix, ("static int enabled", "static int __attribute__((used)) enabled")], clang: clang)
        #expect(kept.functions.contains { $0.contains("start") })
    }

    @Test(arguments: [false, true]) func `trap folded-state: the first reader comes, and the process has not counted`(
        clang: Bool
    ) throws {
        let patch = try patching([("+ calls", "+ calls + seen")], clang: clang)
        #expect(patch.subjects(of: .lostState).contains { $0.hasPrefix("seen") })
    }

    @Test(arguments: [false, true]) func `the first writer comes, of what old code took for the constant that it is`(
        clang: Bool
    ) throws {
        #expect(try patching([("seen = x;", "seen = x; limit = x;")], clang: clang).functions.count >= 1)
    }

    @Test(arguments: [false, true]) func `what stays as it was on both sides is no lost state`(clang: Bool) throws {
        #expect(try patching([("x * 2", "x * 3")], clang: clang).functions.count == 1)
        #expect(try patching([("seen = x;", "seen = x * 2;")], clang: clang).rules == ["nothing-to-patch"])
        // A variable that comes, or that becomes a constant of the source.
        let added = try patching(
            [("+ calls", "+ calls + (fresh += x)"), ("static int limit", "static int fresh, limit")], clang: clang)
        #expect(added.functions.count == 1)
        #expect(
            try patching([("static int limit", "static const int limit"), ("x * 2", "x * 3")], clang: clang).functions
                .count == 1)
    }
}
