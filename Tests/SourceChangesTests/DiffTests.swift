import Diagnostics
import Testing

@testable import SourceChanges

private func change(_ diff: String, _ tree: [String: String]) throws -> [String: String?] {
    let change = try applied([diff], tree)
    return Dictionary(uniqueKeysWithValues: change.files.map { file in (file.path, file.new.map(text)) })
}

private func applied(_ diffs: [String], _ tree: [String: String]) throws -> SourceChange {
    let named = diffs.enumerated().map { NamedBytes(name: "\($0 + 1).patch", bytes: Array($1.utf8)) }
    return try applyDiffs(named, root: "/tree", to: SourceFiles { path in tree[path].map { Array($0.utf8) } })
}

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

private func refusal(_ diff: String, _ tree: [String: String]) -> Refusal? {
    do { _ = try applied([diff], tree) } catch let error as Refusals { return error.refusals.first } catch {
        return error as? Refusal
    }
    return nil
}

private let numbers = (1...20).map { "line \($0)\n" }.joined()

@Test func `a git diff changes a line`() throws {
    let diff = """
        From: someone
        ---
         a.c | 2 +-

        diff --git a/src/a.c b/src/a.c
        index 123..456 100644
        --- a/src/a.c
        +++ b/src/a.c
        @@ -1,3 +1,3 @@ int f(void)
         one
        -two
        +deux
         three
        --\u{20}
        2.39.0

        """
    #expect(try change(diff, ["src/a.c": "one\ntwo\nthree\n"]) == ["src/a.c": "one\ndeux\nthree\n"])
}

@Test func `a plain diff with times applies, the first name component stripped`() throws {
    let diff = "--- redis.orig/a.c\t2024-01-01 00:00:00\n+++ redis/a.c\t2024-01-02 00:00:00\n@@ -1 +1,2 @@\n x\n+y\n"
    #expect(try change(diff, ["a.c": "x\n"]) == ["a.c": "x\ny\n"])
}

@Test func `a hunk that has moved is found`() throws {
    let diff = "--- a/f\n+++ b/f\n@@ -5,3 +5,3 @@\n line 9\n-line 10\n+ten\n line 11\n"
    let expected = numbers.replacing("line 10\n", with: "ten\n")
    #expect(try change(diff, ["f": numbers]) == ["f": expected])
}

@Test func `a moved hunk that fits twice is refused`() {
    let diff = "--- a/f\n+++ b/f\n@@ -9,2 +9,3 @@\n x\n y\n+z\n"
    let found = refusal(diff, ["f": "0\nx\ny\n0\nx\ny\n"])
    #expect(found?.rule == "diff-does-not-apply")
    #expect(found?.why.contains("several places") == true)
}

@Test func `context must match to the letter`() {
    let diff = "--- a/f.c\n+++ b/f.c\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"
    let found = refusal(diff, ["f.c": "one\nTWO\n"])
    #expect(found?.rule == "diff-does-not-apply")
    #expect(found?.subject == "f.c")
    #expect(found?.why == "1.patch: hunk 1 (line 3 of the diff) does not match: line 2 of the file is \"TWO\"")
}

@Test func `a diff that is applied already is named as such`() {
    let diff = "--- a/f.c\n+++ b/f.c\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"
    #expect(refusal(diff, ["f.c": "one\nzwei\n"])?.why.contains("applied already") == true)
}

@Test func `files are created and removed`() throws {
    let diff = """
        diff --git a/new.c b/new.c
        new file mode 100644
        --- /dev/null
        +++ b/new.c
        @@ -0,0 +1,2 @@
        +int a;
        +int b;
        diff --git a/old.c b/old.c
        deleted file mode 100644
        --- a/old.c
        +++ /dev/null
        @@ -1 +0,0 @@
        -int c;

        """
    #expect(try change(diff, ["old.c": "int c;\n"]) == ["new.c": "int a;\nint b;\n", "old.c": String?.none])
}

@Test func `a created file that exists is refused`() {
    let diff = "--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+int a;\n"
    #expect(refusal(diff, ["new.c": "int z;\n"])?.why.contains("exists already") == true)
}

@Test func `a missing line end is kept and made`() throws {
    let diff =
        "--- a/f\n+++ b/f\n@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n"
    #expect(try change(diff, ["f": "a"]) == ["f": "a\nb"])
}

@Test func `a diff without carriage returns fits a file that has them`() throws {
    let diff = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    #expect(try change(diff, ["f": "a\r\nb\r\n"]) == ["f": "a\r\nc\r\n"])
}

@Test func `diffs apply in order`() throws {
    let first = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
    let second = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-b\n+c\n"
    let change = try applied([first, second], ["f": "a\n"])
    #expect(change.files == [ChangedFile(path: "f", original: Array("a\n".utf8), new: Array("c\n".utf8))])
    #expect(change.diffs.count == 2)
}

@Test func `a change that is taken back is no change`() throws {
    let first = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
    let second = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-b\n+a\n"
    #expect(try applied([first, second], ["f": "a\n"]).files.isEmpty)
}

@Test func `a renamed file is one removed and one added`() throws {
    let diff = """
        diff --git a/x.c b/y.c
        similarity index 90%
        rename from x.c
        rename to y.c
        --- a/x.c
        +++ b/y.c
        @@ -1 +1 @@
        -a
        +b

        """
    #expect(try change(diff, ["x.c": "a\n"]) == ["x.c": String?.none, "y.c": "b\n"])
}

