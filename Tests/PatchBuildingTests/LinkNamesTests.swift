import ObjectFiles
import TestSupport
import Testing

@testable import Closing
@testable import Targets

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

    private static let aliased = [
        "a.c": """
        __attribute__((noipa)) int weak_impl(int x) { return x + 1; }
        int work(int) __attribute__((weak, alias("weak_impl")));
        int use(int x) { return work(x) + weak_impl(x) * 3; }
        """,
        "b.c": "int work(int x) { return x + 5000; }\n", "m.c": Patching.main("use"),
    ]

    @Test func `a weak alias that another unit overrides is not the function beside it`() throws {
        let patching = try Patching(Self.aliased, ["a.c": [("* 3", "* 7")]])
        #expect(patching.functions == ["use"])
        let strong = patching.target.definitions(of: "work").filter { $0.binding != .weak }.map(\.value)
        #expect(strong.count == 1 && patching.bindings["work"] == strong.first)
        #expect(patching.bindings["weak_impl"] == address("weak_impl", patching))
        var alone = Self.aliased
        alone["b.c"] = "int unused;\n"
        let own = try Patching(alone, ["a.c": [("* 3", "* 7")]])
        #expect(own.bindings["work"] == address("weak_impl", own))
    }

    @Test func `an indirect function of the unit is refused, its resolver is not`() throws {
        let sources = [
            "a.c": """
            static int fast(int x) { return x + 1; }
            void *choose(void) { return fast; }
            int work(int) __attribute__((ifunc("choose")));
            int use(int x) { return work(x) * 3; }
            int other(int x) { return (choose() != 0) + x * 5; }
            """,
            "m.c": Patching.main("use", "other"),
        ]
        #expect(try Patching(sources, ["a.c": [("* 3", "* 7")]]).rules == ["unresolved-symbol"])
        #expect(try Patching(sources, ["a.c": [("x * 5", "x * 9")]]).functions == ["other"])
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
