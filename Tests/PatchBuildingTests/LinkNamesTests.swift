import ObjectFiles
import TestSupport
import Testing

@testable import PatchBuilding

/// Trap binding-scope: a link may give a name another meaning than the symbol table.
@Suite struct LinkNamesTests {
    private static let sources = [
        "a.c": """
        #include <stdlib.h>
        int rate(int), helper(int), near(int);
        int work(int x) { void *p = malloc(16); int r = rate(x) + (p != 0); free(p); return r; }
        int other(int x) { return helper(x) + 1; }
        """,
        "b.c": """
        #include <stdlib.h>
        int count;
        void *__real_malloc(size_t);
        void *__wrap_malloc(size_t n) { count++; return __real_malloc(n); }
        int __real_rate(int);
        int __wrap_rate(int x) { return __real_rate(x) + 1000 + count; }
        """,
        "c.c": "int rate(int x) { return x * 2; } int helper(int x) { return x * 3; }\n"
            + "int near(int x) { return x * 5; }",
        "m.c": Patching.main("work", "other"),
    ]
    private static let wrap = ["-Wl,--wrap=malloc,--wrap=rate"]

    private func address(_ name: String, _ patching: Patching) -> UInt64? {
        patching.target.definitions(of: name).first?.value
    }

    @Test(arguments: [["-O2"], ["-O2", "-fno-plt"], ["-O0", "-fno-pie", "-no-pie"]])
    func `a wrapped name is what the unit's own code calls`(_ flags: [String]) throws {
        let patching = try Patching(
            Self.sources, ["a.c": [("(p != 0)", "(p != 0) * 7")]], flags: flags, link: Self.wrap)
        #expect(patching.functions == ["work"])
        #expect(patching.bindings["malloc"] == address("__wrap_malloc", patching))
        #expect(patching.bindings["rate"] == address("__wrap_rate", patching))
    }

    @Test func `a wrapped name that the unit did not use before is refused`() throws {
        var sources = Self.sources
        sources["a.c"] = sources["a.c"]?.replacing("malloc(16)", with: "&x").replacing("free(p);", with: "")
        let patching = try Patching(sources, ["a.c": [("= &x", "= malloc(99)")]], link: Self.wrap)
        #expect(patching.rules == ["ambiguous-symbol"])
    }

    @Test func `a wrapper calls the real function`() throws {
        let patching = try Patching(
            Self.sources, ["b.c": [("+ 1000", "+ 2000"), ("count++", "count += 2")]], link: Self.wrap)
        #expect(patching.functions == ["__wrap_malloc", "__wrap_rate"])
        #expect(patching.bindings["__real_rate"] == address("rate", patching))
        let imported = (patching.plan?.units ?? []).flatMap(\.newReferences.values).compactMap { reference in
            if case .outside(let binding) = reference, binding.kind == .imported { binding.symbol } else { nil }
        }
        #expect(imported == ["malloc"])
    }

    @Test(arguments: ["--defsym=helper=near", "--defsym=helper=near+0"])
    func `a name that the link gave to something else`(_ option: String) throws {
        var sources = Self.sources
        sources["c.c"] = sources["c.c"]?.replacing("int helper(int x) { return x * 3; }", with: "")
        let patching = try Patching(
            sources, ["a.c": [("helper(x) + 1", "helper(x) + 2")]], link: Self.wrap + ["-Wl,\(option)"])
        #expect(patching.functions == ["other"])
        #expect(patching.bindings["helper"] == address("near", patching))
    }
}
