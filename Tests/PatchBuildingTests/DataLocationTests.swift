import ObjectFiles
import TestSupport
import Testing

@testable import CodeModel
@testable import Matching
@testable import Targets

/// Which variables of another link have a proved address, and which only seem to.
@Suite struct DataLocationTests {
    /// Variables between `fence` and `last`, of which the official file has one more, where `before` and `after` meet.
    private static func sources(_ before: String, _ after: String, _ work: String, scope: String = "") -> [String:
        String]
    {
        let own = scope.isEmpty ? "array[2] + next[1]" : "4"
        let official = scope.isEmpty ? "array[2] * 3 - next[1]" : "5"
        return [
            "unit.c": """
            long fence = 5; \(before)
            #ifdef OFFICIAL
            long extra[4] = {9, 9, 9, 9};
            #endif
            \(after) long last = 6;
            int take(long *, long *);
            int work(int x)
            { int s = x; for (int i = 0; i < x; i++) { s = s * 77 + i; if (s & 5) s ^= x << 3; } \(work) }
            """,
            "zulu.c": """
            extern long fence, last, spare, array[4], next[4]; int work(int);
            int take(long *a, long *b) { return *a + *b > 10; }
            #ifdef OFFICIAL
            int other(void) { return \(official) + spare; }
            #else
            int other(void) { return \(own) - spare * 3; }
            #endif
            int main(int argc, char **argv) { return work(argc) + argv[0][0] + other(); }
            """,
        ]
    }
    private static let array = "long array[4] = {1, 2, 3, 4};"
    private static let next = "long next[4] = {7, 0, 0, 8};"
    private static let spare = "long spare = 3;"
    private static let flags = ["-O2", "-fno-toplevel-reorder"]

    /// Without the sources' names, since the linker makes hidden ones local.
    private static func addresses(_ file: ObjectFile) -> [String: UInt64] {
        Dictionary(
            Relinked.addresses(file.symbols).map { (String($0.key.split(separator: " ").last ?? ""), $0.value) },
            uniquingKeysWith: { first, _ in first })
    }

    /// By name: whether its address is the true one; nil where it has none.
    private static func found(_ program: Relinked) -> [String: Bool?] {
        let (truth, found) = (addresses(program.truth), addresses(program.image.symbolFile))
        return Dictionary(
            uniqueKeysWithValues: truth.map { name, address in (name, found[name].map { $0 == address }) })
    }

    private static func found(_ sources: [String: String], _ flags: [String]) throws -> [String: Bool?] {
        found(try Relinked(sources, flags: flags, differing: ["unit.c", "zulu.c", "threads.c"]))
    }

