import TestSupport
import Testing

/// A parser's way with its tables: their addresses stay in registers over a loop, a `switch`, calls and cold code.
private let automaton = """
    #include <stdio.h>
    #include <stdlib.h>
    static const unsigned char table[32] = {5, 8, 2, 9, 1, 7, 3, 3, 6, 4, 4, 1, 2, 9, 8, 7};
    const unsigned char *kept;
    int work(const char *text, int length)
    {
        int state = length;
        for (int i = 0; i < length; i++) {
            switch (text[i]) {
            case 'a': state += table[(state + 1) & 31]; break;
            case 'b': state ^= table[text[i + 1] & 31]; break;
            case 'c': state *= 3; break;
            case 'd': printf("%d", state); break;
            case 'e': state -= 7 + table[state & 15]; break;
            case 'f': return state;
            case 'g': puts(text); break;
            case 'h': if (state > 100) { perror(text); abort(); } break;
            }
            state += table[i & 31];
        }
        return state;
    }

    """

@Suite struct ConstantFlowTests {
    private func patching(_ edits: [(String, String)], flags: [String], clang: Bool) throws -> Patching {
        let main = "int work(const char *, int); int main(int c, char **v) { return work(v[0], c); }\n"
        return clang
            ? try Patching(["a.cc": automaton, "main.cc": main], ["a.cc": edits], flags: flags, compiler: "clang++")
            : try Patching(["a.c": automaton, "main.c": main], ["a.c": edits], flags: flags)
    }

    static let builds: [([String], Bool)] = [
        (["-O2"], false), (["-O2"], true), (["-O1", "-fno-pie", "-no-pie"], false), (["-O3", "-fPIC"], false),
        (["-Os"], true), (["-O2", "-fcf-protection", "-fstack-protector-strong"], false),
    ]

    @Test(arguments: builds) func `a table that is only loaded from may change, whatever way its address takes`(
        flags: [String], clang: Bool
    ) throws {
        let patch = try patching([("{5, 8", "{6, 8")], flags: flags, clang: clang)
        #expect(patch.functions.count == 1)
    }

    @Test(arguments: builds) func `trap changed-constant-escapes: an address that gets out behind a jump table`(
        flags: [String], clang: Bool
    ) throws {
        for escape in ["kept = table; break;", "kept = &table[state & 3]; break;", "printf(\"%p\", table); break;"] {
            let source = [("case 'c': state *= 3; break;", "case 'c': \(escape)")]
            let leaking = automaton.replacing(source[0].0, with: source[0].1)
            #expect(leaking != automaton)
            let patch = try patching(source + [("{5, 8", "{6, 8")], flags: flags, clang: clang)
            #expect(patch.rules == ["changed-constant-escapes"], "\(escape)")
        }
    }
}
