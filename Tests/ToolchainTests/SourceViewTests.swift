import Glibc
import TestSupport
import Testing
import Toolchain

/// A tree and a layer over it: `a` changed, `sub/new` added, `gone` removed.
private struct Trees {
    var base: String
    var root: String
    var layer: SourceLayer

    init(name: String = "tree") throws {
        let given = "\(temporaryDirectory)/patchbuild-view-\(UInt64.random(in: 0 ... .max))"
        base = given
        root = given + "/" + name
        layer = SourceLayer(name: "new", directory: given + "/layer", removed: ["gone"])
        for directory in ["\(root)/sub", layer.directory + "/sub", given + "/scratch"] { try makeDirectory(directory) }
        for (path, text) in ["a": "old", "gone": "gone", "sub/b": "same"] { try writeText(text, to: root + "/" + path) }
        try writeText("new", to: layer.directory + "/a")
        try writeText("added", to: layer.directory + "/sub/new")
    }

    func remove() { removeTree(base) }

    func view() async throws -> SourceView { try await SourceView.make(root: root, scratch: base + "/scratch") }
}

private let look = "cat a sub/b; cat sub/new gone 2>/dev/null || true"

@Test(arguments: ["tree", "a b,c:d'e"])
func `trap same-paths: changed, added and removed files are seen at the tree's own path`(name: String) async throws {
    let trees = try Trees(name: name)
    defer { trees.remove() }
    let view = try await trees.view()
    try await view.prepare(layers: [nil, trees.layer])
    let new = try await run(
        view.job("sh", ["-c", look], directory: trees.root, layer: trees.layer, title: "look")
    ).checked()
    #expect(new.outputText == "newsameadded")
    let old = try await run(view.job("sh", ["-c", look], directory: trees.root, layer: nil, title: "look")).checked()
    #expect(old.outputText == "oldsamegone")
    #expect(readText(trees.root + "/a") == "old")
}

@Test func `nothing that a job writes reaches the tree, and what it writes elsewhere stays`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    let view = try await trees.view()
    try await view.prepare(layers: [nil])
    let script = "echo x > a; echo y > sub/y; echo z > \(trees.base)/scratch/z"
    try await run(view.job("sh", ["-c", script], directory: trees.root, layer: nil, title: "write")).checked()
    #expect(readText(trees.root + "/a") == "old")
    #expect(!fileExists(trees.root + "/sub/y"))
    #expect(readText(trees.base + "/scratch/z") == "z\n")
}

@Test(.needsOverlay) func `jobs with views of their own run side by side`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    let view = try await trees.view()
    let jobs = (0..<8).map { number in
        view.job(
            "sh", ["-c", "echo \(number) > mine; sleep 0.02; cat mine a"], directory: trees.root,
            layer: number % 2 == 0 ? trees.layer : nil, title: "side by side")
    }
    let expected = (0..<8).map { "\($0)\n" + ($0 % 2 == 0 ? "new" : "old") }
    #expect(try await run(jobs, concurrency: 4).map(\.outputText) == expected)
}

@Test func `the compiler sees the tree's path in the namespace`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    try writeText("const char *f = __FILE__;\n", to: trees.layer.directory + "/sub/f.c")
    let view = try await trees.view()
    // Where namespaces are refused (in a chroot), the view is a copy, and the outcome is the same.
    try await view.prepare(layers: [trees.layer])
    let strings = try await fileNames(of: trees, view: view)
    #expect(strings.contains(trees.root + "/sub/f.c"))
}

@Test func `without namespaces a copy is compiled under the tree's name`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    try writeText("const char *f = __FILE__;\n", to: trees.layer.directory + "/sub/f.c")
    var view = try await trees.view()
    view.method = .copies
    try await view.prepare(layers: [nil, trees.layer])
    let strings = try await fileNames(of: trees, view: view)
    #expect(strings.contains(trees.root + "/sub/f.c"))
    #expect(!strings.contains("copy-new"))
    #expect(!fileExists(trees.root + "/sub/f.c"))
}

