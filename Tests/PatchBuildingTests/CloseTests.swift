import Testing

@testable import Closing
@testable import Targets

@Suite struct CloseTests {
    private static let helpers = [
        "counting.h":
            "static int counter; static __attribute__((noinline)) int bump(int x) { counter += x; return counter * 3; }\n",
        "a.c": "#include \"counting.h\"\nint first(int x) { return bump(x) + 1; }",
        "b.c": "#include \"counting.h\"\nint second(int x) { return bump(x) + 2; }",
        "m.c": Patching.main("first", "second"),
    ]

    @Test(arguments: [["-O2"], ["-O2", "-ffunction-sections", "-fdata-sections"]])
    func `each unit's copy of a static function is replaced, with its own data`(_ flags: [String]) throws {
        let patching = try Patching(Self.helpers, ["counting.h": [("counter * 3", "counter * 5")]], flags: flags)
        let plan = try #require(patching.plan)
        let places = Set(plan.functions.compactMap(\.description.original?.range.address))
        #expect(patching.functions == ["bump", "bump"])
        #expect(places == Set(patching.target.definitions(of: "bump").map(\.value)))
        let counters = plan.units.compactMap { unit in
            unit.newReferences.values.compactMap { reference -> UInt64? in
                if case .outside(let binding) = reference, binding.symbol == "counter" { binding.address } else { nil }
            }.first
        }
        #expect(Set(counters) == Set(patching.target.definitions(of: "counter").map(\.value)))
    }

    @Test func `a function that calls its unit's copy is bound to that one`() throws {
        let patching = try Patching(
            Self.helpers, ["b.c": [("+ 2", "+ 99")]], flags: ["-O2", "-ffunction-sections", "-fdata-sections"])
        #expect(patching.functions == ["second"])
        #expect(patching.bindings["bump"] == patching.target.definitions(of: "bump").map(\.value).max())
    }

    @Test func `a new function of a unit that changes in nothing else travels`() throws {
        let patching = try Patching(
            [
                "a.c": "int work(int x) { return x * 2; }", "b.c": "int other(int x) { return x * 7; }",
                "m.c": Patching.main("work", "other"),
            ],
            [
                "a.c": [("int work(int x) { return x", "int fresh(int); int work(int x) { return fresh(x)")],
                "b.c": [("", "\nint fresh(int x) { return x - 3; }")],
            ])
        #expect(patching.functions == ["work", "+fresh"])
    }

    @Test(arguments: [("-fstack-protector-all", "", false), ("-fno-stack-protector", "abort();", true)])
    func `trap noreturn-end: nobody comes back from the stack protector's last call`(
        _ flag: String, _ last: String, _ ends: Bool
    ) throws {
        let text = "void abort(void); int work(int x) { if (x < 90) return x * 2; \(last) return x; }"
        let patching = try Patching(
            ["a.c": text, "b.c": "int other(int x) { return x * 7; }", "m.c": Patching.main("work", "other")],
            ["a.c": [("x * 2", "x * 3")]], flags: ["-O2", "-fno-reorder-blocks-and-partition", flag])
        #expect(patching.functions == ["work"])
        #expect(patching.plan?.functions.first?.description.original?.endsWithCall == ends)
    }

    private static let numbered = [
        "a.c": """
        __attribute__((noinline)) int work(int x) { static int n = 5; n += x; return n * 2; }
        __attribute__((noinline)) int other(int x) { static int n = 9; n += x; return n * 7; }
        """,
        "m.c": Patching.main("work", "other"),
    ]

    /// GCC counts from the last function: the new one has `n.0`, which was the second's, which has the first's `n.1`.
    @Test func `a static local whose number changes keeps its place`() throws {
        let late = "int late(int x) { static int n = 1; n += x; return n; }"
        for (edit, name) in [(("* 2", "* 3"), "n.1"), (("* 7", "* 8"), "n.0")] {
            let patching = try Patching(Self.numbered, ["a.c": [edit, ("", late)]])
            #expect(patching.bindings.filter { $0.key.hasPrefix("n.") }.map(\.key) == [name])
            #expect(patching.bindings[name] == patching.target.definitions(of: name).first?.value)
        }
    }

    private static let moving = [
        "a.c": "int state = 3; int get(int x) { return state + x; } int work(int x) { return get(x) * 2; }",
        "b.c": "int get(int); int other(int x) { return get(x) * 7; }", "m.c": Patching.main("work", "other"),
    ]

    @Test func `a global that moves to another unit is not made a second time`() throws {
        let data = try Patching(
            Self.moving,
            ["a.c": [("int state = 3", "extern int state"), ("* 2", "* 4")], "b.c": [("", "\nint state = 3;")]])
        #expect(data.rules == ["ambiguous-symbol"])
        let code = try Patching(
            Self.moving,
            [
                "a.c": [("int get(int x) { return state + x; }", "int get(int);"), ("* 2", "* 4")],
                "b.c": [("", "\nextern int state; int get(int x) { return state + x + 1; }")],
            ])
        #expect(code.rules == ["ambiguous-symbol"])
        let neither = try Patching(Self.moving, ["a.c": [("* 2", "* 4")]])
        #expect(neither.functions == ["work"])
    }

