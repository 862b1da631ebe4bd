import Diagnostics
import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Comparing
@testable import Matching
@testable import PatchBuilding
@testable import Recompiling
@testable import Targets

/// Programs of one build that share a header and the names of functions.
@Suite struct ManyProgramsTests {
    private static func program(_ answer: Int) -> String {
        """
        #include "rate.h"
        int printf(const char *, ...);
        __attribute__((noinline)) static int report(int x) { return printf("%d", rate(x) * \(answer)); }
        int main(int c, char **v) { (void)v; return report(c) > 5; }
        """
    }

    private static let header = "static inline int rate(int x) { return x < 100 ? x * 3 : 300; }\n"

    /// Both programs' units change; only one of them is in the target.
    private func matched(_ flags: [String]) throws -> [String] {
        let directory = try Fixture.cached(["many-programs"] + flags) { directory in
            for (name, text) in [("rate.h", Self.header), ("day.c", Self.program(7)), ("night.c", Self.program(9))] {
                try writeText(text, to: directory + "/" + name)
            }
            let split = ["-g", "-ffunction-sections", "-fdata-sections"]
            for (kind, more) in [("plain", []), ("original", split)] {
                for unit in ["day", "night"] {
                    try runOrThrow("gcc", flags + more + ["-c", "\(unit).c", "-o", "\(unit)-\(kind).o"], in: directory)
                }
            }
            try runOrThrow("gcc", flags + ["day-plain.o", "-o", "day"], in: directory)
            try writeText(Self.header.replacing("x < 100", with: "x < 200"), to: directory + "/rate.h")
            for unit in ["day", "night"] {
                try runOrThrow("gcc", flags + split + ["-c", "\(unit).c", "-o", "\(unit)-new.o"], in: directory)
            }
        }
        func view(_ name: String) throws -> ObjectView {
            ObjectView(try ObjectFile.read(path: "\(directory)/\(name).o"))
        }
        let changed = try ["night", "day"].map { unit in
            compareUnit(
                LoadedUnit(
                    name: unit, source: "/\(unit).c", isCPlusPlus: false, plain: try view(unit + "-plain"),
                    original: try view(unit + "-original"), new: try view(unit + "-new")))
        }
        let target = try TargetImage.load(path: directory + "/day", symbolsPath: nil)
        let info = try? DebugInfo.read(path: directory + "/day", parts: .functions)
        return try matchUnits(changed, in: target, debugInfo: info?.units.isEmpty == false ? info : nil).map(\.name)
    }

    @Test(arguments: [["-O2"], ["-O2", "-g"], ["-O0", "-g"]])
    func `a unit of another program is told by what the target was linked from`(_ flags: [String]) throws {
        #expect(try matched(flags) == ["day"])
    }

    @Test func `trap many-objects: a variant that only another program has is not missed`() throws {
        let source = """
            #ifdef NIGHT
            int work(int x) { return x * NUMBER ^ x << 3; }
            #else
            int work(int x) { return x + 1; }
            #endif
            """
        let directory = try Fixture.cached(["variants", source]) { directory in
            try writeText(source, to: directory + "/unit.c")
            try writeText(
                "int work(int); int main(int c, char **v) { (void)v; return work(c); }", to: directory + "/m.c")
            let split = ["-ffunction-sections", "-fdata-sections"]
            for (kind, more) in [
                ("plain", ["-DNUMBER=7"]), ("original", split + ["-DNUMBER=7"]), ("new", split + ["-DNUMBER=9"]),
            ] {
                for (variant, define) in [("day", "-DDAY"), ("night", "-DNIGHT")] {
                    let flags = ["-O2", "-g", define] + more
                    try runOrThrow("gcc", flags + ["-c", "unit.c", "-o", "\(variant)-\(kind).o"], in: directory)
                }
            }
            try runOrThrow("gcc", ["-O2", "-g", "m.c", "day-plain.o", "-o", "day"], in: directory)
        }
        func view(_ name: String) throws -> ObjectView {
            ObjectView(try ObjectFile.read(path: "\(directory)/\(name).o"))
        }
        func unit(_ variant: String) throws -> ComparedUnit {
            compareUnit(
                LoadedUnit(
                    name: variant, source: "/unit.c", isCPlusPlus: false, plain: try view(variant + "-plain"),
                    original: try view(variant + "-original"), new: try view(variant + "-new")))
        }
        let target = try TargetImage.load(path: directory + "/day", symbolsPath: nil)
        let info = try DebugInfo.read(path: directory + "/day", parts: .functions)
        #expect(try matchUnits([try unit("day"), try unit("night")], in: target, debugInfo: info).isEmpty)
        // Without the command that made the target's, it is.
        #expect(throws: Refusals.self) { try matchUnits([try unit("night")], in: target, debugInfo: info) }
    }

    /// Both programs are made of units that read the header; only one of them uses what changes in it.
    private func bundle(new header: String, targets: [String]) async throws -> BuiltBundle {
        let main = "int main(int c, char **v) { (void)v; return c"
        var tree = try SourceTree([
            "limit.h": Self.limits, "day.c": "#include \"limit.h\"\n\(main) > LIMIT; }\n",
            "night.c": "#include \"limit.h\"\n\(main) < 2; }\n",
        ])
        defer { tree.remove() }
        for name in ["day.c", "night.c"] { tree.add(name, ["-O2", "-g"]) }
        try tree.build()
        for program in ["day", "night"] { try runOrThrow("gcc", [program + ".o", "-o", program], in: tree.root) }
        let entries = tree.units.map { unit in
            let arguments = unit.arguments.map { "\"\($0)\"" }.joined(separator: ",")
            return "{\"directory\":\"\(unit.directory)\",\"file\":\"\(unit.file)\",\"arguments\":[\(arguments)]}"
        }
        try tree.write("[\(entries.joined(separator: ","))]", to: "compile_commands.json")
        try runOrThrow("cp", ["-a", tree.root, tree.scratch + "/b"])
        try writeText(header, to: tree.scratch + "/b/limit.h")
        let options = BuildOptions(
            input: .newSource(source: tree.root, compileCommands: nil, newSource: tree.scratch + "/b"),
            targets: targets.map { TargetFiles(path: tree.root + "/" + $0, symbols: nil) },
            output: "fix.lpatch")
        return try await buildBundle(options)
    }

    private static let limits = "#define LIMIT 3\n"

    @Test func `a target in which nothing changes is no part of the bundle`() async throws {
        let new = "#define LIMIT 4\nint unused(int x) { return x + 1; }\n"
        let built = try await bundle(new: new, targets: ["day", "night"])
        #expect(built.manifest.targets.map(\.file) == ["day"])
        #expect(built.notes.contains("night: left out of the bundle, since none of its code changes"))
        #expect(!built.notes.contains { $0.contains("different programs") })
    }

    @Test func `what is new and used by no code is nothing to patch`() async throws {
        let unused = Self.limits + "int unused(int x) { return x + 1; }\n"
        let rules = await refusedRules { _ = try await bundle(new: unused, targets: ["day"]) }
        #expect(rules == ["nothing-to-patch"])
    }
}
