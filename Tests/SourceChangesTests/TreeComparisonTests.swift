import FoundationEssentials
import Testing

@testable import SourceChanges

private func compared(_ original: [String: String], _ new: [String: String]) throws -> SourceChange {
    let base = "\(FileManager.default.temporaryDirectory.path)/patchbuild-trees-\(UInt64.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: base) }
    for (name, files) in [("original", original), ("new", new)] {
        for (path, text) in files {
            let full = "\(base)/\(name)/\(path)"
            let directory = full.split(separator: "/").dropLast().joined(separator: "/")
            try FileManager.default.createDirectory(atPath: "/" + directory, withIntermediateDirectories: true)
            let content = text.replacing("@ROOT@", with: "\(base)/\(name)")
            #expect(FileManager.default.createFile(atPath: full, contents: Data(content.utf8)))
        }
    }
    return try compareTrees(original: base + "/original", new: base + "/new")
}

@Test func `changed and added files are found, products of the build are not`() throws {
    let change = try compared(
        ["a.c": "1", "b.c": "1", "x.o": "1", ".git/HEAD": "1"],
        ["a.c": "2", "b.c": "1", "x.o": "2", ".git/HEAD": "2", "sub/c.c": "3"])
    #expect(change.files.map(\.path) == ["a.c", "sub/c.c"])
    #expect(change.files.last.map { $0.original == nil } == true)
    #expect(change.origin == .newSource(built: true))
}

@Test func `what only the original has is removed if the new tree was built`() throws {
    #expect(try compared(["a.c": "1", "g.h": "1"], ["a.c": "1"]).files.isEmpty)
    let change = try compared(["a.c": "1", "g.h": "1"], ["a.c": "1", "a.o": "1"])
    #expect(change.files.map(\.path) == ["g.h"])
    #expect(change.files.first.map { $0.new == nil } == true)
}

@Test func `a generated file that names its own tree is the same`() throws {
    #expect(try compared(["c.h": "dir @ROOT@/x"], ["c.h": "dir @ROOT@/x"]).files.isEmpty)
}

@Test(arguments: [
    ("src/a.c", FileClass.source), ("a.hpp", .header), ("p.y", .other), ("src/Makefile", .other),
    ("CMakeLists.txt", .other), ("doc/CMakeLists.txt", .other), ("tests/unit/a.tcl", .tests),
    ("doc/x.c.txt", .documentation), ("doc/x.y", .other), ("README.md", .documentation), ("x.md", .other),
    ("debian/changelog", .packaging), ("man/a.1", .documentation), ("redis.conf", .other),
    ("tests/modules/m.c", .tests),
    (".config", .other), ("CHANGES.txt", .documentation),
])
func `the class of a file is told by its path`(path: String, expected: FileClass) {
    #expect(FileClass(path: path) == expected)
}
