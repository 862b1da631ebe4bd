import Diagnostics
import TestSupport
import Testing

@testable import Comparing
@testable import Recompiling

/// Three static locals of one name and size in one function, as a switch over kinds of checksum has them.
private let source = """
    long one(long *), two(long *), three(long *);
    long sum(int kind, int open) {
      if (open > 3) return 7;
      switch (kind) {
      case 1: {
        static long state;
        return one(&state);
      }
      case 2: {
        static long state;
        return two(&state);
      }
      case 3: {
        static long state;
        return three(&state);
      }
      }
      return 0;
    }

    """

@Suite struct StaticLocalTests {
    /// Names that can't be told apart after these edits of the source.
    private func ambiguous(
        _ compiler: String, from source: String = source, path: String = "a.c", isMapped: Bool = false,
        _ edits: (String, String)...
    ) async throws -> [String] {
        var tree = try SourceTree(["a.c": source])
        defer { tree.remove() }
        tree.add(path, ["-O2"] + (isMapped ? ["-ffile-prefix-map=\(tree.root)=."] : []), compiler: compiler)
        let new = edits.reduce(source) { $0.replacing($1.0, with: $1.1, maxReplacements: 1) }
        #expect(new != source)
        let compiled = try await compileTwice(tree.units, change: tree.change(["a.c": new]), scratch: tree.scratch)
        let units = try loadUnits(
            compiled.units.map {
                UnitObjects(
                    name: "a.o", source: "a.c", isCPlusPlus: false, plainObject: $0.plainObject,
                    originalObject: $0.originalObject, newObject: $0.newObject, keptLines: $0.keptLines)
            })
        return compareUnit(try #require(units.first)).correlation.ambiguous
    }

    @Test(arguments: ["gcc", "clang"]) func `static locals of one name are told apart by where they are declared`(
        compiler: String
    ) async throws {
        #expect(try await ambiguous(compiler, ("open > 3", "open > 4")).isEmpty)
        // Lines above that come and go, and comments between.
        let grown = ("  if (open > 3) return 7;", "  if (open > 3)\n    return 7;\n  if (open < 0)\n    return 9;")
        #expect(try await ambiguous(compiler, grown).isEmpty)
        #expect(
            try await ambiguous(compiler, ("open > 3", "open > 4"), ("  case 2", "  /* more */\n\n  case 2")).isEmpty)
    }

    @Test(arguments: ["gcc", "clang"]) func `static locals of one name whose blocks change are not told apart`(
        compiler: String
    ) async throws {
        // The blocks change places: by their lines alone, each would be the other.
        #expect(
            try await !ambiguous(
                compiler, ("two(&state)", "three(&state)"), ("three(&state);\n  }\n  }", "two(&state);\n  }\n  }")
            ).isEmpty)
        // The first goes and one comes behind the last.
        #expect(
            try await !ambiguous(
                compiler, ("  case 1: {\n    static long state;\n    return one(&state);\n  }\n", ""),
                (
                    "  }\n  return 0;",
                    "  case 4: {\n    static long state;\n    return one(&state);\n  }\n  }\n  return 0;"
                )
            ).isEmpty)
        // The same with two of them from the start, of which Clang numbers only the second.
        let two = ("  case 3: {\n    static long state;\n    return three(&state);\n  }\n", "")
        #expect(
            try await !ambiguous(
                compiler, from: source.replacing(two.0, with: two.1),
                ("  case 1: {\n    static long state;\n    return one(&state);\n  }\n", ""),
                (
                    "  }\n  return 0;",
                    "  case 3: {\n    static long state;\n    return three(&state);\n  }\n  }\n  return 0;"
                )
            ).isEmpty)
    }

    @Test(arguments: ["gcc", "clang"]) func `static locals that a macro makes are told apart by their lines`(
        compiler: String
    ) async throws {
        let source = """
            #define ONCE(v) ({ static int done; static int value; if (!done) { done = 1; value = (v); } value; })
            int f(int x) {
              volatile int y = x;
              y += ONCE(x);
              if (y > 100)
                y = 3;
              y += ONCE(x + 1);
              y += ONCE(x + 2);
              return y;
            }
            int g(int x) { return ONCE(x) + ONCE(2 * x); }

            """
        #expect(try await ambiguous(compiler, from: source, ("y > 100", "y > 50")).isEmpty)
        #expect(try await ambiguous(compiler, from: source, ("return y", "return y + 1")).isEmpty)
        // One comes between.
        #expect(try await ambiguous(compiler, from: source, ("y = 3", "y = ONCE(9)")).isEmpty)
        // A line that changes may be another one, and so may one of two that read alike.
        #expect(try await !ambiguous(compiler, from: source, ("ONCE(x + 1)", "ONCE(x + 7)")).isEmpty)
        let alike = source.replacing("ONCE(x + 2)", with: "ONCE(x + 1)")
        #expect(try await !ambiguous(compiler, from: alike, ("y = 3;", "y = 3;\n  y += ONCE(x + 1);")).isEmpty)
    }

    @Test(arguments: ["gcc", "clang"]) func `the source may have any name in debug information`(
        compiler: String
    ) async throws {
        let swapped = [
            ("two(&state)", "swap(&state)"), ("three(&state)", "two(&state)"), ("swap(&state)", "three(&state)"),
        ]
        for (path, isMapped) in [("a.c", true), ("./a.c", false), ("../tree/a.c", false)] {
            let ambiguous = try await ambiguous(
                compiler, path: path, isMapped: isMapped, swapped[0], swapped[1], swapped[2])
            #expect(!ambiguous.isEmpty, "\(path)")
            #expect(
                try await self.ambiguous(compiler, path: path, isMapped: isMapped, ("open > 3", "open > 4")).isEmpty)
        }
        // One that names its lines after another file.
        let named = "#line 1 \"gram.y\"\n" + source
        #expect(try await !ambiguous(compiler, from: named, swapped[0], swapped[1], swapped[2]).isEmpty)
    }
}
