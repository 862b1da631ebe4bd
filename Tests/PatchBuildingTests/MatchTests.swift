import Diagnostics
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import CodeModel
@testable import Guarding
@testable import Matching
@testable import PatchBuilding
@testable import Recompiling
@testable import Targets

/// A program of two units, one of which is matched.
private func program(_ unit: String, _ rest: String, flags: [String] = ["-O2"]) throws -> (
    view: ObjectView, target: TargetImage
) {
    let object = try Fixture.compile(unit, flags + ["-c"])
    let other = try Fixture.compile(rest, flags + ["-c"])
    let executable =
        try Fixture.cached([object, other] + flags) { directory in
            try runOrThrow("gcc", flags + ["-o", directory + "/program", object, other])
        } + "/program"
    return (ObjectView(try ObjectFile.read(path: object)), try TargetImage.load(path: executable, symbolsPath: nil))
}

@Suite struct MatchTests {
    /// Only where every unit is described can one be known to be none of the target's.
    @Test(arguments: [true, false]) func `a unit without debug information may be any`(isWhole: Bool) throws {
        let program =
            try Fixture.cached(["described", "\(isWhole)"]) { directory in
                try writeText("static int n; int f(int x) { return x + n++; }\n", to: directory + "/a.c")
                try writeText(
                    "int f(int); int main(int c, char **v) { (void)v; return f(c); }\n", to: directory + "/m.c")
                try runOrThrow("gcc", ["-O2", "-c", "a.c"] + (isWhole ? ["-g"] : []), in: directory)
                try runOrThrow("gcc", ["-O2", "-g", "-c", "m.c"], in: directory)
                try runOrThrow("gcc", ["a.o", "m.o", "-o", "program"], in: directory)
            } + "/program"
        let target = try TargetImage.load(path: program, symbolsPath: nil)
        let linked = LinkedSources(target, try DebugInfo.read(path: program, parts: .functions))
        #expect(linked.knowsUnits == isWhole)
        #expect(linked.lack(source: "other.c") == isWhole)
        #expect(linked.lack(source: "other.c", isDescribed: true))
        #expect(!linked.lack(source: "sub/m.c") && !linked.lack(source: "a.c"))
    }

    private static let unit = """
        #include <stdio.h>
        extern int other(int);
        static int calls;
        static __attribute__((noinline)) int helper(int x) { calls++; return x * 700; }
        int work(int x) { if (x > 3) puts("large"); return helper(x) + other(x); }
        """
    private static let rest = """
        static int calls;
        static __attribute__((noinline)) int helper(int x) { calls += 2; return x ^ 7; }
        int other(int x) { return helper(x); }
        int work(int);
        int main(int argc, char **argv) { (void)argv; return work(argc); }
        """

    @Test(arguments: [["-O2"], ["-O0"], ["-O2", "-fno-pie", "-no-pie"], ["-O2", "-fcf-protection"], ["-O3"]])
    func `every function of a unit is found by its bytes`(_ flags: [String]) throws {
        let (view, target) = try program(Self.unit, Self.rest, flags: flags)
        let matched = try #require(match(view, in: target))
        #expect(matched.matched == ["helper", "work"])
        #expect(matched.mismatches.isEmpty)
    }

    @Test func `same-named statics are told apart by what refers to them`() throws {
        let (view, target) = try program(Self.unit, Self.rest)
        let matched = try #require(match(view, in: target))
        let helpers = target.symbolFile.symbols.filter { $0.name == "helper" }.map(\.value)
        let counters = target.symbolFile.symbols.filter { $0.name == "calls" }.map(\.value)
        #expect(helpers.count == 2 && counters.count == 2)
        let helper = try #require(matched.addresses["helper"])
        let calls = try #require(matched.addresses["calls"])
        #expect(helpers.contains(helper) && counters.contains(calls))
        // The unit's own come first in the link order.
        #expect(helper == helpers.min() && calls == counters.min())
    }

    @Test func `another source does not match, and the function is named`() throws {
        let (_, target) = try program(Self.unit, Self.rest)
        let changed = Self.unit.replacing("x * 700", with: "x * 900")
        let view = ObjectView(try ObjectFile.read(path: try Fixture.compile(changed, ["-O2", "-c"])))
        let matched = try #require(match(view, in: target))
        #expect(matched.matched.contains("work"))
        #expect(matched.mismatches.keys.contains("helper"))
    }

