import TestSupport
import Testing

extension EndToEnd {
    /// GCC's nested functions make the stacks of all threads executable: their addresses are those of code on the stack.
    @Suite(.serialized) struct ExecutableStackTests {
        private static let program = """
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            static __attribute__((noinline)) int apply(int (*function)(int), int x)
            {
                volatile int y = x;
                return function(y);
            }
            static __attribute__((noinline)) int answer(int x)
            {
                volatile int y = x;
                int add(int more) { return more + y; }
                return apply(add, 40);
            }
            static void *work(void *unused)
            {
                for (;; usleep(1000)) answer(1);
                return unused;
            }
            int main(void)
            {
                pthread_t thread;
                setlinebuf(stdout);
                pthread_create(&thread, NULL, work, NULL);
                for (;;) {
                    int round(int x) { usleep(20000); return x; }
                    printf("%d\\n", apply(round, answer(2)));
                }
            }
            """

        @Test("trap executable-stack: a program with executable stacks is patched, its trampolines at work")
        func nestedFunctions() throws {
            let program = try SmallProgram("nested", ["main.c": Self.program], flags: ["-O1", "-g"])
            let built = try program.build([SmallProgram.Edit(file: "main.c", old: "add, 40", new: "add, 50")])
            #expect(built.status == 0, "\(built)")
            try program.running { process in
                let maps = readText("/proc/\(process.pid)/maps")
                #expect(maps.split(separator: "\n").contains { $0.contains("rwxp") && $0.hasSuffix("[stack]") })
                #expect(try process.nextLine() == "42")
                try expectApplied(program.bundle, process.pid)
                #expect(try process.nextLine() == "52")
                let reverted = try livepatch("revert", program.bundle, "--pid", "\(process.pid)")
                #expect(reverted.status == 0, "\(reverted)")
                #expect(try process.nextLine() == "42")
            }
        }
    }
}
