import Testing

@testable import PatchBuilding

/// What a fix takes away, and code that does not change uses: the link of the fix finds another definition.
@Suite struct VanishedTests {
    private static let sources = [
        "a.c":
            "int policy(int x) { return x + 1; } int work(int x) { return x * 3; } int lone(int x) { return x * 9; }",
        "m.c": Patching.main("use", "work"),
        "u.c": "int policy(int); int (*kept)(int); int use(int x) { kept = 0; return policy(x) * 5; }",
        "w.c":
            "__attribute__((weak)) int policy(int x) { return x + 2; } __attribute__((weak)) int lone(int x) { return x; }",
    ]
    private static let policy = ("int policy(int x) { return x + 1; }", "")
    private static let body = ("x * 3", "x * 7")

    private func outcome(_ edits: [(String, String)], flags: [String] = ["-O2"], user: String? = nil) throws -> [String]
    {
        var sources = Self.sources
        if let user { sources["u.c"] = user }
        let patching = try Patching(sources, ["a.c": edits], flags: flags)
        return patching.rules + patching.functions
    }

    @Test(arguments: [["-O2"], ["-O0", "-fno-pie", "-no-pie"], ["-O2", "-fno-plt"]])
    func `vanished-function: the definition that overrides a weak one is gone`(flags: [String]) throws {
        #expect(try outcome([Self.policy, Self.body], flags: flags) == ["vanished-function"])
        #expect(try outcome([Self.body], flags: flags) == ["work"])
    }

    @Test func `vanished-function: another unit's data holds its address`() throws {
        let user = "int policy(int); int (*kept)(int) = policy; int use(int x) { return kept(x) * 5; }"
        #expect(try outcome([Self.policy, Self.body], user: user) == ["vanished-function"])
    }

    @Test func `a function that only changed code used may go`() throws {
        #expect(try outcome([("int lone(int x) { return x * 9; }", ""), Self.body]) == ["work"])
        let user = "int use(int x) { return x * 5; }"
        #expect(try outcome([Self.policy, Self.body], user: user) == ["work"])
    }
}
