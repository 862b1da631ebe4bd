import ObjectFiles
import Testing

@testable import Closing
@testable import ModuleLinking
@testable import Targets

@Suite struct LinkVisibilityTests {
    private static let sources = [
        "a.c": """
        int puts(const char *);
        __attribute__((visibility("hidden"))) int hidden_level = 3;
        int open_level = 4;
        static __attribute__((noinline)) int inner(int x) { asm volatile(""); return x * 31; }
        __attribute__((visibility("hidden"), noinline)) int hidden_step(int x) { asm volatile(""); return x * 7; }
        int work(int x) { return inner(x) + hidden_step(x) + hidden_level + open_level; }
        """,
        "m.c": Patching.main("work"),
    ]

    @Test(
        "trap link-visibility: nothing of the module is visible, and what the target has is lifted, whatever its visibility",
        arguments: [["-O2", "-fPIC"], ["-O2", "-fPIE"]])
    func lifted(_ flags: [String]) async throws {
        let patching = try Patching(
            Self.sources,
            [
                "a.c": [
                    (
                        "int work(int x) { return",
                        """
                        int fresh_level = 9;
                        int fresh(int x) { puts("fresh"); return x + fresh_level++; }
                        static int (*const steps[2])(int) = {inner, hidden_step};
                        int work(int x) { return fresh(x) + steps[x & 1](x) +
                        """
                    )
                ]
            ], flags: flags)
        let plan = try #require(patching.plan, "\(patching.rules)")
        let module = try ObjectFile.parse(bytes: try await link(plan).bytes, name: "module")
        let defined = module.dynamicSymbols.dropFirst().filter(\.isDefined).map(\.name)
        #expect(defined == [])
        let named = Set(module.dynamicRelocations.map { module.dynamicSymbols[$0.symbol].name }).subtracting([""])
        #expect(named.isSubset(of: ["puts"]), "\(named)")
        for name in ["inner", "hidden_step", "hidden_level", "open_level"] {
            #expect(patching.bindings[name] == patching.target.definitions(of: name).first?.value, "\(name)")
        }
    }
}
