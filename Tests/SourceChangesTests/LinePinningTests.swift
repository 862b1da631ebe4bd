import Testing

@testable import SourceChanges

/// The number a compiler would give to each line of a text that holds tokens: those of the branch that `taken` selects
/// by the condition's text.
private func pinned(_ original: String, _ new: String) -> String {
    let result = pinLines(original: Array(original.utf8), new: Array(new.utf8))
    #expect(result.refusal == nil)
    return String(decoding: result.text, as: UTF8.self)
}

@Test func `trap line-pinning: lines behind an insertion keep their numbers`() {
    let text = pinned("a;\nb;\nc;\n", "a;\nx;\ny;\nb;\nc;\n")
    #expect(text == "a;\n#line 1000000\nx;\ny;\n#line 2\nb;\nc;\n")
}

@Test func `lines that replace as many need no directive`() {
    #expect(pinned("a;\nb;\nc;\n", "a;\nx;\nc;\n") == "a;\nx;\nc;\n")
}

@Test func `lines behind a removal keep their numbers`() {
    #expect(pinned("a;\nb;\nc;\n", "a;\nc;\n") == "a;\n#line 3\nc;\n")
}

@Test func `lines without tokens need no numbers`() {
    #expect(pinned("a;\nb;\n", "a;\n/* why */\n\nb;\n") == "a;\n/* why */\n\n#line 2\nb;\n")
}

@Test func `trap line-pinning: not within a comment`() {
    let text = pinned("a;\n/* one\n two */ b;\nc;\n", "a;\n/* one\n more\n two */ b;\nc;\n")
    #expect(text.contains("more\n two */ b;\n"))
    #expect(text.hasSuffix("#line 4\nc;\n"))
}

@Test func `trap line-pinning: not within a raw string`() {
    let original = "auto s = R\"x(\n one\n)\" )x\";\nint b;\n"
    let new = "auto s = R\"x(\n one\n two\n)\" )x\";\nint b;\n"
    #expect(pinned(original, new) == "#line 1000000\n" + new.replacing("int b;", with: "#line 4\nint b;"))
}

@Test func `trap line-pinning: not within a continued line`() {
    let original = "#define M(x) \\\n f(x)\nint b;\n"
    let new = "#define M(x) \\\n g(); \\\n f(x)\nint b;\n"
    #expect(pinned(original, new) == "#define M(x) \\\n g(); \\\n f(x)\n#line 3\nint b;\n")
}

@Test func `trap line-pinning: not within a continued string`() {
    let new = "char *s = \"a\\\nx\\\nb\";\nint b;\n"
    #expect(pinned("char *s = \"a\\\nb\";\nint b;\n", new).hasSuffix("x\\\nb\";\n#line 3\nint b;\n"))
}

@Test func `trap line-pinning: not within the arguments of a call`() {
    let text = pinned("f(a,\n  c);\nd;\n", "f(a,\n  b,\n  c);\nd;\n")
    #expect(text == "#line 1000000\nf(a,\n  b,\n  c);\n#line 3\nd;\n")
}

@Test func `trap line-pinning: not between a macro's name and its arguments`() {
    let text = pinned("x;\nM\n(a);\n", "x;\ny;\nM\n(a);\n")
    #expect(text.contains("M\n(a);\n"))
}

@Test func `trap line-pinning: again behind else and endif, since a false group's directive is skipped`() {
    let original = "#if A\na;\n#else\nb;\n#endif\nc;\n"
    let new = "#if A\nx;\na;\n#else\nb;\n#endif\nc;\n"
    #expect(
        pinned(original, new)
            == "#if A\n#line 1\nx;\na;\n#else\n#line 4\nb;\n#endif\n#line 6\nc;\n")
}

@Test func `a group without a directive needs none behind it`() {
    let original = "a;\nd;\n#if A\nb;\n#endif\nc;\n"
    let text = pinned(original, "a;\nx;\nd;\n#if A\nb;\n#endif\nc;\n")
    #expect(text == "a;\n#line 1000000\nx;\n#line 2\nd;\n#if A\nb;\n#endif\nc;\n")
}

@Test func `parentheses that every branch opens are counted once`() {
    let original = "#if A\nf(a,\n#else\nf(b,\n#endif\n c);\nd;\n"
    let new = "#if A\nf(a,\n#else\nf(b,\n#endif\n x,\n c);\nd;\n"
    #expect(pinned(original, new).hasSuffix(" x,\n c);\n#line 7\nd;\n"))
}