@Test func `a recorded prefix map holds for the copy too`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    try writeText("const char *f = __FILE__;\n", to: trees.layer.directory + "/sub/f.c")
    var view = try await trees.view()
    view.method = .copies
    try await view.prepare(layers: [trees.layer])
    let strings = try await fileNames(of: trees, view: view, flags: ["-ffile-prefix-map=\(trees.root)=."])
    #expect(strings.contains("./sub/f.c"))
    #expect(!strings.contains(trees.base))
}

@Test func `from a directory outside of the tree, a relative path leads into the copy`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    try makeDirectory(trees.base + "/build")
    for (directory, text) in [(trees.root, "old"), (trees.layer.directory, "new")] {
        try writeText("const char *text = \"it is \" T;\n", to: directory + "/sub/f.c")
        try writeText("#define T \"\(text)\"\n", to: directory + "/sub/f.h")
    }
    var view = try await trees.view()
    view.method = .copies
    try await view.prepare(layers: [trees.layer])
    let object = trees.base + "/scratch/f.o"
    let arguments = ["-I../tree/sub", "-include", "../tree/sub/f.h", "-c", "../tree/sub/f.c", "-o", object]
    let job = view.job(
        "gcc", view.telling(arguments), directory: trees.base + "/build", layer: trees.layer, title: "compile")
    let result = try await run(job).checked()
    #expect(view.readsOfTree(result).isEmpty, "\(result.errorText)")
    #expect(try await run(Job("strings", [object])).checked().outputText.contains("it is new"))
}

@Test func `a copy's job that reads the tree itself is noticed`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    try makeDirectory(trees.base + "/build")
    try writeText("#define T 1\n", to: trees.root + "/sub/f.h")
    try writeText("#include \"\(trees.root)/sub/f.h\"\nint t = T;\n", to: trees.base + "/build/g.c")
    var view = try await trees.view()
    view.method = .copies
    try await view.prepare(layers: [trees.layer])
    let arguments = view.telling(["-c", "g.c", "-o", trees.base + "/scratch/g.o"])
    let job = view.job("gcc", arguments, directory: trees.base + "/build", layer: trees.layer, title: "compile")
    #expect(view.readsOfTree(try await run(job).checked()) == [trees.root + "/sub/f.h"])
}

private func fileNames(of trees: Trees, view: SourceView, flags: [String] = []) async throws -> String {
    let object = trees.base + "/scratch/f.o"
    let arguments = flags + ["-g", "-c", trees.root + "/sub/f.c", "-o", object]
    try await run(
        view.job("gcc", arguments, directory: trees.root, layer: trees.layer, title: "compile")
    ).checked()
    return try await run(Job("strings", [object])).checked().outputText
}

@Test func `temporary files in the tree are refused`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    await #expect(throws: (any Error).self) {
        _ = try await SourceView.make(root: trees.root, scratch: trees.root + "/tmp")
    }
}

/// Namespaces need no privilege where the kernel lets users have them.
@Test(.enabled(if: geteuid() == 0, "only root can become another user"), .needsUserNamespaces)
func `an ordinary user's view works too`() async throws {
    let trees = try Trees()
    defer { trees.remove() }
    var view = try await trees.view()
    view.method = .namespace(["--user", "--map-root-user", "--mount", "--propagation", "private"])
    chmod(trees.base + "/scratch", 0o777)
    let job = view.job(
        "sh", ["-c", look + "; echo > \(trees.base)/scratch/mine"], directory: trees.root, layer: trees.layer,
        title: "look")
    let user = Job(
        "setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", job.executable] + job.arguments,
        directory: "/")
    let result = try await run(user)
    #expect(result.outputText == "newsameadded")
    #expect(fileExists(trees.base + "/scratch/mine"))
}