    @Test func `a new global under the name of a library's function is refused, a static one is not`() throws {
        let sources = [
            "a.c": "int puts(const char *); int work(int x) { return puts(\"a\") + x * 3; }",
            "b.c": "int puts(const char *); int other(int x) { return puts(\"b\") + x; }",
            "m.c": Patching.main("work", "other"),
        ]
        let body = "int puts(const char *s) { return *s; } int work"
        let edit = [("int puts(const char *); int work", body), ("x * 3", "x * 5")]
        #expect(try Patching(sources, ["a.c": edit]).rules == ["ambiguous-symbol"])
        let own = [("int puts(const char *); int work", "static " + body), ("x * 3", "x * 5")]
        #expect(try Patching(sources, ["a.c": own]).functions.contains("work"))
    }

    private static let hidden = [
        "a.c": "int work(int x) { return x * 2; }",
        "b.c":
            "static __attribute__((noinline)) int helper(int x) { return x * 7; } int other(int x) { return helper(x) + 1; }",
        "m.c": Patching.main("work", "other"),
    ]

    @Test func `another unit's static is never what an undefined name means`() throws {
        let patching = try Patching(
            Self.hidden,
            ["a.c": [("int work(int x) { return x", "int helper(int); int work(int x) { return helper(x)")]])
        #expect(patching.rules == ["unresolved-symbol"])
    }

    @Test func `a static that becomes global is the one the target has`() throws {
        let patching = try Patching(
            Self.hidden,
            [
                "a.c": [("int work(int x) { return x", "int helper(int); int work(int x) { return helper(x)")],
                "b.c": [("static ", "")],
            ])
        #expect(patching.functions.contains("work") && !patching.functions.contains("+helper"))
        #expect(patching.bindings["helper"] == patching.target.definitions(of: "helper").first?.value)
    }

    @Test func `a common symbol that the target lacks travels`() throws {
        let patching = try Patching(
            ["a.c": "int room[4]; int work(int x) { return room[x & 3] + x; }", "m.c": Patching.main("work")],
            ["a.c": [("int work", "int extra; int work"), ("+ x", "+ x + extra++")]], flags: ["-O2", "-fcommon"])
        #expect(patching.functions == ["work"])
        #expect(patching.bindings["extra"] == nil)
    }

    @Test func `a function of an asm statement without a size is compared and replaced`() throws {
        let unit =
            "asm(\".text\\n.globl raw\\nraw: lea 1(%rdi), %eax\\n imul $7, %eax\\n ret\\n\"); int raw(int);\nint work(int x) { return raw(x) + 1; }"
        let patching = try Patching(["a.c": unit, "m.c": Patching.main("work")], ["a.c": [("lea 1(", "lea 2(")]])
        #expect(patching.functions == ["raw"])
    }

    @Test func `a label inside of a function is no function`() throws {
        let unit =
            "int sink(int); int work(int x) { x = sink(x); asm volatile(\"inner_label: nop\"); return sink(x + 3) + 7; }"
        let rest = "int sink(int x) { return x + 1; }\n" + Patching.main("work")
        let patching = try Patching(["a.c": unit, "m.c": rest], ["a.c": [("x + 3", "x + 4")]])
        #expect(patching.functions == ["work"])
    }

    @Test func `trap many-objects: a variant that has an equal small function is not the target's`() throws {
        let unit = """
            static int level; __attribute__((noinline)) int small(int x) { return x * 771 + 5; }
            int large(int x) { level += small(x); return level * 3; }
            """
        let patching = try Patching(
            ["a.c": unit, "m.c": Patching.main("large")], ["a.c": [("771", "772"), ("* 3", "* 9")]],
            flags: ["-O2", "-fPIE"], variants: ["-O1"])
        #expect(patching.functions == ["large", "small"])
        #expect(patching.plan?.units.map(\.name) == ["a.c"])
    }

    @Test func `trap aliases: a function that becomes another name of one is refused`() throws {
        let patching = try Patching(
            [
                "a.c": "int a(int x) { return x * 313; } int b(int x) { return x * 515; }",
                "m.c": Patching.main("a", "b"),
            ],
            [
                "a.c": [
                    ("int b(int x) { return x * 515; }", "int b(int x) __attribute__((alias(\"a\")));"), ("313", "919"),
                ]
            ])
        #expect(patching.rules == ["aliases"])
    }

    @Test func `trap ipa-contract: a function with a caller that changes too is coupled to it`() throws {
        let sources = [
            "a.c":
                "int callee(int x) __attribute__((noinline)); int callee(int x) { return x * 313; }\nint caller(int x) { return callee(x) + 7; }",
            "m.c": Patching.main("caller"),
        ]
        let both = try Patching(sources, ["a.c": [("313", "414"), ("+ 7", "+ 8")]])
        #expect(both.plan?.functions.first?.description.original?.abiCoupled == true)
        let one = try Patching(sources, ["a.c": [("313", "414")]])
        #expect(one.plan?.functions.first?.description.original?.abiCoupled == false)
    }
}
