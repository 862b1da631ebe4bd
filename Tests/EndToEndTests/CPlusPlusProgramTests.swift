import TestSupport
import Testing

extension EndToEnd {
    /// C++ programs whose functions throw, catch and clean up, before, under and after a patch.
    @Suite(.serialized) struct CPlusPlusProgramTests {
        private static let program = """
            #include <cstdio>
            #include <stdexcept>
            #include <string>
            #include <unistd.h>
            int cleaned;
            struct Guard { std::string name; ~Guard() { cleaned += 1; } };
            struct Base { virtual ~Base() {} virtual int get(int x) { return x; } };
            struct Derived : Base { int get(int x) override; };
            inline int calls(int x) { static int n; n += x; return n; }
            __attribute__((noinline)) int Derived::get(int x) {
                if (x == 3) throw std::runtime_error("three");
                if (x == 9) throw 5;
                return x;
            }
            __attribute__((noinline)) int work(Base *base, int x) {
                std::string text(x, 'c');
                try { return base->get(x) + 1; } catch (const std::runtime_error &) { return 100; }
            }
            __attribute__((noinline)) int through(const std::string &text) {
                Guard guard{"guard"};
                return text.at(50);
            }
            int main() {
                setlinebuf(stdout);
                Base *base = new Derived;
                for (;;) {
                    int thrown = 0;
                    cleaned = 0;
                    try { through("short"); } catch (const std::out_of_range &) {}
                    try { thrown = base->get(9); } catch (int x) { thrown = x; } catch (const std::runtime_error &) { thrown = 9; }
                    printf("%d %d %d %d\\n", work(base, 2), work(base, 3), cleaned, thrown);
                    calls(1);
                    usleep(20000);
                }
            }
            """
        private static let edits = [
            ("throw 5", "throw std::runtime_error(\"nine\")"), ("return x;\n}", "return x + 10;\n}"), ("+ 1;", "+ 2;"),
            ("return 100", "return 200"), ("return text.at(50)", "cleaned += 99; return text.at(60)"),
        ]

        /// Objects with sections of their own are linked and compared, so that they need no third compilation.
        private func build(_ name: String, _ edits: [(String, String)], flags: [String] = []) throws -> String {
            let directory = try Workshop.directory(name)
            try writeText(Self.program, to: directory + "/program.cc")
            var changed = Self.program
            for (old, new) in edits { changed = changed.replacing(old, with: new, maxReplacements: 1) }
            try writeText(changed, to: directory + "/changed.cc")
            let compile = ["-O2", "-g", "-ffunction-sections", "-fdata-sections"] + flags + ["-c"]
            try runOrThrow("g++", compile + ["program.cc", "-o", "original.o"], in: directory)
            try runOrThrow("g++", compile + ["changed.cc", "-o", "new.o"], in: directory)
            try runOrThrow("g++", flags + ["original.o", "-o", "program"], in: directory)
            let built = try patchbuild(
                "build", "--original", "original.o", "--new", "new.o", "--target", "program", "-o", "fix.lpatch",
                in: directory)
            #expect(built.status == 0, "\(built)")
            return directory
        }

        @Test(arguments: [[], ["-fno-pie", "-no-pie"]])
        func `exceptions pass through patched functions in every direction`(_ flags: [String]) throws {
            let directory = try build("exceptions" + flags.joined(), Self.edits, flags: flags)
            try withProcess(directory + "/program") { process in
                try process.waitForOutput("3 100 1 5\n")
                let bundle = directory + "/fix.lpatch"
                for _ in 0..<2 {
                    let applied = try livepatch("apply", bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                    #expect(applied.status == 0, "\(applied)")
                    #expect(try process.nextLine() == "14 200 100 9")
                    let reverted = try livepatch("revert", bundle, "--pid", "\(process.pid)", "--allow-unsigned")
                    #expect(reverted.status == 0, "\(reverted)")
                    #expect(try process.nextLine() == "3 100 1 5")
                }
            }
        }

        @Test func `what the program did not use of the C++ library is found in the process`() throws {
            let directory = try build(
                "library",
                [
                    ("#include <string>", "#include <string>\n#include <vector>"),
                    (
                        "return base->get(x) + 1;",
                        """
                        std::vector<std::string> list;
                        for (int i = 0; i < x + 2; i++) list.push_back(std::to_string(i));
                        static int first = list.size() > 2 ? 4 : 0;
                        try { if (list.at(x).size() == 1) throw std::length_error("five"); }
                        catch (const std::logic_error &error) { return first * 100 + error.what()[0]; }
                        return 0;
                        """
                    ),
                ])
            try withProcess(directory + "/program") { process in
                try process.waitForOutput("3 100 1 5\n")
                try expectApplied(directory + "/fix.lpatch", process.pid)
                #expect(try process.nextLine() == "502 502 1 5")
            }
        }

        @Test(arguments: [[], ["-fno-pie", "-no-pie"]])
        func `a new class, a new object and an old static variable work together`(_ flags: [String]) throws {
            let directory = try build(
                "classes" + flags.joined(),
                [
                    (
                        "__attribute__((noinline)) int work",
                        """
                        static std::string fresh("a text of more than fifteen bytes");
                        struct Third : Base { int get(int x) override { return x + calls(0) * 0 + (int)fresh.size(); } };
                        __attribute__((noinline)) int work
                        """
                    ),
                    (
                        "return base->get(x) + 1;",
                        "Base *b = new Third; base = dynamic_cast<Third *>(b); int r = base->get(x); delete b; return r;"
                    ),
                ], flags: flags)
            try withProcess(directory + "/program") { process in
                try process.waitForOutput("3 100 1 5\n")
                try expectApplied(directory + "/fix.lpatch", process.pid)
                #expect(try process.nextLine() == "35 36 1 5")
            }
        }
    }
}
