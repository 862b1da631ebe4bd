import TestSupport
import Testing

/// A small project as build systems compile it: a static library linked into two programs and a shared library, and a fix
/// that touches a program, the shared library and the static one.
struct Project {
    let directory: String
    var source: String { directory + "/source" }
    var build: String { directory + "/build" }
    var bundle: String { directory + "/fix.lpatch" }

    static let sources = [
        "rates.h": """
        #pragma once
        int rate(int kind, int seconds);
        int bill(int kind, int seconds);
        static inline int round_up(int n) { return (n + 9) / 10 * 10; }
        """,
        "rates.c": """
        #include "rates.h"
        static int calls;
        static const int table[5] = {3, 5, 7, 9, 11};
        int rate(int kind, int seconds)
        {
            calls++;
            if (kind < 0 || kind > 4)
                return -1;
            return round_up(table[kind] * seconds) + (calls > 100000000);
        }
        """,
        "bill.c": """
        #include "rates.h"
        static int total;
        int bill(int kind, int seconds)
        {
            int units = rate(kind, seconds);
            total += units;
            return units + round_up(kind) + (total < 0);
        }
        """,
        "day.c": program("day"), "night.c": program("night"),
    ]

    private static func program(_ name: String) -> String {
        """
        #include "rates.h"
        #include <stdio.h>
        #include <unistd.h>
        __attribute__((noinline)) static int report(int kind)
        {
            return printf("\(name) %d %d\\n", \(name == "day" ? "bill" : "rate")(kind, 13), round_up(kind));
        }
        int main(void)
        {
            setlinebuf(stdout);
            for (int i = 0;; i++) {
                report(2 + (i < 0));
                usleep(20000);
            }
        }
        """
    }

    /// - Parameter files: what the build system reads.
    init(_ name: String, _ files: [String: String]) throws {
        directory = try Workshop.directory(name)
        try makeDirectory(source)
        try makeDirectory(build)
        for (path, text) in Self.sources.merging(files, uniquingKeysWith: { $1 }) {
            try writeText(text, to: source + "/" + path)
        }
        try writeFix()
    }

    private func writeFix() throws {
        var diff = ""
        for (file, old, new) in [
            ("rates.h", "(n + 9) / 10 * 10", "n < 0 ? 0 : (n + 19) / 20 * 20"), ("rates.c", "return -1", "return -2"),
            ("day.c", "13)", "24)"),
        ] {
            let text = Self.sources[file] ?? ""
            try writeText(text.replacing(old, with: new), to: directory + "/edited")
            let labels = ["--label", "a/\(file)", "--label", "b/\(file)"]
            diff += try run("diff", ["-u"] + labels + ["source/\(file)", "edited"], in: directory).stdout
        }
        try writeText(diff, to: directory + "/fix.diff")
    }

    func buildPatch(
        _ commands: String, targets: [String], _ more: [String] = []
    ) throws -> Output {
        try run(
            toolPath("patchbuild"),
            [
                "build", "--source", source, "--compile-commands", commands, "--diff", directory + "/fix.diff", "--id",
                "fix", "-o", bundle, "--json",
            ] + more + targets.flatMap { ["--target", $0] })
    }

    /// Replaced functions, without the suffixes of clones, by target.
    func functions() throws -> [String: Set<String>] {
        let shown = try JSON(try patchbuild("show", bundle, "--json").stdout)
        return Dictionary(
            uniqueKeysWithValues: shown["targets"].elements.map { target in
                let names = target["functions"].elements.compactMap { $0["name"].text }
                return (target["file"].text ?? "", Set(names.map { String($0.prefix { $0 != "." }) }))
            })
    }

    /// Runs a program; applies and reverts the bundle.
    func check(_ program: String, before: String, after: String) throws {
        try withProcess(program) { process in
            try process.waitForOutput("\n")
            let first = try process.nextLine()
            #expect(first == before)
            let applied = try livepatch("apply", bundle, "--pid", "\(process.pid)", "--allow-unsigned")
            #expect(applied.status == 0, "\(applied)")
            let patched = try process.nextLine()
            #expect(patched == after, "\(applied) \(process.stdout.suffix(200))")
            let reverted = try livepatch("revert", bundle, "--pid", "\(process.pid)")
            #expect(reverted.status == 0, "\(reverted)")
            #expect(try process.nextLine() == before)
            #expect(process.isRunning)
        }
    }

