import Diagnostics
import TestSupport
import Testing

@testable import Packaging

@Suite struct CacheFolderTests {
    private func withFolder(_ body: (CacheFolder) async throws -> Void) async throws {
        let path = "\(temporaryDirectory)/patchbuild-cache-\(UInt64.random(in: 0 ... .max))"
        defer { removeTree(path) }
        try await body(try CacheFolder(path: path))
    }

    @Test func `what is finished is not made again, and what was left half done is`() async throws {
        try await withFolder { folder in
            var calls = 0
            func make(_ stamp: String, fails: Bool = false) async throws -> String? {
                try await folder.directory("built", stamp: stamp) { directory in
                    calls += 1
                    #expect(names(in: directory).isEmpty)
                    try writeText("\(calls)", to: directory + "/file")
                    if fails { throw Failure("killed") }
                    return true
                }
            }
            await #expect(throws: Failure.self) { try await make("1", fails: true) }
            _ = try await make("1")
            _ = try await make("1")
            #expect(calls == 2)
            let path = try #require(try await make("2"))
            #expect(calls == 3 && readText(path + "/file") == "3")
        }
    }

    @Test func `what could not be filled is not taken for finished`() async throws {
        try await withFolder { folder in
            let empty = try await folder.directory("x", stamp: "1") { _ in false }
            let filled = try await folder.directory("x", stamp: "1") { _ in true }
            #expect(empty == nil && filled != nil)
        }
    }

    @Test func `a second run on the same package is told to come later`() async throws {
        try await withFolder { folder in
            _ = try await folder.locked(waits: false) {
                await #expect(throws: Busy.self) { try await folder.locked(waits: false) {} }
            }
            try await folder.locked(waits: false) {}
        }
    }

    @Test func `versions make names that build systems can stand`() async throws {
        try await withFolder { folder in
            let path = try folder.folder(source: "redis", version: "5:7.0.15-1~deb12u7").path
            #expect(path.hasSuffix("/redis-5-7.0.15-1-deb12u7"))
        }
    }

    @Test func `fixes apply to the copy in which the package builds`() async throws {
        try await withFolder { folder in
            let tree = folder.path
            for path in ["src/a.c", "debian/build/src/a.c"] {
                try makeDirectory(tree + "/" + path.dropLast(4))
                try writeText("int a;\n", to: tree + "/" + path)
            }
            try makeDirectory(tree + "/deps/src")
            try writeText("int other;\n", to: tree + "/deps/src/a.c")
            let copies: Set = [tree + "/debian/build/src/a.c", tree + "/deps/src/a.c"]
            #expect(sourceRoot(of: tree, touched: ["src/a.c", "README"], compiled: copies) == tree + "/debian/build")
            #expect(sourceRoot(of: tree, touched: ["src/a.c"], compiled: copies.union([tree + "/src/a.c"])) == tree)
            #expect(sourceRoot(of: tree, touched: ["README"], compiled: copies) == tree)
        }
    }
}
