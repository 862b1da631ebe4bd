import Diagnostics
import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing
@testable import Guarding
@testable import Matching
@testable import Targets

/// Official code that the rebuild lacks, and where it lies to the unit that is patched: `unit.c`, whose static `check` changes.
@Suite struct CoverageTests {
    private static let check = """
        static inline int check(int x) { if (x > FACTOR * 3) puts("too large"); return x * FACTOR + (x ^ 3); }
        """
    private static let extra = """
        EXTRA int more(int x) { int s = 3; for (int i = 0; i < x; i++) s += check(i ^ s); return s; }
        """
    private static let users = [
        "int first(int x) { return check(x + 1) * 5; }",
        "int second(int x) { if (x > 9) puts(\"nine\"); return check(x ^ 5) - x; }",
        "int third(int x) { return check(x - 77) / 3 + first(x); }",
    ]
    private static let rest = [
        "alpha.c": """
        #include <stdio.h>
        int alpha(int x) { if (x & 1) puts("odd"); return x * 11 + 4; }
        __attribute__((cold)) int alpha_cold(int x) { puts("alpha"); return x * 17; }
        """,
        "zulu.c": """
        #include <stdio.h>
        #ifdef OFFICIAL
        int changed(int x) { for (int i = 0; i < x; i++) puts("elsewhere"); return x; }
        #else
        int changed(int x) { return x * 3; }
        #endif
        int zulu(int x) { if (x & 2) puts("two"); return x * 23 - 4; }
        __attribute__((cold)) int zulu_cold(int x) { puts("zulu"); return x * 19; }
        int first(int), second(int), third(int), alpha(int), alpha_cold(int);
        #ifdef OFFICIAL_MORE
        int more(int);
        #else
        #define more(x) x
        #endif
        int main(int argc, char **argv)
        { return first(argc) + second(argc) + third(argc) + alpha(argc) + zulu(argc) + zulu_cold(argc) + changed(argc)
            + alpha_cold(argc) + argv[0][0]; }
        """,
    ]

    /// Unit and all, with the extra function behind the `place`th of the users; nil: nowhere.
    private static func sources(extraAt place: Int?, attribute: String = "", factor: Int = 7) -> [String: String] {
        var parts = users
        if let place { parts.insert("#ifdef OFFICIAL\n" + extra + "\n#endif", at: place) }
        let head = "#include <stdio.h>\n#define FACTOR \(factor)\n#define EXTRA \(attribute)\n"
        return rest.merging(["unit.c": head + check + "\n" + parts.joined(separator: "\n")]) { $1 }
    }

    private func refusals(
        _ sources: [String: String], changed: [String: String], differing: Set<String>, flags: [String] = ["-O2"],
        link: [String] = []
    ) throws -> [Guarding.Finding] {
        let program = try Relinked(sources, flags: flags, differing: differing, link: link)
        let split = flags + ["-g", "-ffunction-sections", "-fdata-sections", "-c"]
        func view(_ name: String, _ text: String) throws -> ObjectView {
            let headers = sources.filter { $0.key.hasSuffix(".h") }.merging(changed.filter { $0.key.hasSuffix(".h") }) {
                old, new in
                text == changed[name] ? new : old
            }
            return ObjectView(
                try ObjectFile.read(path: try Fixture.compile(headers.merging([name: text]) { $1 }, split)))
        }
        let compiled = try changed.keys.filter { $0.hasSuffix(".c") }.sorted().map { name in
            compareUnit(
                LoadedUnit(
                    name: name, source: name, isCPlusPlus: false,
                    plain: ObjectView(try ObjectFile.read(path: "\(program.directory)/rebuilt-\(name).o")),
                    original: try view(name, sources[name] ?? ""), new: try view(name, changed[name] ?? "")))
        }
        let held = try matchUnits(compiled, in: program.image)
        try #require(held.contains { $0.matched.matched.contains("first") }, "\(held.map(\.matched.mismatches))")
        return guardCoverage(compiled, held: held, in: LoadedTarget(image: program.image, debugInfo: nil))
    }

    @Test(arguments: [["-O2"], ["-O2", "-ffunction-sections"], ["-O2", "-fno-pie", "-no-pie"], ["-O3"]], 0...3)
    func `a function of the unit that only the official file has is refused, wherever it lies`(
        _ flags: [String], _ place: Int
    ) throws {
        let sources = Self.sources(extraAt: place)
        let changed = Self.sources(extraAt: place, factor: 9)
        let found = try refusals(
            sources, changed: ["unit.c": changed["unit.c"] ?? ""], differing: ["unit.c"], flags: flags)
        #expect(found.count == 1)
        #expect(found.first?.why.contains("first") == true || place != 1, "\(found)")
    }

