import Testing

@testable import PatchBuilding

/// One source compiled for two programs, by commands with different macros.
@Suite struct VariantTests {
    private static let sources = [
        "a.c": """
        volatile int count; int work(int x) { count++; return x + 1; }
        #ifdef EXTRA
        int extra(int x) { return work(x) * 3; }
        #endif
        """,
        "m.c": Patching.main("work"),
    ]
    private static func branching(_ plain: String, _ server: String) -> (String, String) {
        ("return x + 1;", "\n#ifdef SERVER\nreturn \(server);\n#else\nreturn \(plain);\n#endif\n")
    }

    private func outcome(_ edit: (String, String), _ target: [String], _ other: [String]) throws -> [String] {
        // The target is made of the unit with the flags of `target`.
        let patching = try Patching(Self.sources, ["a.c": [edit]], flags: ["-O2"] + target, variants: other)
        return patching.rules + patching.functions
    }

    @Test func `trap many-objects: variants that are equal and become different are not taken for each other`() throws {
        #expect(try outcome(Self.branching("x + 7", "x + 100"), [], ["-DSERVER"]) == ["ambiguous-symbol"])
        #expect(try outcome(("x + 1", "x + 5"), [], ["-DSERVER"]) == ["work"])
    }

    @Test func `trap many-objects: only the variant of another program changes`() throws {
        #expect(try outcome(Self.branching("x + 1", "x + 100"), [], ["-DSERVER"]) == ["ambiguous-symbol"])
    }

    @Test func `trap many-objects: the variant that explains more of the target is its own`() throws {
        let edit = Self.branching("x + 7", "x + 100")
        #expect(try outcome(edit, ["-DEXTRA"], ["-DSERVER", "-UEXTRA"]) == ["extra", "work"])
    }
}