    /// The fix touches a program and the library it uses: one bundle, one switch; then the other program.
    func checkBoth(_ commands: String, day: [String], night: String) throws {
        let both = try buildPatch(commands, targets: day)
        #expect(both.status == 0, "\(both)")
        let replaced = try functions()
        #expect(replaced.count == 2)
        #expect(replaced["day"] == ["report"], "\(replaced)")
        #expect(replaced.first { $0.key != "day" }?.value == ["bill", "rate"], "\(replaced)")
        try check(day.at(0), before: "day 110 10", after: "day 200 20")
        let other = try buildPatch(commands, targets: [night])
        #expect(other.status == 0, "\(other)")
        #expect(try functions() == ["night": ["rate", "report"]])
        try check(night, before: "night 100 10", after: "night 100 20")
    }
}

extension EndToEnd {
    /// Builds in a directory of their own, by CMake, Meson, and configure with libtool.
    @Suite(.serialized) struct RealBuildTests {
        private static let cmake = """
            cmake_minimum_required(VERSION 3.15)
            project(rates C)
            add_library(rates STATIC rates.c)
            set_target_properties(rates PROPERTIES POSITION_INDEPENDENT_CODE ON)
            add_library(bill SHARED bill.c)
            target_link_libraries(bill PRIVATE rates)
            add_executable(day day.c)
            target_link_libraries(day PRIVATE bill)
            add_executable(night night.c)
            target_link_libraries(night PRIVATE rates)
            if(ANSWERS)
              target_precompile_headers(bill PRIVATE rates.h)
              include_directories(${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
            endif()
            """

