import Testing

@testable import Guarding

/// A rule that says it can be decided can be decided wherever it is raised.
@Suite struct DecisionTests {
    private func patching(_ unit: String, _ edit: (String, String), allowed: [String] = []) throws -> Patching {
        try Patching(["a.c": unit, "m.c": Patching.main("work")], ["a.c": [edit]], allowed: allowed)
    }

    /// What stands behind `--allow`, as a shell gives it.
    private func option(in remedy: String) throws -> String {
        let quoted = try #require(remedy.split(separator: "--allow '").last)
        return String(quoted.dropLast()).replacing("'\\''", with: "'")
    }

    private static let labels = """
        int work(int x) {
            static void *table[] = {&&zero, &&one};
            if (x > 9) table[0] = table[1];
            goto *table[x & 1];
        zero: return 3;
        one: return x * 7 + 1;
        }
        """

    @Test func `what closing finds is decided by the option that the refusal prints`() throws {
        let edit = ("x * 7 + 1", "x * 9 + 2")
        let refused = try patching(Self.labels, edit)
        // The table's first value changes with the code that it leads into, too.
        let rules: Set = ["changed-constant-escapes", "data-initial-value"]
        #expect(Set(refused.rules) == rules)
        let options = try refused.remedies.map(option)
        let decided = try patching(Self.labels, edit, allowed: options)
        #expect(decided.functions == ["work"])
        #expect(Set(decided.decisions.map(\.rule)) == rules)
        #expect(decided.decisions.contains { $0.why.contains("it is writable and holds places inside of") })
        #expect(decided.notes.allSatisfy { !$0.contains("--allow") })
    }

    @Test func `a value that can't be written stays by decision`() throws {
        let unit = """
            static int first = 1, second = 2;
            static int *chosen = &first;
            int work(int x) { if (x > 99) chosen = &second; return *chosen + x + first + second; }
            """
        let edit = ("chosen = &first;\nint work(int x) {", "chosen = &second;\nint work(int x) { x++;")
        let refused = try patching(unit, edit)
        #expect(refused.rules == ["data-initial-value"])
        let option = try option(in: #require(refused.remedies.first))
        let decided = try patching(unit, edit, allowed: [option])
        #expect(decided.functions == ["work"])
        #expect(decided.values.isEmpty)
        #expect(decided.decisions.first?.why.contains("the old value stays") == true)
    }

    @Test func `a value that can be written is written by the same decision`() throws {
        let unit = "static int limit = 5; int work(int x) { if (x > 99) limit++; return x + limit; }"
        let decided = try patching(
            unit, ("limit = 5; int work(int x) {", "limit = 6; int work(int x) { x++;"),
            allowed: ["data-initial-value=limit"])
        #expect(decided.values.map(\.name) == ["limit"])
    }

    @Test func `a decision that nothing asks for is said`() throws {
        let unit = "int work(int x) { return x * 7 + x / 3; }"
        let patching = try patching(unit, ("x * 7", "x * 9"), allowed: ["type-layout=struct nobody"])
        #expect(patching.functions == ["work"])
        #expect(patching.notes.contains { $0.contains("type-layout=struct nobody") && $0.contains("nothing asks") })
        #expect(patching.decisions.isEmpty)
    }
}