@Test func `missing documentation and tests are ignored, missing source is refused`() throws {
    let document = "--- a/NEWS.md\n+++ b/NEWS.md\n@@ -1 +1 @@\n-a\n+b\n"
    let ignored = try applied([document], [:]).ignored
    #expect(ignored.map(\.path) == ["NEWS.md"])
    let source = document.replacing("NEWS.md", with: "x.c")
    #expect(refusal(source, [:])?.why == "1.patch: there is no such file in the tree")
}

@Test(arguments: [
    "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n x\n", "--- a/f\n+++ b/f\n@@ nonsense @@\n x\n", "nothing here\n", "",
    "*** a/f\n--- b/f\n***************\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\nzzz\n",
    "--- a/f\n+++ b/f\n@@ -99999999999999999999 +1 @@\n-x\n+y\n",
])
func `a malformed diff is refused`(diff: String) {
    #expect(refusal(diff, ["f": "x\n"])?.rule == "diff-does-not-apply")
}

@Test func `a name that leads out of the tree is refused`() {
    let diff = "--- a/../../etc/passwd\n+++ b/../../etc/passwd\n@@ -1 +1 @@\n-x\n+y\n"
    #expect(refusal(diff, ["../../etc/passwd": "x\n"])?.why.contains("leads out") == true)
}

@Test func `a hunk without context is refused`() {
    let diff = "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+y\n"
    #expect(refusal(diff, ["f": "x\nz\n"])?.why.contains("no line of context") == true)
}

@Test func `names that git quotes are read`() throws {
    let diff = "--- \"a/\\303\\244 b.c\"\n+++ \"b/\\303\\244 b.c\"\n@@ -1 +1 @@\n-x\n+y\n"
    #expect(try change(diff, ["ä b.c": "x\n"]) == ["ä b.c": "y\n"])
}

@Suite struct LinkDiffTests {
    private static let tree = ["real/one.h": "one\n", "real/two.h": "two\n"]
    private static let links = ["link.h": "real/one.h", "sub/up.h": "../real/one.h"]

    private func change(_ diff: String) throws -> [String: String?] {
        let files = SourceFiles(
            contents: { path in (Self.tree[path] ?? Self.end(of: path)).map { Array($0.utf8) } },
            link: { Self.links[$0] }, canonical: { $0.replacing("dir/", with: "real/") })
        let change = try applyDiffs([NamedBytes(name: "1.patch", bytes: Array(diff.utf8))], root: "/tree", to: files)
        return Dictionary(uniqueKeysWithValues: change.files.map { ($0.path, $0.new.map(text)) })
    }

    private static func end(of path: String) -> String? { links[path] == nil ? nil : tree["real/one.h"] }

    private func link(_ name: String, from old: String?, to new: String?) -> String {
        let mode = old == nil ? "new file mode 120000\n" : new == nil ? "deleted file mode 120000\n" : ""
        let index = old != nil && new != nil ? "index 1234567..89abcde 120000\n" : "index 1234567..89abcde\n"
        return "diff --git a/\(name) b/\(name)\n\(mode)\(index)"
            + "--- \(old == nil ? "/dev/null" : "a/" + name)\n+++ \(new == nil ? "/dev/null" : "b/" + name)\n"
            + "@@ -\(old == nil ? "0,0" : "1") +\(new == nil ? "0,0" : "1") @@\n"
            + (old.map { "-\($0)\n\\ No newline at end of file\n" } ?? "")
            + (new.map { "+\($0)\n\\ No newline at end of file\n" } ?? "")
    }

    @Test func `a symbolic link holds what the file at its end holds`() throws {
        #expect(try change(link("link.h", from: "real/one.h", to: "real/two.h")) == ["link.h": "two\n"])
        #expect(try change(link("sub/new.h", from: nil, to: "../real/two.h")) == ["sub/new.h": "two\n"])
        #expect(try change(link("link.h", from: "real/one.h", to: nil)) == ["link.h": nil])
    }

    @Test func `a link leads to what the diff makes of its end`() throws {
        let edit = "--- a/real/two.h\n+++ b/real/two.h\n@@ -1 +1 @@\n-two\n+three\n"
        let both = try change(link("link.h", from: "real/one.h", to: "real/two.h") + edit)
        #expect(both == ["link.h": "three\n", "real/two.h": "three\n"])
    }

    @Test func `a link that leads nowhere in the tree is refused`() {
        for end in ["real/none.h", "/etc/passwd", "../../else.h", "real"] {
            #expect(throws: Refusals.self) { try change(link("link.h", from: "real/one.h", to: end)) }
        }
        #expect(throws: Refusals.self) { try change(link("link.h", from: "real/other.h", to: "real/two.h")) }
        #expect(throws: Refusals.self) { try change(link("link.h", from: nil, to: "real/two.h")) }
    }

    @Test func `a file that is edited through a link, or below one, is the file itself`() throws {
        func edit(_ name: String) -> String { "--- a/\(name)\n+++ b/\(name)\n@@ -1 +1 @@\n-one\n+uno\n" }
        #expect(try change(edit("link.h")) == ["real/one.h": "uno\n"])
        #expect(try change(edit("dir/one.h")) == ["real/one.h": "uno\n"])
        // As `diff -r` writes it.
        #expect(try change(edit("link.h") + edit("real/one.h") + edit("sub/up.h")) == ["real/one.h": "uno\n"])
        let other = edit("real/one.h").replacing("uno", with: "eins")
        #expect(throws: Refusals.self) { try change(edit("link.h") + other) }
    }
}
