import Diagnostics
import SourceChanges
import TestSupport
import Testing

@testable import Recompiling

/// `--launcher`: a farm or a cache compiles, and gives what the compiler gives.
@Suite(.serialized) struct LauncherTests {
    private static let text = """
        #include "h.h"
        int f(int x) { return x + A; }
        int g(int x) { return x * 3; }

        """

    private func tree() throws -> SourceTree {
        var tree = try SourceTree(["a.c": Self.text, "h.h": "#define A 1\n"])
        tree.add("a.c")
        return tree
    }

    private func code(_ tree: SourceTree, _ header: String, _ launcher: [String]) async throws -> [[UInt8]] {
        let scratch = tree.scratch + "/\(UInt32.random(in: 0 ... .max))"
        try makeDirectory(scratch)
        let unit = try #require(
            await compileTwice(
                tree.units, change: tree.change(["h.h": header]), scratch: scratch, launcher: launcher
            ).units.first)
        return [unit.plainObject, unit.originalObject, unit.newObject].map { readBytes($0) }
    }

    @Test func `every compilation goes through the launcher`() async throws {
        let tree = try tree()
        defer { tree.remove() }
        let (log, script) = (tree.base + "/log", tree.base + "/farm")
        try writeText("#!/bin/sh\necho \"$@\" >>\(log)\nshift\nexec \"$@\"\n", to: script)
        try runOrThrow("chmod", ["+x", script])
        let bare = try await code(tree, "#define A 2\n", [])
        #expect(try await code(tree, "#define A 2\n", [script, "-j"]) == bare)
        let lines = readText(log).split(separator: "\n")
        // The probe, which only an overlay needs, and the three objects of the unit.
        let count = Machine.overlayObstacle == nil ? 4 : 3
        #expect(lines.count == count && lines.allSatisfy { $0.hasPrefix("-j gcc ") }, "\(lines)")
    }

    /// The worst configuration: files are judged by size and time, which a changed file shares with the original.
    @Test(.needs("ccache")) func `ccache never gives the object of another source`() async throws {
        let tree = try tree()
        defer { tree.remove() }
        let (wrapper, cache) = (tree.base + "/cache", tree.base + "/ccache")
        try writeText("#!/bin/sh\nCCACHE_DIR=\(cache) exec ccache \"$@\"\n", to: wrapper)
        try runOrThrow("chmod", ["+x", wrapper])
        try makeDirectory(cache)
        let loose = "file_stat_matches,file_stat_matches_ctime,include_file_mtime,include_file_ctime,time_macros"
        try writeText("sloppiness = \(loose)\nbase_dir = /\n", to: cache + "/ccache.conf")
        for header in ["#define A 2\n", "#define A 3\n", "#define A 2\n"] {
            let bare = try await code(tree, header, [])
            #expect(bare.count == 3 && bare.dropFirst().first != bare.last)
            for _ in 0..<2 { #expect(try await code(tree, header, [wrapper]) == bare) }
        }
        let statistics = try runOrThrow("ccache", ["--print-stats"], environment: ["CCACHE_DIR": cache]).stdout
        let hits = statistics.split(separator: "\n").first { $0.hasPrefix("direct_cache_hit") }
        #expect(hits.flatMap { Int($0.filter(\.isNumber)) } ?? 0 >= 9, "\(statistics)")
    }

    /// A farm that compiles elsewhere does not see the changed files.
    @Test(.needsOverlay) func `a launcher that compiles outside of the overlay is refused`() async throws {
        let tree = try tree()
        defer { tree.remove() }
        let script = tree.base + "/farm"
        // It leaves the overlay only within a mount namespace that is not this process's, else it compiles as a farm would.
        let namespace = try #require(linkTarget("/proc/self/ns/mnt"))
        try writeText(
            """
            #!/bin/sh
            [ "$(readlink /proc/self/ns/mnt)" != '\(namespace)' ] || { echo 'not in a namespace of its own' >&2; exit 1; }
            cd / && umount -l '\(tree.root)' && cd '\(tree.root)' && exec "$@"

            """, to: script)
        try runOrThrow("chmod", ["+x", script])
        let rules = await refusedRules { _ = try await code(tree, "#define A 2\n", [script]) }
        #expect(rules == ["compile-failed"])
    }

    @Test func `a launcher that is not installed is said`() async throws {
        let tree = try tree()
        defer { tree.remove() }
        await #expect(throws: UsageError.self) { try await code(tree, "#define A 2\n", ["no-such-launcher"]) }
    }
}
