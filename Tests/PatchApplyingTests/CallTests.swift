import ElfFormat
import Glibc
import ModuleBinding
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    static let throwingSource = """
        #include <cstdio>
        #include <cstdlib>
        #include <cstring>
        #include <pthread.h>
        #include <unistd.h>
        volatile int sink;
        volatile int trace;
        volatile long words[3] = {1, 1, 1};
        extern "C" __attribute__((noipa, used)) int thrower(int x) { sink++; throw x; }
        extern "C" __attribute__((noipa, used)) void note(int x) { trace = trace * 10 + x; }
        extern "C" int answer();
        static void *worker(void *unused) {
            for (;;) { free(malloc(1000)); }
        }
        int main(int argc, char **argv) {
            setvbuf(stdout, 0, _IONBF, 0);
            for (int i = 1; i < argc; i++) {
                pthread_t t;
                pthread_create(&t, 0, worker, nullptr);
            }
            printf("ready\\n");
            for (;;) {
                int a;
                try { a = answer(); } catch (int x) { a = x; }
                printf("answer=%d trace=%d\\n", a, trace);
                usleep(2000);
            }
        }
        """

    /// In a file of its own: a caller that knew that it does not throw would have no handler.
    static let answerSource = "extern volatile int sink; extern \"C\" int answer() { sink++; return 1; }\n"

    static func throwing(_ flags: [String] = []) throws -> String {
        try Fixture.compile(
            ["main.cc": throwingSource, "answer.cc": answerSource],
            ["-O2", "-g", "-pthread", "-Wl,--build-id"] + flags, output: "throwing",
            compiler: "g++")
    }

    /// The new `answer` lets the program's exception pass; with initialisers that leave their numbers in `trace`.
    static func throwingPatch(initialisers: [String] = [], unwinds: Bool = true) throws -> HandMadePatch {
        let target = try throwing()
        let symbols = try Fixture.symbols(target)
        let new = """
            .cfi_startproc
            sub $8, %rsp
            .cfi_def_cfa_offset 16
            mov $7, %edi
            .byte 0xe8
            place_call: .long 0
            add $8, %rsp
            .cfi_def_cfa_offset 8
            ret
            .cfi_endproc
            """
        let functions = initialisers.enumerated().map { "initialiser_\($0.offset):\n\($0.element)\n" }
        let pointers = initialisers.indices.map { ".quad initialiser_\($0)\n" }
        var source =
            Assembly.head
            + Assembly.replacement("answer", new: new, old: "mov $1, %eax\nret")
            + functions.joined()
        if unwinds {
            source += """
                .data
                .balign 8
                .type unwind_object, @object
                .size unwind_object, 64
                unwind_object: .zero 64

                """
        }
        if !initialisers.isEmpty {
            source += """
                .section .init_array, "aw", @init_array
                .balign 8
                .type initialisers, @object
                initialisers:
                \(pointers.joined())
                .size initialisers, .-initialisers

                """
        }
        source += ".data\n.balign 8\ngot_note: .quad 0\n"
        source += Assembly.bindings([("place_call", 2, 0, -4), ("got_note", 1, 1, 0)])
        var patch = HandMadePatch(id: "throws", target: target, source: source, functions: ["answer"])
        patch.bindings = try ["thrower", "note"].map {
            Binding(kind: .target, symbol: $0, address: try #require(symbols[$0]).address)
        }
        return patch
    }

    /// Calls `note(number)`.
    static func noting(_ number: Int) -> String {
        "sub $8, %rsp\nmov $\(number), %edi\ncall *got_note(%rip)\nadd $8, %rsp\nret"
    }
}

@Suite("calls") struct CallTests {
    private func apply(_ bundle: String, _ process: RunningProcess) throws -> Output {
        try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
    }