    @Test(arguments: [flags, flags + ["-fno-pie", "-no-pie"], flags + ["-fPIC"]])
    func `an end pointer is no proof of the variable that begins there`(_ flags: [String]) throws {
        let found = try Self.found(
            Self.sources(
                Self.array, Self.spare + Self.next, "return s + take(array, array + 4) + fence + last + array[s & 3];"),
            flags)
        #expect(found["spare"] == .some(nil), "only the end of the array was seen")
        for name in ["fence", "last"] { #expect(found[name] == .some(true), "\(name): \(found)") }
    }

    @Test(arguments: [flags, flags + ["-fno-pie", "-no-pie"], flags + ["-fPIC"]])
    func `a pointer from before an array is no proof of the variable that lies there`(_ flags: [String]) throws {
        let found = try Self.found(
            Self.sources(
                Self.spare + Self.next, Self.array, "return s + take(array, array - 1) + fence + last + array[s & 3];"),
            flags)
        #expect(found["next"] == .some(nil), "only a place before the array was seen")
        for name in ["fence", "last"] { #expect(found[name] == .some(true), "\(name): \(found)") }
    }

    @Test(arguments: [
        "return s + take(array, array + 4) + fence + last + spare;",
        "return s + take(&spare, &spare) + spare + fence + last + array[s & 3];",
        "return s + take(array, next) + fence + last + spare + array[2];",
    ])
    func `a variable that is read itself, or lies between others that are shifted alike, is found`(
        _ work: String
    ) throws {
        for more in [[], ["-fPIC"]] {
            let sources = Self.sources(Self.array, Self.spare + Self.next, work)
            let found = try Self.found(sources, Self.flags + more)
            #expect(found["spare"] == .some(true), "\(work) \(more)")
            if work.contains("next") { #expect(found["next"] == .some(true), "\(work) \(more)") }
        }
    }

    @Test(arguments: ["", "static "])
    func `the unit's own object tells an end pointer from the next variable`(_ scope: String) throws {
        // The array is where what was added begins, so that linked code alone proves neither.
        let text = Self.sources(
            scope + Self.array, scope + "long next[4] = {7, 0, 0, 8};" + Self.spare,
            "return s + take(array, array + 4) + take(next, next + 4) + fence + last;", scope: scope)
        let program = try Relinked(text, flags: Self.flags, differing: ["unit.c", "zulu.c"])
        let truth = Self.addresses(program.truth)
        let original = try Fixture.compile(text["unit.c"] ?? "", Self.flags + ["-c", "-fdata-sections"])
        let matched = try #require(
            match(program.view, in: program.image, original: ObjectView(try ObjectFile.read(path: original))))
        #expect(matched.matched.contains("work"), "\(matched.mismatches)")
        for name in ["array", "next"] {
            let place = try #require(truth[name])
            #expect(matched.addresses[name] == place, "\(scope)\(name)")
        }
        // It lies between others that are shifted alike.
        #expect(matched.addresses["spare"] == truth["spare"])
    }

    private static func threads(permuted: Bool, scope: String = "") -> [String: String] {
        [
            "threads.c": """
            #if defined(OFFICIAL) && \(permuted ? 1 : 0)
            __thread int mine = 3, right, left;
            #else
            __thread int mine = 3, left, right;
            #endif
            """,
            "unit.c": """
            extern __thread int mine, left, right;
            #define LOOP for (int i = 0; i < x; i++) { s = s * 77 + i; if (s & 5) s ^= x << 3; }
            int work(int x) { int s = x; LOOP return s + mine++; }
            #ifdef ORDERED
            int both(int x) { int s = x + 4; LOOP return s + left++ - right; }
            #endif
            """,
            "zulu.c": """
            extern __thread int mine, left, right; int work(int), both(int); int more;
            #ifdef OFFICIAL
            int main(int argc, char **argv) { return work(argc) * argv[0][0] + left++ + right * 3; }
            #else
            int main(int argc, char **argv) { return work(argc) + left + right++ + argv[0][0]; }
            #endif
            """,
        ]
    }

    @Test(
        arguments: [[], ["-fPIC"], ["-fPIC", "-ftls-model=initial-exec"], ["-fPIC", "-mtls-dialect=gnu2"]],
        [false, true])
    func `thread-locals of one block that changed places are not taken for each other`(
        _ more: [String], _ isLibrary: Bool
    ) throws {
        let sources = Self.threads(permuted: true)
        let hidden = ["-fvisibility=hidden"]
        let flags = Self.flags + more + (isLibrary ? ["-fPIC"] + hidden : [])
        let program = try Relinked(
            sources, flags: flags, differing: ["threads.c", "zulu.c"], link: isLibrary ? ["-shared"] : [])
        let found = Self.found(program)
        #expect(found["left"] == .some(nil) && found["right"] == .some(nil), "\(found)")
        let truth = Self.addresses(program.truth)
        let matched = try #require(match(program.view, in: program.image))
        #expect(matched.matched.contains("work"), "\(matched.mismatches)")
        #expect(matched.threadOffsets["mine"] == truth["mine"])
        #expect(matched.threadOffsets["left"] == nil)
    }

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"], ["-O2", "-fPIC", "-ftls-model=initial-exec"]])
    func `thread-locals that equal code uses are found`(_ flags: [String]) throws {
        let flags = flags + ["-fno-toplevel-reorder", "-DORDERED"]
        let program = try Relinked(
            Self.threads(permuted: false), flags: flags, differing: ["threads.c", "zulu.c"])
        let truth = Self.addresses(program.truth)
        let matched = try #require(match(program.view, in: program.image))
        for name in ["mine", "left", "right"] {
            #expect(matched.threadOffsets[name] == truth[name], "\(name) \(flags)")
        }
        #expect(matched.matched.isSuperset(of: ["work", "both"]))
    }

    @Test func `functions that differ by their thread-local only are not taken for each other`() throws {
        let loop = "int s = x; for (int i = 0; i < x; i++) { s = s * 77 + i; if (s & 5) s ^= x << 3; }"
        let left = "int take_left(int x) { \(loop) return s + left++; }\n"
        let right = "int take_right(int x) { \(loop) return s + right++; }\n"
        let sources = [
            "threads.c": Self.threads(permuted: true)["threads.c"] ?? "",
            "unit.c": "extern __thread int left, right;\n" + left + right,
            "zulu.c": """
            int take_left(int), take_right(int);
            #ifdef OFFICIAL
            int main(int argc, char **argv) { return take_left(argc) * argv[0][0] + take_right(argc + 1); }
            #else
            int main(int argc, char **argv) { return take_left(argc) + take_right(argc) + argv[0][0]; }
            #endif
            """,
        ]
        for more in [[], ["-fPIC"]] {
            let found = try Self.found(sources, Self.flags + more)
            for (name, isTrue) in found { #expect(isTrue != .some(false), "\(name) \(more)") }
        }
    }
}