@Test func `trap line-pinning: numbers are unique`() {
    let original = (1...6).map { "case __LINE__: f\($0)();\n" }.joined()
    let new = "case __LINE__: a();\n" + original + "case __LINE__: b();\n"
    let text = pinned(original, new)
    #expect(text.hasPrefix("#line 1000000\ncase __LINE__: a();\n#line 1\n"))
    #expect(Set(numbers(text)).count == 8)
}

@Test func `a region without boundaries that grows overlaps nothing`() {
    let text = pinned("a;\nf(b,\n c);\nd;\n", "a;\nf(b,\n x,\n y,\n c);\nd;\n")
    #expect(Set(numbers(text)).count == numbers(text).count)
    #expect(text.hasSuffix("#line 4\nd;\n"))
}

/// The numbers of the lines that are no directives.
private func numbers(_ text: String) -> [Int] {
    var next = 1
    var result: [Int] = []
    for line in text.split(separator: "\n") {
        if line.hasPrefix("#line ") {
            next = Int(line.dropFirst(6)) ?? 0
        } else {
            result.append(next)
            next += 1
        }
    }
    return result
}

@Test func `an apostrophe in a skipped group opens nothing`() {
    let text = pinned("#if 0\ndon't\n#endif\na;\nb;\n", "#if 0\ndon't\n#endif\na;\nx;\nb;\n")
    #expect(text.hasSuffix("a;\n#line 1000000\nx;\n#line 5\nb;\n"))
}

@Test func `comment marks in strings and header names open nothing`() {
    let original = "#include <sys/*.h>\nchar *a = \"/*\", b = '\"';\nc;\n"
    #expect(pinned(original, original + "x;\ny;\n").hasSuffix("x;\ny;\n"))
    #expect(pinned(original, "z;\n" + original).hasSuffix("#line 2\nchar *a = \"/*\", b = '\"';\nc;\n"))
}

@Test func `a text that numbers its lines itself is left alone`() {
    let result = pinLines(original: Array("a;\n".utf8), new: Array("#line 7 \"g.y\"\nx;\na;\n".utf8))
    #expect(result.refusal != nil)
    #expect(result.directives == 0)
}

@Test func `a trigraph that may continue a line is left alone`() {
    #expect(pinLines(original: [], new: Array("// a ??/\nx;\n".utf8)).refusal != nil)
}

@Test func `a byte order mark stays first`() {
    let text = pinned("\u{FEFF}a;\nb;\n", "\u{FEFF}x;\ny;\na;\nb;\n")
    #expect(text.utf8.starts(with: [0xEF, 0xBB, 0xBF]))
    #expect(text.hasSuffix("#line 2\nb;\n"))
}

@Test func `digits may be separated by apostrophes`() {
    #expect(pinned("int a = 1'000;\nb;\n", "int a = 1'000;\nx;\nb;\n").hasSuffix("#line 1000000\nx;\n#line 2\nb;\n"))
}