    @Test(arguments: ["cold", "constructor", "section(\".text_more\")"])
    func `a function of the unit in a part where the rebuilt unit has none is refused`(_ attribute: String) throws {
        let attributes = "__attribute__((\(attribute)))"
        let void = attribute == "constructor"
        func text(_ factor: Int) -> String {
            let text = Self.sources(extraAt: 1, attribute: attributes, factor: factor)["unit.c"] ?? ""
            return void
                ? text.replacing("int more(int x)", with: "void more(int x)").replacing(
                    "return s;", with: "puts(s > 8 ? \"a\" : \"b\");") : text
        }
        let sources = Self.rest.merging(["unit.c": text(7)]) { $1 }
        let found = try refusals(sources, changed: ["unit.c": text(9)], differing: ["unit.c"])
        #expect(found.count == 1, "\(attribute)")
    }

    @Test(arguments: [["-O2"], ["-O2", "-ffunction-sections"], ["-O1"]])
    func `another unit's function that differs is no reason to refuse`(_ flags: [String]) throws {
        let changed = Self.sources(extraAt: nil, factor: 9)["unit.c"] ?? ""
        // Next to the unit, and apart from it.
        for rename in [false, true] {
            var sources = Self.sources(extraAt: nil)
            if rename { sources["yankee.c"] = "int yankee(int x) { return x * 41 + 5; }" }
            let found = try refusals(sources, changed: ["unit.c": changed], differing: ["zulu.c"], flags: flags)
            #expect(found.isEmpty, "\(found)")
        }
    }

    /// With halves of functions before the rest of the code, in other units only; one of which, in the official file, has
    /// one more rarely run function.
    private static func halves(_ sources: [String: String]) -> [String: String] {
        var sources = sources
        let others = ["alpha", "yankee", "yellow", "zulu"]
        for name in others {
            let extra = """
                #ifdef OFFICIAL
                __attribute__((cold)) int \(name)_more(int x) { puts("more of \(name)"); return x * 29; }
                #endif
                """
            sources["\(name).c", default: "#include <stdio.h>\n"] += """

                void fail(const char *) __attribute__((cold, noreturn));
                static __attribute__((noinline)) int \(name)_half(int x)
                { if (x < \(name.count * 3)) fail("\(name)"); return x * 7 - 2; }
                int \(name)_all(int x) { return \(name)_half(x) + \(name)_half(x - 3); }
                \(name == "yellow" ? extra : "")
                """
        }
        sources["zzz.c"] = """
            #include <stdlib.h>
            void fail(const char *text) { exit(text[0]); }
            \(others.map { "int \($0)_all(int);" }.joined(separator: "\n"))
            int all(int x) { return \(others.map { "\($0)_all(x)" }.joined(separator: " + ")); }
            """
        return sources
    }

    @Test func `another unit's rarely run function, between others' halves, is no reason to refuse`() throws {
        let sources = Self.halves(Self.sources(extraAt: nil))
        let changed = Self.sources(extraAt: nil, factor: 9)["unit.c"] ?? ""
        let program = try Relinked(sources, flags: ["-O2"], differing: ["yellow.c"])
        #expect(program.image.translated?.code.gaps.isEmpty == false)
        #expect(program.truth.symbols.filter { $0.name.hasSuffix(".cold") }.count == 4)
        let found = try refusals(sources, changed: ["unit.c": changed], differing: ["yellow.c"])
        #expect(found.isEmpty, "\(found)")
    }

    @Test func `a rarely run function of the unit is refused, though the rebuilt unit has no such code`() throws {
        let cold = "__attribute__((cold))"
        let sources = Self.halves(Self.sources(extraAt: 1, attribute: cold))
        let changed = Self.sources(extraAt: 1, attribute: cold, factor: 9)["unit.c"] ?? ""
        let found = try refusals(sources, changed: ["unit.c": changed], differing: ["unit.c"])
        #expect(found.count == 1)
        #expect(found.first?.why.contains("between") == true, "\(found)")
    }

    @Test func `of a header's static function, a unit that uses it in the official file only is refused`() throws {
        var sources = Self.sources(extraAt: nil)
        sources["check.h"] = "#include <stdio.h>\n#define FACTOR 7\n" + Self.check
        sources["unit.c"] = "#include \"check.h\"\n" + Self.users.joined(separator: "\n")
        sources["whiskey.c"] =
            "#include \"check.h\"\nint whiskey(int x) { return x * 31; }\n#ifdef OFFICIAL\n#define EXTRA\n\(Self.extra)\n#endif\n"
        var changed = sources.filter { ["unit.c", "whiskey.c", "check.h"].contains($0.key) }
        changed["check.h"] = sources["check.h"]?.replacing("FACTOR 7", with: "FACTOR 9")
        // The marker keeps the two compilations of one text apart.
        for name in ["unit.c", "whiskey.c"] { changed[name] = (sources[name] ?? "") + "\n/* new */\n" }
        let found = try refusals(sources, changed: changed, differing: ["whiskey.c"])
        // Where the compiler lays out the file so that the code could be of either unit, both are named.
        #expect(!found.isEmpty)
        #expect(found.contains { $0.subject.contains("whiskey.c") }, "\(found)")
        let none = try refusals(sources, changed: changed, differing: ["zulu.c"])
        #expect(none.isEmpty, "\(none)")
    }
}
