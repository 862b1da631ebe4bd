import Diagnostics
import FoundationEssentials
import SourceChanges
import TestSupport
import Testing

@testable import Recompiling

/// What compile databases of real builds hold.
@Suite struct CompileCommandTests {
    private func commands(_ line: String) -> [String] {
        compilerCommands(shellWords(line), directory: "/").map { $0.joined(separator: " ") }
    }

    @Test(arguments: [
        "ccache gcc -c a.c", "/usr/bin/ccache compiler_check=content gcc -c a.c", "distcc gcc -c a.c",
        "ccache distcc gcc -c a.c", "sccache gcc -c a.c", "icecc gcc -c a.c", "env gcc -c a.c", "gcc -c a.c",
    ])
    func `launchers are taken off`(_ line: String) {
        #expect(commands(line) == ["gcc -c a.c"])
    }

    @Test func `a variable of the command stays`() {
        #expect(commands("env CPATH=/x gcc -c a.c") == ["env CPATH=/x gcc -c a.c"])
        let launched = Launcher(words: ["ccache"])
        #expect(launched.command(["gcc", "a.c"]) == ["ccache", "gcc", "a.c"])
        #expect(launched.command(["env", "A=b", "gcc", "a.c"]) == ["env", "A=b", "gcc", "a.c"])
    }