@Test func `lines of any number are aligned`() {
    let old = (0..<200).map { "\($0 % 7)\n" }
    var new = old
    new.remove(at: 150)
    new.insert("x\n", at: 100)
    new.insert("y\n", at: 20)
    func lines(_ text: [String]) -> [ArraySlice<UInt8>] { linesWithEnds(Array(text.joined().utf8)) }
    let aligned = alignedLines(original: lines(old), new: lines(new))
    #expect(aligned.compactMap { $0 }.count == 199)
    for (index, other) in aligned.enumerated() { if let other { #expect(new[index] == old[other]) } }
}

@Test func `lines are aligned where thousands differ`() {
    let old = (0..<9000).map { "line \($0)\n" }
    // Every third one is changed, some are moved, some lines are there many times.
    var new = old.enumerated().map { $0.offset % 3 == 0 ? "other \($0.offset)\n" : $0.element }
    for index in stride(from: 100, to: 9000, by: 90) { new[index] = "}\n" }
    new.insert(contentsOf: new[5000..<5010], at: 400)
    func lines(_ text: [String]) -> [ArraySlice<UInt8>] { linesWithEnds(Array(text.joined().utf8)) }
    let aligned = alignedLines(original: lines(old), new: lines(new))
    let found = aligned.compactMap { $0 }
    #expect(found.count > 5850 && zip(found, found.dropFirst()).allSatisfy { $0 < $1 })
    for (index, other) in aligned.enumerated() { if let other { #expect(new[index] == old[other]) } }
}

@Test func `lines are kept that follow each other as before, comments aside`() {
    let old = Array("a;\nb;\n\nc;\nd;\ne;\n".utf8)
    func runs(_ new: String) -> [ClosedRange<Int>] { pinLines(original: old, new: Array(new.utf8)).kept.runs }
    #expect(runs("a;\nb;\n/* text */\n\nc;\nd;\ne;\n") == [1...6])
    #expect(runs("a;\nb;\nx;\nc;\nd;\ne;\n") == [1...2, 4...6])
    #expect(runs("a;\nb;\nd;\ne;\n") == [1...2, 5...6])
    let lines = KeptLines(files: ["/t/a.c": KeptText(runs: [1...2, 4...6])])
    #expect(lines.keeps(4...6, of: "/t/a.c") && !lines.keeps(2...4, of: "/t/a.c") && lines.keeps(2...4, of: "/t/b.c"))
}

@Test func `a kept line is unmistakable where its text stands only once`() {
    let old = Array("a;\nb;\na;\nc;\n".utf8)
    func lines(_ new: String) -> KeptLines {
        KeptLines(files: ["a.c": pinLines(original: old, new: Array(new.utf8)).kept])
    }
    let added = lines("a;\nb; // text\na;\nx;\nc;\n")
    #expect((1...4).filter { added.identifies($0, of: "/t/a.c") } == [2, 4])
    #expect(added.identifies(1, of: "/t/b.c"))
    // One more that reads alike may be the one that was meant.
    #expect((1...4).filter { lines("b;\na;\nb;\na;\nc;\n").identifies($0, of: "a.c") } == [4])
}

@Test func `a parenthesis that is missing in code that is never compiled ends with its block`() {
    let dead = "#if 0\nint f(int x) {\nif ((x)\n{\nx++;\n}\nreturn x;\n}\n#endif\n"
    let result = pinned(dead + "int a;\nint b;\n", dead + "int a;\nint n;\nint m;\nint b;\n")
    #expect(result.hasSuffix("#line 11\nint b;\n"))
    // Braces within parentheses end nothing.
    let inside = "X(a, {\nb;\n},\nc);\nd;\n"
    #expect(!pinned(inside, "n;\nm;\n" + inside).contains("#line 4"))
}

@Test(arguments: ["enum {", "enum e {", "enum __attribute__((packed)) e\n{", "enum class [[x]] e : std::uint8_t {"])
func `trap line-pinning: not within a list of enumerators, which may be counted by lines`(_ head: String) {
    let (list, lines) = ("\nA = __LINE__ - 9,\nB = __LINE__ - 9\n};\n", head.split(separator: "\n").count)
    let added = list.replacing("\nB", with: "\nN = __LINE__ - 9,\nB")
    #expect(
        pinned(head + list + "int b;\n", head + added + "int b;\n").contains(added + "#line \(lines + 4)\nint b;\n"))
    let removed = list.replacing("\nA = __LINE__ - 9,", with: "")
    #expect(pinned(head + list + "int b;\n", head + removed + "int b;\n").contains(removed + "#line \(lines + 4)\n"))
}

@Test(arguments: ["struct s {", "enum e f(enum e x) {", "enum e\nf(int (*x)(int)) {", "enum e x; struct s {"])
func `lists of other things are pinned within`(_ head: String) {
    let text = pinned(head + "\na;\nb;\n};\n", head + "\na;\nn;\nb;\n};\n")
    #expect(text.hasSuffix("n;\n#line \(head.split(separator: "\n").count + 2)\nb;\n};\n"))
}

@Test func `no text makes the lexer fail`() {
    var state: UInt64 = 88_172_645_463_325_252
    let alphabet = Array("\"'()#\\\n/*R?% aif1L\r".utf8)
    for _ in 0..<500 {
        let text = (0..<60).map { _ -> UInt8 in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return alphabet[Int(state % UInt64(alphabet.count))]
        }
        _ = pinLines(original: Array(text.dropFirst(20)), new: text)
    }
}
