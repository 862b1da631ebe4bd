import TestSupport
import Testing

private let helper = "int work(int x) { volatile int y = x; return y + 1; }\n"
private let program = """
    int work(int);
    static int limit;
    static __attribute__((noinline)) int twice(int x) { volatile int y = x; return y * 2; }
    int main(int c, char **v) { (void)v; limit = c; for (;;) if (work(limit) + twice(c) > 5) return limit; }

    """
private let start = ("limit = c;", "limit = c; if (limit > 100) limit = 100;")

@Suite struct LeaveOutMainTests {
    private func patching(
        _ main: [(String, String)], _ work: [(String, String)] = [("y + 1", "y + 2")],
        allowed: [String] = ["never-returns=main"]
    ) throws -> Patching {
        try Patching(["main.c": program, "work.c": helper], ["main.c": main, "work.c": work], allowed: allowed)
    }

    @Test func `a fix of main is told so`() throws {
        let patch = try patching([start], allowed: [])
        #expect(patch.functions.sorted() == ["main", "work"])
        #expect(patch.notes.contains { $0.contains("--allow 'never-returns=main (main.c)'") })
    }

    @Test func `a decision leaves main as it is, and says so`() throws {
        let patch = try patching([start])
        #expect(patch.functions == ["work"])
        #expect(patch.decisions.map(\.rule) == ["never-returns"])
        #expect(!patch.notes.contains { $0.contains("never-returns") })
    }

    @Test func `main can't stay where it calls what changes with it`() throws {
        let together = try patching([start, ("y * 2", "y * 3")])
        #expect(together.rules == ["never-returns"])
        let argument = [("int work(int);", "int work(int, int);"), ("work(limit)", "work(limit, c)")]
        let signature = try patching(argument, [("int x)", "int x, int z)"), ("y + 1", "y + z")])
        #expect(signature.subjects(of: .neverReturns) == ["main (main.c)"])
        #expect(signature.remedies.allSatisfy { !$0.contains("--allow 'never-returns") })
    }

    @Test func `a fix of main alone leaves nothing to patch`() throws {
        let patch = try patching([start], [])
        #expect(patch.rules == ["nothing-to-patch"])
        #expect(patch.remedies.contains { $0.hasPrefix("restart") })
    }
}