    @Test func `libtool compiles for a library and for a program`() {
        let line = "/bin/bash ../libtool --tag=CC --mode=compile ccache gcc -I. -O2 -c -o sub/a.lo ../a.c"
        #expect(
            commands(line) == [
                "gcc -I. -O2 -c -o sub/.libs/a.o ../a.c -fPIC -DPIC", "gcc -I. -O2 -c -o sub/a.o ../a.c",
            ])
        #expect(
            commands("./libtool --mode=compile gcc -shared -c a.c -o a.lo") == [
                "gcc -c a.c -o .libs/a.o -fPIC -DPIC"
            ])
        #expect(commands("./libtool --mode=compile gcc -static -c a.c -o a.lo") == ["gcc -c a.c -o a.o"])
        #expect(commands("./libtool --mode=link gcc a.lo -o liba.la") == [])
    }

    @Test func `response files are read, in one another too`() throws {
        try withTemporaryDirectory { directory in
            try writeText("-DTEXT='a \"b' \"-I/with space\"\n@inner.rsp -D\\\"Q\\\"", to: directory + "/flags.rsp")
            try writeText("-O2\t-DINNER\n", to: directory + "/inner.rsp")
            let words = compilerCommands(["gcc", "@flags.rsp", "-c", "a.c", "@gone.rsp"], directory: directory)
            #expect(
                words == [
                    ["gcc", "-DTEXT=a \"b", "-I/with space", "-O2", "-DINNER", "-D\"Q\"", "-c", "a.c", "@gone.rsp"]
                ])
        }
    }

    private func units(_ entries: [String]) throws -> [CompileUnit] {
        try CompileDatabase.parse(Data("[\(entries.joined(separator: ","))]".utf8), path: "/t/compile_commands.json")
            .units
    }

    @Test func `a header is compiled to no object`() throws {
        let found = try units(
            ["all.h -o all.h.gch", "-x c++-header all.hpp", "a.c"].map { words in
                let file = words.split(separator: " ").first { $0.hasPrefix("a") } ?? ""
                return #"{"directory": "/t", "file": "\#(file)", "command": "gcc -c \#(words)"}"#
            })
        #expect(found.map(\.file) == ["/t/a.c"])
    }

    @Test func `of several files in one command each is a unit`() throws {
        let command = #""command": "gcc -O2 -include z.c -c a.c b.c x.o -Ldir -lz""#
        let found = try units(["a.c", "b.c"].map { #"{"directory": "/t", "file": "\#($0)", \#(command)}"# })
        #expect(found.map(\.output) == ["/t/a.o", "/t/b.o"])
        #expect(try found.at(0).arguments == ["gcc", "-O2", "-include", "z.c", "-c", "a.c", "x.o", "-Ldir", "-lz"])
        let linked = try units([
            #"{"directory": "/t", "file": "a.c", "command": "gcc -g a.c b.c c.o -lz -Wl,-z,now -o prog"}"#
        ])
        #expect(try linked.at(0).arguments == ["gcc", "-g", "a.c", "-o", "prog"])
        #expect(try linked.at(0).output == "/t/a.o")
        // Whatever the path is through symbolic links, something is compiled.
        let strange = try units([#"{"directory": "/t", "file": "/s/a.c", "command": "gcc -c ../x/a.c -o a.o"}"#])
        #expect(try strange.at(0).arguments == ["gcc", "-c", "../x/a.c", "-o", "a.o"])
    }

    @Test func `options that write more than the object go, others stay`() {
        let unit = CompileUnit(
            directory: "/b", file: "/b/a.c",
            arguments: [
                "gcc", "-Wp,-D_FORTIFY_SOURCE=2,-MMD,x.d", "-Wp,-MD,y.d", "-Wp,-MP", "--save-temps=obj", "-pipe",
                "-frandom-seed=7", "-fdebug-prefix-map=/b=/c", "-fprofile-use", "-x", "c", "-c", "a.c", "-oa.o",
            ],
            output: "/b/a.o")
        #expect(
            unit.compileArguments(output: "/o") == [
                "-Wp,-D_FORTIFY_SOURCE=2", "-pipe", "-frandom-seed=7", "-fdebug-prefix-map=/b=/c", "-fprofile-use",
                "-x",
                "c", "-c", "a.c", "-dumpdir", "/b/", "-dumpbase", "a", "-Wno-error=coverage-mismatch", "-o", "/o",
            ])
        #expect(
            unit.sectionArguments == [
                "-ffunction-sections", "-fdata-sections", "-fmerge-constants", "-g",
                "-fno-eliminate-unused-debug-types",
            ])
    }
}

/// Objects are those of the recorded command, wherever they are written.
@Suite struct RecordedFlagsTests {
    private static let text = """
        #include <stdio.h>
        __attribute__((noinline)) int f(int x)
        {
            int s = 0;
            for (int i = 0; i < x; i++)
                if (i % 7 == 3) s += i * 3; else s ^= i;
            return s;
        }
        int main(int c, char **v) { (void)v; if (c > 5) puts("many"); printf("%d\\n", f(c * 1000)); return 0; }

        """

    @Test func `a profile is found although the output is elsewhere`() async throws {
        var tree = try SourceTree(["a.c": Self.text])
        defer { tree.remove() }
        try runOrThrow("gcc", ["-O2", "-fprofile-generate", "-c", "a.c", "-o", "a.o"], in: tree.root)
        try runOrThrow("gcc", ["-fprofile-generate", "a.o", "-o", "a"], in: tree.root)
        try runOrThrow("./a", in: tree.root)
        tree.add("a.c", ["-O2", "-fprofile-use"])
        try tree.build()
        let change = tree.change(["a.c": Self.text.replacing("i * 3", with: "i > 5 ? i * 3 : 1")])
        let compiled = try await compileTwice(tree.units, change: change, scratch: tree.scratch)
        #expect(try readBytes(compiled.units.at(0).plainObject) == readBytes(tree.root + "/a.o"))
    }

    @Test func `a precompiled header of a build outside of the tree hides no change`() async throws {
        var tree = try SourceTree(["a.c": "int a(void) { return H; }\n", "h.h": "#define H 1\n"])
        defer { tree.remove() }
        let build = tree.base + "/build"
        try makeDirectory(build)
        try writeText("#include \"\(tree.root)/h.h\"\n", to: build + "/all.h")
        try runOrThrow("gcc", ["-O2", "-g", "all.h"], in: build)
        let arguments = [
            "gcc", "-O2", "-g", "-Winvalid-pch", "-Werror", "-include", "all.h", "-MMD", "-c", "-o", "a.o",
        ]
        tree.units = [
            CompileUnit(
                directory: build, file: tree.root + "/a.c", arguments: arguments + [tree.root + "/a.c"],
                output: build + "/a.o")
        ]
        try runOrThrow("gcc", Array(tree.units.at(0).arguments.dropFirst()), in: build)
        try writeText("[]", to: tree.database.path)
        let change = tree.change(["h.h": "#define H 2\n"])
        #expect(try await affectedUnits(of: change, in: tree.database).units.count == 1)
        guard Machine.overlayObstacle == nil else {
            // A copy of the tree lies elsewhere than what the precompiled header was made of.
            let refusal = await #expect(throws: Refusal.self) {
                _ = try await compileTwice(tree.units, change: change, scratch: tree.scratch)
            }
            #expect(refusal?.rule == "bad-input" && refusal?.subject == build + "/all.h.gch")
            return
        }
        let compiled = try await compileTwice(tree.units, change: change, scratch: tree.scratch).units.at(0)
        #expect(readBytes(compiled.originalObject) != readBytes(compiled.newObject))
    }
}
