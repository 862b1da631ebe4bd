import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import DebuggerFiles

/// A module as a process could have told of it.
private func sample(
    _ name: String = "work", patch: String = "fix", target: String = "served", buildID: String? = "00ff1020"
) -> ModuleSymbols {
    ModuleSymbols(
        patch: patch, target: target, base: 0x7f00_0000_0000, buildID: buildID,
        parts: [
            .init(offset: 0x1000, size: 0x1000, isExecutable: true),
            .init(offset: 0x3000, size: 0x2000, isExecutable: false),
        ],
        symbols: [
            .init(name: name, offset: 0x1020, size: 0x30, isFunction: true),
            .init(name: "counter", offset: 0x3010, size: 4, isFunction: false),
            .init(name: "nowhere", offset: 0x9000, size: 4, isFunction: true),
        ], frames: .init(offset: 0x2008, bytes: [0, 0, 0, 0]))
}

/// Names that would do harm on a terminal, in a script, or in a table of strings.
private let hostile = "a\nshell touch /tmp/x\u{1b}[2J\0b\u{202e}c"

@Suite struct SymbolFileTests {
    private func read(_ arguments: [String], _ module: ModuleSymbols) throws -> String {
        try withTemporaryDirectory { directory in
            try writeBytes(symbolFile(module), to: directory + "/module.debug")
            return try runOrThrow("readelf", arguments + [directory + "/module.debug"]).stdout
        }
    }

    @Test func namesAndPlacesAreThoseOfTheModule() throws {
        let symbols = try read(["-Ws"], sample())
        #expect(symbols.contains("0000000000001020    48 FUNC    LOCAL  DEFAULT    1 work"), "\(symbols)")
        #expect(symbols.contains("0000000000003010     4 OBJECT  LOCAL  DEFAULT    2 counter"), "\(symbols)")
        #expect(!symbols.contains("nowhere"))
        let sections = try read(["-WSl"], sample())
        for part in [
            ".text             NOBITS          0000000000001000", ".eh_frame         PROGBITS        0000000000002008",
            "LOAD           0x000000 0x0000000000001000",
        ] { #expect(sections.contains(part), "\(sections)") }
        #expect(try read(["-n"], sample()).contains("Build ID: 00ff1020"))
    }

    @Test(
        "debugger-orders, forged-text: names from the process command nobody",
        arguments: [hostile, "", String(repeating: "x", count: 70_000)])
    func hostileNames(name: String) throws {
        let symbols = try read(["-Ws"], sample(name))
        #expect(!symbols.utf8.contains(0x1b) && !symbols.contains("\nshell"))
        #expect(symbols.contains("counter"))
        _ = try read(["-n"], sample(buildID: hostile))
    }

    @Test func aModuleOfNothingIsAFileAllTheSame() throws {
        let empty = ModuleSymbols(patch: "", target: "", base: 0, parts: [], symbols: [])
        #expect(try read(["-hWS"], empty).contains(".symtab"))
    }
}

@Suite struct DebuggerDirectoryTests {
    private func files(in directory: String) throws -> [String] {
        try runOrThrow("ls", ["-A", directory]).stdout.split(separator: "\n").map(String.init)
    }

    @Test func filesAreWrittenAndWrittenAgain() throws {
        try withTemporaryDirectory { directory in
            for count in [2, 1] {
                let written = try writeDebuggerFiles(
                    Array(repeating: sample(), count: count), pid: 42, to: directory + "/out/")
                #expect(try files(in: directory + "/out").count == count + 1)
                #expect(written.script.hasSuffix("/out/livepatch.gdb") && written.symbolFiles.count == count)
                let script = readText(written.script)
                #expect(script.split(separator: "\n").filter { !$0.hasPrefix("#") }.count == count)
                #expect(script.contains("add-symbol-file \"\(try written.symbolFiles.at(0))\" -o 0x7f0000000000\n"))
            }
            #expect(try files(in: directory) == ["out"])
        }
    }

