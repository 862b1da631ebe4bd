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

    /// A constant of vague linkage changes, and goes from the unit that gave it to the target to another one.
    @Test func `what closing finds is decided by the option that the refusal prints`() throws {
        let sources = [
            "f.h": "inline const int table[4] = {1, 2, 3, 4};\n",
            "a.cc": "#include \"f.h\"\nint work(int x) { return x * 2 + x / 7; }",
            "b.cc": "#include \"f.h\"\nint other(int x) { return x * 3 + table[x & 3]; }",
            "m.cc": "int work(int), other(int); int main(int c, char **) { return work(c) + other(c); }",
        ]
        let edits = [
            "f.h": [("1, 2", "9, 2")], "a.cc": [("x * 2 + x / 7", "table[x & 3] * 3")],
            "b.cc": [("x * 3 + table[x & 3]", "x / 5 + 2")],
        ]
        let refused = try Patching(sources, edits)
        #expect(refused.rules == ["changed-constant-escapes"])
        let options = try refused.remedies.map(option)
        let decided = try Patching(sources, edits, allowed: options)
        #expect(decided.functions.contains("_Z4worki"))
        #expect(decided.decisions.map(\.rule) == ["changed-constant-escapes"])
        #expect(decided.notes.allSatisfy { !$0.contains("--allow") })
    }

    /// Who decides expects the new value, as the rule's page says.
    @Test func `a value that can't be written is refused, whatever is decided, and no option is printed`() throws {
        let unit = """
            int first = 1, second = 2, third = 3;
            static int *chosen = &first;
            int work(int x) { if (x > 99) chosen = &third; return *chosen + x + first + second + third; }
            """
        let edit = ("chosen = &first;\nint work(int x) {", "chosen = &second;\nint work(int x) { x++;")
        let refused = try patching(unit, edit, allowed: ["data-initial-value=chosen"])
        #expect(refused.rules == ["data-initial-value"])
        #expect(refused.remedies.allSatisfy { !$0.contains("--allow") })
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
