import Glibc
import ProcessControl
import TestSupport
import Testing

extension ProcessControl {
    @Suite struct Unwinding {
        private struct Symbol {
            var start, end: UInt64
            var name: String
        }

        /// Names of the frames of every thread: from `nm`, for the executable, `?` elsewhere.
        private func names(_ pid: Int32, program: String) throws -> [[String]] {
            let symbols = try run("nm", ["-S", program]).stdout.split(separator: "\n").compactMap { line -> Symbol? in
                let fields = line.split(separator: " ")
                guard fields.count == 4, let start = UInt64(fields[0], radix: 16),
                    let size = UInt64(fields[1], radix: 16)
                else { return nil }
                return Symbol(start: start, end: start + size, name: String(fields[3]))
            }
            let answer = try runTracer(deadline: .seconds(10)) {
                let map = try MemoryMap.read(pid: pid)
                var reader = try StackReader.prepare(pid: pid)
                let stacks = try withStoppedProcess(pid, maximumStop: .seconds(1)) { try reader.read($0) }.value
                var unwinder = Unwinder(memory: RemoteMemory(pid: pid), map: map)
                let base = map.mappings.first { $0.path == program }?.start.rawValue ?? 0
                return Array(
                    stacks.map { stack in
                        let found = unwinder.unwind(
                            registers: stack.registers, stack: reader.bytes(stack), start: stack.start)
                        let names = found.frames.map { frame in
                            let address = frame.lookupAddress.rawValue &- base
                            return symbols.first { $0.start <= address && address < $0.end }?.name ?? "?"
                        }
                        return (names + [found.incomplete ?? "end"]).joined(separator: " ")
                    }.joined(separator: "\n").utf8)
            }
            return String(decoding: answer, as: UTF8.self).split(separator: "\n").map {
                $0.split(separator: " ").map(String.init)
            }
        }

        private func unwind(_ source: String, _ flags: [String]) throws -> [[String]] {
            let program = try Fixture.compile(source, flags + ["-pthread"], output: "unwound")
            return try withProcess(program) { process in
                try process.waitForOutput("ready")
                usleep(20_000)
                return try names(process.pid, program: program)
            }
        }

        private let threads = """
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            volatile int zero;
            __attribute__((noinline)) void deepest(int n) { for (;;) pause(); zero = n; }
            __attribute__((noinline)) void middle(int n) {
                char room[n + 100];
                room[zero] = 1;
                deepest(n);
                zero = room[n];
            }
            __attribute__((noinline)) void *top(void *p) { middle(3); zero = 1; return NULL; }
            __attribute__((noinline)) void spin(void) { while (!zero) ; }
            __attribute__((noinline)) void *spins(void *p) { spin(); zero = 2; return NULL; }
            int main(void) {
                pthread_t t;
                pthread_create(&t, NULL, top, NULL);
                pthread_create(&t, NULL, spins, NULL);
                puts("ready");
                fflush(stdout);
                middle(5);
                return zero;
            }
            """

        @Test(
            "every frame up to the outermost one",
            arguments: [["-O0"], ["-O2"], ["-O2", "-static-pie"], ["-O2", "-no-pie"]])
        func everyFrame(flags: [String]) throws {
            let stacks = try unwind(threads, flags)
            try #require(stacks.count == 3)
            #expect(stacks.allSatisfy { $0.last == "end" }, "\(stacks)")
            for (stack, expected) in zip(
                stacks, [["deepest", "middle", "main"], ["deepest", "middle", "top"], ["spin", "spins"]])
            where !flags.contains("-no-pie") {
                let own = stack.filter { expected.contains($0) }
                #expect(own == expected, "\(stack)")
            }
        }

        @Test("through a signal frame, into the function that was interrupted")
        func throughSignalFrame() throws {
            let source = """
                #include <signal.h>
                #include <stdio.h>
                #include <unistd.h>
                volatile int zero;
                __attribute__((noinline)) void handled(void) { for (;;) pause(); }
                void handler(int n) { handled(); zero = n; }
                __attribute__((noinline)) void victim(void) { *(volatile int *)8 = 1; zero = 1; }
                int main(void) {
                    signal(SIGSEGV, handler);
                    puts("ready");
                    fflush(stdout);
                    victim();
                    return zero;
                }
                """
            let stacks = try unwind(source, ["-O2"])
            #expect(
                try stacks.at(0).filter { $0 != "?" } == ["handled", "handler", "victim", "main", "_start", "end"],
                "\(stacks)"
            )
        }

        @Test("stops where the tables say nothing")
        func unknownCode() throws {
            let source = """
                #include <stdio.h>
                #include <string.h>
                #include <sys/mman.h>
                int main(void) {
                    char *code = mmap(NULL, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    memcpy(code, "\\x90\\xeb\\xfd", 3);
                    puts("ready");
                    fflush(stdout);
                    ((void (*)(void))code)();
                    return 1;
                }
                """
            let stacks = try unwind(source, ["-O2"])
            #expect(try stacks.at(0).first == "?" && stacks.at(0).contains("no"), "\(stacks)")
        }
    }
}
