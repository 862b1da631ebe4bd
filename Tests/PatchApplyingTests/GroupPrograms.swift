import PatchFormat
import TestSupport

@testable import PatchApplying

extension Programs {
    /// A directory with `day` and `night`, two programs of one source that open a library on SIGUSR1 and close it on the
    /// next; `user`, linked to that library; `other`, linked to it and to none of the units that patches here replace.
    ///
    /// - Parameter build: makes other build-ids, for tests that speak of every process.
    static func family(_ build: String) throws -> String {
        try Fixture.cached(["family-2", build]) { directory in
            try writeText(
                "const char build_of_library[] = \"\(build)\"; volatile int sink; int answer(void) { sink++; return 1; }",
                to: directory + "/answer.c")
            try writeText(
                "volatile int own_sink; int second(int x) { own_sink++; return x + 10; }", to: directory + "/unit.c")
            try writeText(Self.familySource, to: directory + "/main.c")
            let flags = ["-O2", "-Wl,--build-id", "-DBUILD=\"\(build)\""]
            try runOrThrow("gcc", flags + ["-fPIC", "-shared", "answer.c", "-o", "libanswer.so"], in: directory)
            let linked = ["-DLINKED", "-L.", "-lanswer", "-Wl,-rpath,$ORIGIN"]
            for (name, more) in [
                ("day", ["unit.c"]), ("night", ["unit.c"]), ("user", ["unit.c"] + linked),
                ("other", ["-DALONE"] + linked),
            ] {
                let named = ["-DNAME=\"\(name)\"", "main.c"] + more
                try runOrThrow("gcc", flags + named + ["-ldl", "-o", name], in: directory)
            }
        }
    }

    private static let familySource = """
        #include <dlfcn.h>
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        const char name[] = NAME, build[] = BUILD;
        static volatile int wanted;
        static void toggle(int number) { (void)number; wanted = !wanted; }
        #ifdef ALONE
        static int second(int x) { return x; }
        #else
        int second(int x);
        #endif
        #ifdef LINKED
        int answer(void);
        #else
        static int none(void) { return -1; }
        static int (*answer)(void) = none;
        #endif
        int main(int argc, char **argv) {
            void *library = 0;
            signal(SIGUSR1, toggle);
            setvbuf(stdout, 0, _IONBF, 0);
            printf("ready %s %s\\n", name, build);
            for (;;) {
        #ifndef LINKED
                if (wanted && !library) { library = dlopen(argv[1], RTLD_NOW); answer = dlsym(library, "answer"); }
                if (!wanted && library) { answer = none; dlclose(library); library = 0; }
        #endif
                int a = answer(), b = second(1);
                printf("answer=%d second=%d\\n", a, b);
                usleep(2000);
            }
        }
        """

    /// Replaces `second` of one of the family's programs: 11 becomes 1 + `addend`.
    static func secondPatch(_ program: String, addend: Int = 20, id: String = "family") -> HandMadePatch {
        HandMadePatch(
            id: id, target: program,
            source: Assembly.head
                + Assembly.indirect("second", new: "lea \(addend)(%rdi), %eax\nret", old: "lea 10(%rdi), %eax\nret"),
            functions: ["second"])
    }

    /// Replaces `answer` of the family's library: 1 becomes `value`.
    static func answerPatch(_ directory: String, value: Int = 2, id: String = "family") -> HandMadePatch {
        HandMadePatch(
            id: id, target: directory + "/libanswer.so",
            source: Assembly.head
                + Assembly.indirect("answer", new: "mov $\(value), %eax\nret", old: "mov $1, %eax\nret"),
            functions: ["answer"])
    }

    /// One bundle of several targets.
    static func familyPatch(_ parts: [HandMadePatch], groups: [[Int]]?) throws -> HandMadePatch {
        guard var patch = parts.first else { throw SystemFailure("no parts") }
        patch.more = Array(parts.dropFirst())
        patch.groups = groups
        return patch
    }
}

/// A running program of the family and a bundle for it.
func withFamily(
    _ program: String, _ patch: HandMadePatch, _ body: (RunningProcess, String) throws -> Void
) throws {
    try withTemporaryDirectory { scratch in
        let bundle = try patch.write(to: scratch)
        let directory = program.split(separator: "/").dropLast().joined(separator: "/")
        try withProcess(program, ["/" + directory + "/libanswer.so"]) { process in
            try process.waitForOutput("ready")
            try body(process, bundle)
        }
    }
}