        /// The template gives pads; it is added without a change to the project.
        @Test(.needs("cmake", "ninja")) func cmakeWithNinja() throws {
            let project = try Project("ninja", ["CMakeLists.txt": Self.cmake])
            let template = packageRoot + "/Templates/cmake/patchable.cmake"
            try runOrThrow(
                "cmake",
                [
                    "-G", "Ninja", "-S", project.source, "-B", project.build, "-DCMAKE_PROJECT_INCLUDE=\(template)",
                    "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                ])
            try runOrThrow("cmake", ["--build", project.build])
            let build = project.build
            try project.checkBoth(
                build + "/compile_commands.json", day: [build + "/day", build + "/libbill.so"], night: build + "/night")
            try expectPads(build + "/libbill.so", "bill", "rate")
        }

        /// Response files, a precompiled header, and no debug information.
        @Test(.needs("cmake", "ccache"), .needsOverlay) func cmakeWithMakefiles() throws {
            let project = try Project("makefiles", ["CMakeLists.txt": Self.cmake])
            try runOrThrow(
                "cmake",
                [
                    "-G", "Unix Makefiles", "-S", project.source, "-B", project.build, "-DANSWERS=ON",
                    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_BUILD_TYPE=Release",
                    "-DCMAKE_C_USE_RESPONSE_FILE_FOR_INCLUDES=1",
                ])
            try runOrThrow(
                "cmake", ["--build", project.build], environment: ["CCACHE_DIR": project.directory + "/cache"])
            let build = project.build
            let commands = readText(build + "/compile_commands.json")
            #expect(commands.contains("@CMakeFiles/") && commands.contains("cmake_pch.h"), "\(commands)")
            try project.checkBoth(
                build + "/compile_commands.json", day: [build + "/day", build + "/libbill.so"], night: build + "/night")
        }

        /// With a launcher in the recorded commands.
        @Test(.needs("meson", "ninja", "ccache")) func meson() throws {
            let project = try Project(
                "meson",
                [
                    "meson.build": """
                    project('rates', 'c', default_options: ['buildtype=debugoptimized'])
                    rates = static_library('rates', 'rates.c', pic: true)
                    bill = shared_library('bill', 'bill.c', link_with: rates)
                    executable('day', 'day.c', link_with: bill)
                    executable('night', 'night.c', link_with: rates)
                    """
                ])
            let template = packageRoot + "/Templates/meson/patchable.ini"
            let environment = ["CC": "ccache gcc", "CCACHE_DIR": project.directory + "/cache"]
            try runOrThrow(
                "meson", ["setup", project.build, project.source, "--native-file", template], environment: environment)
            try runOrThrow("ninja", ["-C", project.build], environment: environment)
            #expect(readText(project.build + "/compile_commands.json").contains("ccache gcc"))
            let build = project.build
            try project.checkBoth(
                build + "/compile_commands.json", day: [build + "/day", build + "/libbill.so"], night: build + "/night")
            try expectPads(build + "/libbill.so", "bill", "rate")
        }

        /// libtool compiles `rates.c` twice, for the library and for the program.
        @Test(.needs("autoconf", "libtool")) func configureWithLibtool() throws {
            let project = try Project(
                "libtool",
                [
                    "configure.ac": """
                    AC_INIT([rates], [1])
                    AC_CONFIG_SRCDIR([rates.c])
                    AC_PROG_CC
                    AC_CONFIG_FILES([Makefile])
                    AC_OUTPUT
                    """,
                    "Makefile.in": """
                    CC = @CC@
                    CFLAGS = @CFLAGS@
                    LDFLAGS = @LDFLAGS@
                    VPATH = @srcdir@
                    LT = libtool --tag=CC
                    all: day night
                    %.lo: %.c ; $(LT) --mode=compile $(CC) -I@srcdir@ $(CFLAGS) -c -o $@ $<
                    %.o: %.c ; $(CC) -I@srcdir@ $(CFLAGS) -c -o $@ $<
                    libbill.la: bill.lo rates.lo ; $(LT) --mode=link $(CC) $(CFLAGS) $(LDFLAGS) -rpath /usr/lib -o $@ $^
                    librates.la: rates.lo ; $(LT) --mode=link $(CC) $(CFLAGS) $(LDFLAGS) -static -o $@ $^
                    day: day.o libbill.la ; $(CC) $(LDFLAGS) -o $@ day.o -L.libs -lbill -Wl,-rpath,$(CURDIR)/.libs
                    night: night.o librates.la ; $(LT) --mode=link $(CC) $(LDFLAGS) -o $@ $^

                    """,
                ])
            try runOrThrow("autoconf", in: project.source)
            // Configure scripts split the variable at blanks, which the path of this repository may have.
            let site = project.directory + "/patchable.site"
            try runOrThrow("cp", [packageRoot + "/Templates/autotools/patchable.site", site])
            try runOrThrow(
                project.source + "/configure", in: project.build, environment: ["CONFIG_SITE": site])
            try runOrThrow(
                toolPath("patchbuild"), ["record", "-o", project.directory + "/commands.json", "--", "make"],
                in: project.build)
            let build = project.build
            try project.checkBoth(
                project.directory + "/commands.json", day: [build + "/day", build + "/.libs/libbill.so.0.0.0"],
                night: build + "/night")
            try expectPads(build + "/.libs/libbill.so.0.0.0", "bill", "rate")
            try writeLibtoolCommands(project)
            try project.checkBoth(
                project.directory + "/lines.json", day: [build + "/day", build + "/.libs/libbill.so.0.0.0"],
                night: build + "/night")
        }

        /// A database of make's own lines, as compiledb writes it, in which libtool stands.
        private func writeLibtoolCommands(_ project: Project) throws {
            let made = try runOrThrow("make", ["-n", "-B", "day", "night"], in: project.build).stdout
            let lines = made.split(separator: "\n").filter { $0.contains(" -c ") }
            #expect(lines.contains { $0.contains("--mode=compile") })
            let entries = lines.map { line in
                let file = line.split(separator: " ").last ?? ""
                let command = line.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
                return #"{"directory": "\#(project.build)", "file": "\#(file)", "command": "\#(command)"}"#
            }
            try writeText("[\(entries.joined(separator: ",\n"))]", to: project.directory + "/lines.json")
        }

        private func expectPads(_ file: String, _ functions: String...) throws {
            let options = functions.flatMap { ["--function", $0] }
            let report = try JSON(
                try run(toolPath("patchbuild"), ["check", file, "--json"] + options).stdout)
            let kinds = report["functions"].elements.compactMap { $0["kind"].text }
            #expect(kinds == functions.map { _ in "padded" }, "\(report)")
        }
    }
}