    @Test("debugger-orders, forged-text: ids and names of files from the process are no commands for gdb")
    func hostilePatch() throws {
        try withTemporaryDirectory { directory in
            let module = sample(patch: "../../\"; shell x", target: hostile)
            let written = try writeDebuggerFiles([module], pid: 1, to: directory + "/with \"quotes\" and \\")
            let name = try written.symbolFiles.at(0).split(separator: "/").last ?? ""
            let plain = name.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                    || "+-._".utf8.contains(byte)
            }
            #expect(plain && name.hasPrefix("1-") && name.hasSuffix(".debug") && name.utf8.count < 100, "\(name)")
            #expect(fileExists(try written.symbolFiles.at(0)))
            #expect(readText(written.script).split(separator: "\n").count == 3)
            #expect(readText(written.script).contains("/with \\\"quotes\\\" and \\\\/1-"))
        }
    }

    /// What stands there already, made by a shell script in an empty directory, with the directory to be written as `out`.
    @Test(
        "what is not ours stays",
        arguments: [
            "mkdir out; echo precious > out/notes", "echo precious > out", "mkdir real; ln -s real out",
            "mkdir out; touch out/livepatch.gdb out/notes", "mkdir out; touch out/a.debug",
            "mkdir out; touch out/livepatch.gdb; chmod 777 out",
        ])
    func occupied(script: String) throws {
        try withTemporaryDirectory { directory in
            try runOrThrow("sh", ["-c", script], in: directory)
            let before = try runOrThrow("ls", ["-lR", directory]).stdout
            #expect(throws: Refusal.self) { try writeDebuggerFiles([sample()], pid: 1, to: directory + "/out") }
            #expect(try runOrThrow("ls", ["-lR", directory]).stdout == before)
        }
    }

    @Test func placesThatCantBeAreRefused() throws {
        try withTemporaryDirectory { directory in
            #expect(throws: Refusal.self) { try writeDebuggerFiles([sample()], pid: 1, to: directory + "/none/out") }
            for path in ["", "/", "..", directory + "/a\nb"] {
                #expect(throws: UsageError.self) { try writeDebuggerFiles([sample()], pid: 1, to: path) }
            }
            let left = try files(in: directory)
            #expect(left == [])
        }
    }
}

@Suite struct PerfMapTests {
    @Test func functionsAreListedWithTheirPatch() throws {
        try withTemporaryDirectory { directory in
            for _ in 0..<2 { try writePerfMap([sample()], pid: 42, in: directory) }
            let text = readText(directory + "/perf-42.map")
            #expect(
                text == """
                    7f0000001020 30 work [livepatch fix]
                    7f0000009000 4 nowhere [livepatch fix]

                    """)
            #expect(try runOrThrow("ls", [directory]).stdout == "perf-42.map\n")
        }
    }

    @Test("forged-text: a name is one line of the map")
    func hostileName() throws {
        try withTemporaryDirectory { directory in
            try writePerfMap([sample(hostile, patch: hostile)], pid: 1, in: directory)
            let text = readText(directory + "/perf-1.map")
            #expect(text.split(separator: "\n").count == 2 && !text.utf8.contains(0x1b), "\(text)")
        }
    }

    @Test(
        "another's map stays, and a link leads nowhere",
        arguments: [
            "echo '1000 10 compiled' > perf-1.map", "echo precious > file; ln -s file perf-1.map",
            "ln -s nowhere perf-1.map", "mkfifo perf-1.map", "mkdir perf-1.map",
        ])
    func occupied(script: String) throws {
        try withTemporaryDirectory { directory in
            try runOrThrow("sh", ["-c", script], in: directory)
            let before = try runOrThrow("ls", ["-l", directory]).stdout
            #expect(throws: Refusal.self) { try writePerfMap([sample()], pid: 1, in: directory) }
            #expect(try runOrThrow("ls", ["-l", directory]).stdout == before)
            if fileExists(directory + "/file") { #expect(readText(directory + "/file") == "precious\n") }
        }
    }

    @Test func aProcessWithOurMountsHasNoMapOfItsOwn() {
        #expect(perfMapOfItsOwn(pid: getpid()) == nil)
        #expect(perfMapOfItsOwn(pid: 0) == nil)
    }
}