    @Test func `trap short-jumps: an object with function sections is not what the target has`() throws {
        // A jump between functions is shortened by the assembler only where both are in one section.
        let unit =
            "int g(int);\n__attribute__((noinline)) int f(int x) { return g(x + 1); }\n"
            + "__attribute__((noinline)) int g(int x) { return x * 11; }\nint h(int x) { return f(x) + 1; }"
        let rest = "int h(int); int main(int argc, char **argv) { (void)argv; return h(argc); }"
        let (view, target) = try program(unit, rest)
        #expect(match(view, in: target)?.mismatches.isEmpty == true)
    }

    @Test func `trap linker-relaxations: loads and calls through the GOT that became direct are undone`() throws {
        let unit = """
            extern int shared; extern int other(int);
            int work(int x) { int (*p)(int) = other; shared += x; return p(x) + other(x) + shared; }
            """
        let rest = """
            int shared = 3; int other(int x) { return x + shared; } int work(int);
            int main(int argc, char **argv) { (void)argv; return work(argc); }
            """
        let (view, target) = try program(unit, rest, flags: ["-O2", "-fPIC", "-fno-plt"])
        let types = Set(view.file.sections.flatMap(\.relocations).map(\.type))
        #expect(types.contains(.rexGotpcrelx) || types.contains(.gotpcrelx))
        #expect(match(view, in: target)?.matched == ["work"])
    }

    @Test func `trap linker-relaxations: thread-local sequences that became direct are undone`() throws {
        let unit = "extern __thread int mine; int work(int x) { mine += x; return mine; }"
        let rest = "__thread int mine; int work(int); int main(int c, char **v) { (void)v; return work(c); }"
        for model in ["global-dynamic", "initial-exec"] {
            let (view, target) = try program(unit, rest, flags: ["-O2", "-fPIC", "-ftls-model=\(model)"])
            #expect(match(view, in: target)?.matched == ["work"], "\(model)")
        }
    }

    @Test func `a weak definition that another unit overrides is bound to the one that the linker took`() throws {
        let unit = """
            const unsigned char own[64] = {1, 2, 3, 4, 5};
            const unsigned char table[64] __attribute__((weak)) = {7, 7, 7};
            __attribute__((weak)) int hook(int x) { return x + 5; }
            int first(int x) { return own[x & 63] + own[(x + 1) & 63]; }
            int work(int x) { return table[x & 63] + own[x & 31] + hook(x) + first(x); }
            """
        let rest = """
            const unsigned char table[64] = {9, 9, 9};
            int hook(int x) { return x - 5; }
            int work(int);
            int main(int argc, char **argv) { (void)argv; return work(argc); }
            """
        let (view, target) = try program(unit, rest)
        let matched = try #require(match(view, in: target))
        #expect(matched.matched == ["first", "work"])
        #expect(matched.mismatches.isEmpty)
        for name in ["table", "hook"] {
            #expect(matched.addresses[name] == target.definitions(of: name).first?.value)
        }
        let elsewhere = try #require(matched.addresses["table"])
        #expect(target.bytes(at: elsewhere, size: 3)?.elementsEqual([9, 9, 9]) == true)
    }

