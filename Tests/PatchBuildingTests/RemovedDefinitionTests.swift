import Testing

@testable import PatchBuilding

/// A name in new code means what the new link makes of it: what the fix removed is no candidate (trap
/// removed-definition).
@Suite struct RemovedDefinitionTests {
    private static let own = [
        "global": "int abs(int x) { return x / 7; }\n", "static": "static int abs(int x) { return x + (x >> 30); }\n",
        "weak": "__attribute__((weak)) int abs(int x) { return x / 7; }\n",
    ]
    private static func sources(_ definition: String) -> [String: String] {
        [
            "a.c": "__attribute__((noinline)) " + definition
                + "__attribute__((noinline)) int abs(int); int work(int x) { return abs(x) * 3; }",
            "m.c": Patching.main("work"),
        ]
    }
    private static let flags = ["-O2", "-fno-builtin"]

    @Test(arguments: own.keys.sorted(), ["-fpie", "-fno-pie"])
    func `trap removed-definition: the library's is meant`(kind: String, mode: String) throws {
        let definition = try #require(Self.own[kind])
        let flags = Self.flags + [mode] + (mode == "-fno-pie" ? ["-no-pie"] : [])
        let gone = ("__attribute__((noinline)) " + definition, "")
        let patching = try Patching(Self.sources(definition), ["a.c": [gone, ("* 3", "* 5")]], flags: flags)
        #expect(patching.rules == ["ambiguous-symbol"])
        // Nothing else changes, and yet the program does.
        #expect(try Patching(Self.sources(definition), ["a.c": [gone]], flags: flags).rules == ["ambiguous-symbol"])
        let kept = try Patching(Self.sources(definition), ["a.c": [("* 3", "* 5")]], flags: flags)
        #expect(kept.functions == ["work"])
        #expect(kept.bindings["abs"] != nil)
    }

    private static let two = [
        "a.c": "__attribute__((noipa)) int parse(int x) { return x / 7; } int other(int x) { return x * 3; }",
        "b.c": "int parse(int); int work(int x) { return parse(x) * 3; }",
        "m.c": Patching.main("work", "other"),
    ]

    @Test func `trap removed-definition: another unit's`() throws {
        let sources = Self.two.mapValues { $0.replacing("parse", with: "abs") }
        let gone = ("int abs(int x) { return x / 7; } ", "")
        let both = try Patching(sources, ["a.c": [gone], "b.c": [("* 3", "* 5")]], flags: Self.flags)
        #expect(Set(both.rules) == ["ambiguous-symbol"])
        #expect(try Patching(sources, ["a.c": [gone]], flags: Self.flags).rules == ["ambiguous-symbol"])
    }

    @Test func `trap removed-definition: a variable, and one of each thread`() throws {
        for kind in ["int", "__thread int"] {
            let sources = [
                "a.c": "static \(kind) optind = 3; int work(int x) { optind += x; return optind * 3; }",
                "m.c": Patching.main("work"),
            ]
            let edits = [("static \(kind) optind = 3;", "extern \(kind) optind;")]
            #expect(!(try Patching(sources, ["a.c": edits]).rules.isEmpty), "\(kind)")
        }
    }

    @Test func `a function that moves and changes is not nothing`() throws {
        let moved = ("__attribute__((noipa)) int parse(int x) { return x / 7; } ", "")
        let changed = try Patching(
            Self.two,
            [
                "a.c": [moved],
                "b.c": [("int parse(int);", "__attribute__((noipa)) int parse(int x) { return x / 9; }")],
            ],
            flags: ["-O2", "-fno-inline"])
        #expect(changed.rules == ["ambiguous-symbol"])
        let same = try Patching(
            Self.two,
            [
                "a.c": [moved],
                "b.c": [("int parse(int);", "__attribute__((noipa)) int parse(int x) { return x / 7; }")],
            ],
            flags: ["-O2", "-fno-inline", "-O2"])
        #expect(same.rules == ["nothing-to-patch"])
    }

    @Test func `what no new code means may go`() throws {
        let unused = [
            "a.c": "int abs(int x) { return x / 7; } int work(int x) { return abs(x) * 3; }",
            "m.c": Patching.main("work"),
        ]
        let gone = ("int abs(int x) { return x / 7; } ", "")
        let patching = try Patching(unused, ["a.c": [gone, ("abs(x) * 3", "x * 5")]], flags: Self.flags)
        #expect(patching.functions == ["work"])
        let other = try Patching(
            [
                "a.c": "static int used(int x) { return x / 7; } int work(int x) { return used(x) * 3; }",
                "m.c": Patching.main("work"),
            ],
            ["a.c": [("int used", "int safe"), ("used(x)", "safe(x)"), ("/ 7", "/ 9")]], flags: ["-O2", "-fno-inline"])
        #expect(other.functions == ["work", "+safe"])
    }
}