    @Test("an exception passes through the new code, each time that it is applied")
    func exceptions() throws {
        try withPatched(try Programs.throwingPatch()) { process, bundle in
            for _ in 0..<3 {
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=7")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                #expect(try livepatch("status", "--pid", process.id).stdout.contains("the unwinder knows"))
                let output = try livepatch("revert", bundle, "--pid", process.id)
                #expect(output.stdout.contains("resident") && output.status == 0, "\(output)")
                try process.waitForNew("answer=1")
            }
        }
    }

    @Test("loaded but inactive, and never activated: told and forgotten")
    func loadedOnly() throws {
        try withPatched(try Programs.throwingPatch()) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let output = try livepatch("unload", bundle, "--pid", process.id)
            #expect(output.stdout.contains("unloaded") && output.status == 0, "\(output)")
            try process.waitForNew("answer=1")
        }
    }

    @Test("a C program without an unwinder takes a module with unwind data")
    func noUnwinder() throws {
        var patch = try Programs.plainPatch()
        patch.source = patch.source.replacing(
            "mov $2, %eax\nret", with: ".cfi_startproc\nmov $2, %eax\nret\n.cfi_endproc")
        patch.source +=
            ".data\n.balign 8\n.type unwind_object, @object\n.size unwind_object, 64\nunwind_object: .zero 64\n"
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
        }
    }

    @Test("a static program, whose unwinder can't be found, is refused")
    func staticProgram() throws {
        var patch = try Programs.throwingPatch()
        patch.target = try Programs.throwing(["-static"])
        let symbols = try Fixture.symbols(patch.target)
        patch.bindings = try ["thrower", "note"].map {
            Binding(kind: .target, symbol: $0, address: try #require(symbols[$0]).address)
        }
        try withPatched(patch) { process, bundle in
            try expectRefusal("unsupported-process", try apply(bundle, process))
            #expect(try Registry.find(in: ProcessView(pid: process.pid)) == nil)
        }
    }

    @Test("another unwinder is refused")
    func otherUnwinder() throws {
        let library = try Fixture.compile(
            ["other.c": "void _Unwind_RaiseException(void) {} void __unw_getcontext(void) {}"],
            ["-shared", "-fPIC"], output: "libunwind.so.1")
        try withTemporaryDirectory { directory in
            let patch = try Programs.throwingPatch()
            let bundle = try patch.write(to: directory)
            try withProcess(patch.target, environment: ["LD_PRELOAD": library]) { process in
                try process.waitForOutput("ready")
                let output = try apply(bundle, process)
                try expectRefusal("unsupported-process", output)
                #expect(output.stderr.contains("libunwind"), "\(output)")
            }
        }
    }

    /// The C library's start functions then stand between two frames of other files.
    @Test("unsafe-point: a preloaded library may start the program")
    func preloadedStart() throws {
        let start = """
            #define _GNU_SOURCE
            #include <dlfcn.h>
            typedef int Main(int, char **, char **);
            static Main *program;
            static int between(int count, char **arguments, char **environment) {
                return program(count, arguments, environment);
            }
            int __libc_start_main(Main *main, int count, char **arguments, void (*init)(void), void (*fini)(void),
                                  void (*loader)(void), void *stack) {
                int (*next)(Main *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *) =
                    (void *)dlsym(RTLD_NEXT, "__libc_start_main");
                program = main;
                return next(between, count, arguments, init, fini, loader, stack);
            }
            """
        let library = try Fixture.compile(["start.c": start], ["-O1", "-shared", "-fPIC"], output: "libstart.so")
        try withTemporaryDirectory { directory in
            let patch = try Programs.throwingPatch(initialisers: (1...3).map(Programs.noting))
            let bundle = try patch.write(to: directory)
            try withProcess(patch.target, environment: ["LD_PRELOAD": library]) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=7 trace=123\n")
            }
        }
    }

    @Test("unsafe-point: threads that are in the allocator or in a lock lend nothing; nothing changes")
    func unsafePoint() throws {
        let source = Programs.throwingSource.replacing("usleep(2000);", with: "lockless();").replacing(
            "static void *worker",
            with: """
                static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
                static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
                static void lockless() { pthread_mutex_lock(&lock); pthread_cond_wait(&never, &lock); }
                static void *worker
                """)
        let target = try Fixture.compile(
            ["main.cc": source, "answer.cc": Programs.answerSource], ["-O2", "-g", "-pthread", "-Wl,--build-id"],
            output: "throwing", compiler: "g++")
        var patch = try Programs.throwingPatch()
        patch.target = target
        let symbols = try Fixture.symbols(target)
        patch.bindings = try ["thrower", "note"].map {
            Binding(kind: .target, symbol: $0, address: try #require(symbols[$0]).address)
        }
        try withPatched(patch, arguments: ["1"]) { process, bundle in
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "1")
            try expectStatus(3, output)
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("0 patches"))
        }
    }

    @Test("initialisers run once, in their order, before the patch can be switched on, and never again")
    func initialisers() throws {
        let patch = try Programs.throwingPatch(initialisers: (1...3).map(Programs.noting))
        try withPatched(patch, arguments: ["1"]) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=1 trace=123\n")
            for _ in 0..<2 {
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=7 trace=123\n")
                let output = try livepatch("revert", bundle, "--pid", process.id)
                #expect(output.stdout.contains("resident"), "\(output)")
                try process.waitForNew("answer=1 trace=123\n")
            }
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("have run: 3"))
        }
    }

    @Test(
        "an initialiser that crashes is given up: the program goes on, the patch is never used",
        arguments: [
            ("ud2", "signal 4"), ("mov 0, %rax", "signal 11"),
            ("mov $39, %eax\nsyscall\nmov %eax, %edi\nmov $6, %esi\nmov $62, %eax\nsyscall\nret", "signal 6"),
        ])
    func crash(code: String, signal: String) throws {
        let patch = try Programs.throwingPatch(initialisers: [Programs.noting(1), code, Programs.noting(3)])
        try withPatched(patch) { process, bundle in
            let output = try apply(bundle, process)
            try expectStatus(4, output)
            #expect(output.stderr.contains("initialiser 2 of 3") && output.stderr.contains(signal), "\(output)")
            try process.waitForNew("answer=1 trace=1\n")
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("throws: failed"))
            try expectRefusal("patch-state", try apply(bundle, process))
            try expectRefusal("patch-state", try livepatch("activate", "throws", "--pid", process.id))
            try process.waitForNew("answer=1 trace=1\n")
        }
    }

    @Test("an initialiser that waits for a lock is given up; one that computes on is left, and comes back")
    func slowInitialisers() throws {
        // futex(&word, FUTEX_WAIT_PRIVATE, 0, ...) for ever; a loop of some 4 s.
        let wait =
            "lea got_note(%rip), %rdi\nmov $128, %esi\nmov (%rdi), %edx\nxor %r10d, %r10d\nmov $202, %eax\nsyscall\nret"
        try withPatched(try Programs.throwingPatch(initialisers: [wait])) { process, bundle in
            let output = try apply(bundle, process)
            try expectStatus(4, output)
            #expect(output.stderr.contains("waited for a lock"), "\(output)")
            try process.waitForNew("answer=1")
        }
        let clock = "mov $4000000000, %rsi\nrdtsc\nshl $32, %rdx\nor %rax, %rdx\nlea (%rdx, %rsi, 2), %rsi\n"
        let loop = clock + "1: rdtsc\nshl $32, %rdx\nor %rax, %rdx\ncmp %rsi, %rdx\njb 1b\nret"
        try withPatched(try Programs.throwingPatch(initialisers: [loop, Programs.noting(5)])) { process, bundle in
            let output = try apply(bundle, process)
            if output.status == 4 {
                #expect(output.stderr.contains("has not returned"), "\(output)")
                #expect(try livepatch("status", "--pid", process.id).stdout.contains("initialising"))
            }
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=7 trace=5\n")
        }
    }

    @Test(
        "killed-between-entries: livepatch killed at any moment of a load with calls, which are made once or not at all"
    )
    func killed() throws {
        let patch = try Programs.throwingPatch(initialisers: (1...3).map(Programs.noting))
        for round in 0..<24 {
            try withPatched(patch, arguments: round % 3 == 0 ? ["1"] : []) { process, bundle in
                let command = ["apply", bundle, "--allow-unsigned", "--pid", process.id]
                try withProcess(toolPath("livepatch"), command) { tool in
                    usleep(UInt32(10_000 + round * 7_000))
                    tool.send(SIGKILL)
                }
                try process.waitForNew("answer=")
                try expectStatus(0, try apply(bundle, process))
                try process.waitForNew("answer=7 trace=123\n")
                try expectStatus(0, try livepatch("verify", "--pid", process.id))
                try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
                try process.waitForNew("answer=1 trace=123\n")
            }
        }
    }

    @Test("killed-between-entries: livepatch killed at any moment while the unwinder is told, or told to forget")
    func killedRegistering() throws {
        try withPatched(try Programs.throwingPatch(), arguments: ["1"]) { process, bundle in
            for round in 0..<30 {
                let command = round % 2 == 0 ? ["apply", bundle, "--allow-unsigned"] : ["revert", bundle]
                try withProcess(toolPath("livepatch"), command + ["--pid", process.id]) { tool in
                    usleep(UInt32(10_000 + round * 6_000))
                    tool.send(SIGKILL)
                }
                #expect(process.isRunning)
                try process.waitForNew("answer=")
            }
            try expectStatus(0, try apply(bundle, process))
            try process.waitForNew("answer=7")
            let output = try livepatch("revert", bundle, "--pid", process.id)
            #expect(output.stdout.contains("resident") && output.status == 0, "\(output)")
            try process.waitForNew("answer=1")
        }
    }

    @Test("what a killed command has left is completed: calls begun, and not begun", arguments: [0, 2])
    func leftOver(made: Int) throws {
        let patch = try Programs.throwingPatch(initialisers: (1...3).map(Programs.noting))
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            let calls = try #require(registry.state.patches.at(0).calls)
            #expect(calls.registrations == 1 && calls.initialisers == 3)
            // As if only the registration and so many initialisers had been called.
            try registry.update { $0.patches[0].state = .initialising }
            let done = UInt64(1 + made)
            try registry.memory.write(
                littleEndian(done) + littleEndian(done), at: RemoteAddress(calls.load + CallList.begunOffset))
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("initialising"))
            try expectStatus(0, try livepatch("activate", "throws", "--pid", process.id))
            try process.waitForNew(made == 0 ? "answer=7 trace=123123\n" : "answer=7 trace=1233\n")
        }
    }

    @Test("a call that was begun and whose thread is gone is never made again")
    func lost() throws {
        let patch = try Programs.throwingPatch(initialisers: [Programs.noting(1)])
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            var registry = try filledRegistry(of: process)
            let calls = try #require(registry.state.patches.at(0).calls)
            try registry.update { $0.patches[0].state = .initialising }
            try registry.memory.write(
                littleEndian(2) + littleEndian(1), at: RemoteAddress(calls.load + CallList.begunOffset))
            try expectRefusal("patch-state", try livepatch("activate", "throws", "--pid", process.id))
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("throws: failed"))
            try process.waitForNew("answer=1 trace=1\n")
        }
    }

    @Test("a bundle whose unwind data would lead the unwinder astray is refused")
    func damagedUnwindData() throws {
        try withTemporaryDirectory { directory in
            let bundle = try Bundle.read(path: try Programs.throwingPatch().write(to: directory))
            let target = try bundle.manifest.targets.at(0)
            let good = try #require(bundle.modules[target.module])
            _ = try ModuleImage.read(good, target: target)
            let unwind = try #require(target.layout.unwind)
            for (delta, value) in [(0, UInt8(0xf0)), (Int(unwind.table.size) - 4, 1), (3, 0x7f)] {
                var bytes = good
                // The segment of the table has equal offsets in file and memory here.
                bytes[Int(unwind.table.address) + delta] = value
                #expect(throws: (any Error).self) { try ModuleImage.read(bytes, target: target) }
            }
        }
    }
}