    @Test func `a source that no unit reads is refused unless debug information shows that the target lacks it`() throws
    {
        let path = try Fixture.compile(["main.c": "int main(void) { return 0; }", "part.c": "int part;"])
        let image = try TargetImage.load(path: path, symbolsPath: nil)
        let info = try DebugInfo.read(path: path, parts: .functions)
        let unread = ["other/part.c", "tool.c"].map { path in
            UncompiledSource(path: path, refusal: Refusal(.unreadSource, subject: path, why: ""))
        }
        let known = LoadedTarget(image: image, debugInfo: info)
        #expect(try requireForeign([unread.at(1)], to: [known]).count == 1)
        #expect(throws: Refusals.self) { try requireForeign(unread, to: [known]) }
        #expect(throws: Refusals.self) {
            try requireForeign([unread.at(1)], to: [known, LoadedTarget(image: image, debugInfo: nil)])
        }
    }

    @Test func `a header that no recorded unit reads is refused where the target's units are not known`() throws {
        let path = try Fixture.compile(["main.c": "int main(void) { return 0; }"])
        let image = try TargetImage.load(path: path, symbolsPath: nil)
        let info = try DebugInfo.read(path: path, parts: .functions)
        let header = UncompiledSource(
            path: "lone.h", refusal: Refusal(.unreadSource, subject: "lone.h", why: ""), reach: .readers)
        #expect(try requireForeign([header], to: [LoadedTarget(image: image, debugInfo: info)]).count == 1)
        #expect(throws: Refusals.self) {
            try requireForeign([header], to: [LoadedTarget(image: image, debugInfo: nil)])
        }
    }

    @Test func `what nothing recorded has read concerns only targets that the record does not have`() throws {
        let path = try Fixture.compile("int main(void) { return 0; }\n", ["-O1", "-g"], output: "recorded-target")
        let target = LoadedTarget(image: try TargetImage.load(path: path, symbolsPath: nil), debugInfo: nil)
        let source = UncompiledSource(
            path: "/t/x.y", refusal: Refusal(.unreadSource, subject: "x.y", why: ""), reach: .outsideOfRecord)
        let digest = Digest.sha256(readBytes(path))
        #expect(try requireForeign([source], to: [target], recorded: [digest]) == [])
        #expect(throws: Refusals.self) { try requireForeign([source], to: [target], recorded: []) }
    }

    @Test func `a stripped target needs symbols`() throws {
        let (_, target) = try program(Self.unit, Self.rest)
        let stripped =
            try Fixture.cached([target.file.path, "strip"]) { directory in
                try runOrThrow("strip", ["-o", directory + "/stripped", target.file.path])
            } + "/stripped"
        #expect(throws: Refusals.self) { try TargetImage.load(path: stripped, symbolsPath: nil) }
        let image = try TargetImage.load(path: stripped, symbolsPath: target.file.path)
        #expect(image.buildID == target.buildID)
    }

    private func stripped(_ file: ObjectFile) throws -> String {
        try Fixture.cached([file.path, "strip"]) { directory in
            try runOrThrow("strip", ["-o", directory + "/stripped", file.path])
        } + "/stripped"
    }

    @Test func `symbols of another source: the function that differs is named, with both instructions`() throws {
        let (_, target) = try program(Self.unit, Self.rest)
        let (view, other) = try program(Self.unit.replacing("x * 700", with: "x * 900"), Self.rest)
        let image = try TargetImage.load(path: try stripped(target.file), symbolsPath: other.file.path)
        let matched = try #require(match(view, in: image))
        #expect(matched.matched == ["work"])
        let why = try #require(matched.mismatches["helper"])
        #expect(why.contains("$0x2bc") && why.contains("$0x384"), "\(why)")
        #expect(matched.likelyCause.contains("another constant"), "\(matched.likelyCause)")
    }

    @Test func `symbols of another program are refused`() throws {
        let (_, target) = try program(Self.unit, Self.rest)
        let otherProgram = try Fixture.compile(
            "int main(void) { volatile long x = 0; while (x < 4711) x += 3; return 0; }")
        let (path, bare) = (try stripped(target.file), otherProgram + ".only")
        // What the C library adds is equal in all programs.
        try runOrThrow("objcopy", ["--wildcard", "--keep-symbol=main", "--strip-unneeded", otherProgram, bare])
        let error = #expect(throws: Refusals.self) {
            _ = try TargetImage.load(path: path, symbolsPath: bare).buildID
        }
        #expect(error?.refusals.first?.rule == "unmatched-function")
    }

    @Test(arguments: [
        (["-O2", "-fcf-protection"], "-fcf-protection"), (["-O0"], "-O level"),
        (["-O2", "-pg"], "-fomit-frame-pointer"),
    ])
    func `other flags are told from another source`(_ flags: [String], _ cause: String) throws {
        let (_, target) = try program(Self.unit, Self.rest)
        let view = ObjectView(try ObjectFile.read(path: try Fixture.compile(Self.unit, flags + ["-c"])))
        let matched = try #require(match(view, in: target))
        #expect(!matched.mismatches.isEmpty)
        #expect(matched.likelyCause.contains(cause), "\(matched.likelyCause)")
    }

    @Test func `copies of one file are one target`() async throws {
        let unchanged = try Patching(["m.c": Patching.main("abs")], [:])
        #expect(unchanged.rules == ["nothing-to-patch"])
        let program = unchanged.target.file.path
        let copy = program + ".copy"
        try runOrThrow("cp", [program, copy])
        let targets = [program, copy].map { TargetFiles(path: $0, symbols: nil) }
        #expect(try await readTargets(targets, needsDebugInfo: true).map(\.image.file.path) == [program])
    }
}
