import SourceChanges
import Testing

private func writes(_ text: String, hasReferences: Bool = false) -> Bool {
    mayBeWritten(
        "n", in: Array(("static int n = 3, other;\n" + text + "\n").utf8), declaredOn: [1], hasReferences: hasReferences
    )
}

@Suite struct WrittenNamesTests {
    @Test(arguments: [
        "f() { n = 1; }", "f() { n += 1; }", "f() { n <<= 1; }", "f() { n++; }", "f() { --n; }", "f() { g(&n); }",
        "f() { n[1] = 2; }", "f() { n.x = 1; }", "f() { n->x = 1; }", "#define SET(x) n = x", "f() { g(\"n\"); }",
        "// n",
        "f() { x = n = 1; }", "f() { n |= 1; }", "f() { asm(\"mov n, %eax\"); }",
    ])
    func `what may write is told`(_ text: String) { #expect(writes(text)) }

    @Test(arguments: [
        "f() { return n; }", "f() { return n + 1; }", "f() { return x + n; }", "f() { if (n == 2) g(); }",
        "f() { g(n, 1); }",
        "f() { return n && x || n <= 3 || n != 4; }", "f() { p->n = 1; q.n++; }", "f() { other = 2; number = 3; }",
        "f() { return n - x * n; }",
    ])
    func `what only reads is told, too`(_ text: String) { #expect(!writes(text)) }

    @Test func `an argument may be a reference`() {
        #expect(writes("f() { g(n, 1); }", hasReferences: true))
        #expect(!writes("f() { return n + 1; }", hasReferences: true))
    }
}
