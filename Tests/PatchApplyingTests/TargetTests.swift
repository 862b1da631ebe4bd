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
    /// A directory with `main`, `libanswer.so` and `host`, which opens and closes the library on signals.
    static func library() throws -> String {
        try Fixture.cached(["library-target-3"]) { directory in
            try writeText("volatile int sink; int answer(void) { sink++; return 1; }", to: directory + "/lib.c")
            try writeText(
                """
                #include <stdio.h>
                #include <unistd.h>
                volatile int own_sink;
                int answer(void);
                __attribute__((noipa, noclone)) int second(int x) { own_sink++; return x + 10; }
                int main(void) {
                    setvbuf(stdout, 0, _IONBF, 0);
                    printf("ready\\n");
                    for (;;) { printf("answer=%d second=%d\\n", answer(), second(1)); usleep(2000); }
                }
                """, to: directory + "/main.c")
            try writeText(
                """
                #include <dlfcn.h>
                #include <signal.h>
                #include <stdio.h>
                #include <unistd.h>
                static volatile int wanted = 1;
                static void toggle(int number) { (void)number; wanted = !wanted; }
                int main(int argc, char **argv) {
                    void *library = 0;
                    int (*answer)(void) = 0;
                    signal(SIGUSR1, toggle);
                    setvbuf(stdout, 0, _IONBF, 0);
                    for (int i = 0;; i++) {
                        if (wanted && !library) { library = dlopen(argv[1], RTLD_NOW); answer = dlsym(library, "answer"); }
                        if (!wanted && library) { dlclose(library); library = 0; printf("closed\\n"); }
                        if (library) printf("answer=%d\\n", answer());
                        if (i == 1) printf("ready\\n");
                        usleep(2000);
                    }
                }
                """, to: directory + "/host.c")
            let shared = ["-O2", "-fPIC", "-shared", "-Wl,--build-id", "lib.c", "-o", "libanswer.so"]
            try runOrThrow("gcc", shared, in: directory)
            let rest = ["-L.", "-lanswer", "-Wl,-rpath,$ORIGIN", "-Wl,--build-id", "-o", "main"]
            try runOrThrow("gcc", ["-O2", "main.c"] + rest, in: directory)
            try runOrThrow("gcc", ["-O2", "host.c", "-o", "host", "-ldl"], in: directory)
        }
    }

    static func libraryPatch() throws -> HandMadePatch {
        let source = Assembly.head + Assembly.replacement("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret")
        return HandMadePatch(
            id: "fix", target: try library() + "/libanswer.so", source: source, functions: ["answer"])
    }
}

@Suite("targets") struct TargetTests {
    @Test("a shared library is a target like an executable, found by --all")
    func library() throws {
        try withTemporaryDirectory { scratch in
            var patch = try Programs.libraryPatch()
            patch.id = "library-fix"
            let bundle = try patch.write(to: scratch)
            try withProcess(try Programs.library() + "/main") { process in
                try process.waitForOutput("ready")
                // Other tests' programs map the same library: what is said of them does not matter here.
                _ = try livepatch("apply", bundle, "--all", "--allow-unsigned")
                try process.waitForNew("answer=2")
                _ = try livepatch("revert", "library-fix", "--all")
                try process.waitForNew("answer=1")
            }
        }
    }

    @Test("several targets have one switch")
    func severalTargets() throws {
        let directory = try Programs.library()
        var patch = HandMadePatch(
            id: "both", target: directory + "/main",
            source: Assembly.head
                + Assembly.indirect("second", new: "lea 20(%rdi), %eax\nret", old: "lea 10(%rdi), %eax\nret"),
            functions: ["second"])
        patch.more = [
            HandMadePatch(
                id: "both", target: directory + "/libanswer.so",
                source: Assembly.head + Assembly.indirect("answer", new: "mov $2, %eax\nret", old: "mov $1, %eax\nret"),
                functions: ["answer"])
        ]
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=21")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", "both", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("dlclosed: a patch of a library that was closed touches nothing, and can be taken back")
    func dlclosed() throws {
        try withTemporaryDirectory { scratch in
            let directory = try Programs.library()
            let bundle = try Programs.libraryPatch().write(to: scratch)
            try withProcess(directory + "/host", [directory + "/libanswer.so"]) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2")
                process.send(SIGUSR1)
                try process.waitForOutput("closed")
                #expect(try livepatch("verify", "--pid", process.id).stdout.contains("not mapped any more"))
                try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
                process.send(SIGUSR1)
                try process.waitForNew("answer=1")
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2")
            }
        }
    }

    @Test("dlclosed: a library that was opened again is patched again, not merely said to be")
    func reopened() throws {
        try withTemporaryDirectory { scratch in
            let directory = try Programs.library()
            let bundle = try Programs.libraryPatch().write(to: scratch)
            try withProcess(directory + "/host", [directory + "/libanswer.so"]) { process in
                try process.waitForOutput("ready")
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                try process.waitForNew("answer=2")
                process.send(SIGUSR1)
                try process.waitForOutput("closed")
                process.send(SIGUSR1)
                try process.waitForNew("answer=1")
                let again = try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned")
                if again.status != 0 {
                    // At another address.
                    try expectRefusal("patch-state", again)
                    try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
                    try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
                }
                try process.waitForNew("answer=2")
            }
        }
    }

    @Test("static programs need no dynamic linker", arguments: ["-static", "-static-pie"])
    func staticProgram(flag: String) throws {
        let target = try Fixture.compile(
            Programs.plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id", flag], output: "plain")
        var patch = try Programs.plainPatch()
        patch.target = target
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("a padded entry goes on behind its pad while the switch is off")
    func padded() throws {
        let target = try Fixture.compile(
            Programs.plainSource,
            ["-O2", "-g", "-pthread", "-Wl,--build-id", "-fcf-protection=none", "-fpatchable-function-entry=5"],
            output: "plain")
        var patch = HandMadePatch(
            id: "fix", target: target,
            source: Assembly.head + Assembly.indirect("answer", new: "mov $2, %eax\nret", old: nil),
            functions: ["answer"])
        patch.entry = Entry(kind: .padded, jumpOffset: 0, resumeOffset: 5)
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("load", bundle, "--pid", process.id, "--allow-unsigned"))
            let view = try ProcessView(pid: process.pid)
            let entry = try #require(try Registry.find(in: view)).state.patches.at(0).functions.at(0)
            // The jump alone changes nothing.
            try view.memory.write(try #require(bytesOfHex(entry.jump)), at: RemoteAddress(entry.entry))
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try livepatch("activate", "fix", "--pid", process.id))
            try process.waitForNew("answer=2 second=12")
        }
    }

    @Test("fork inherits the patch, and each process is taken back alone")
    func forked() throws {
        let source = Programs.plainSource.replacing(
            "printf(\"ready\\n\");",
            with:
                "printf(\"ready\\n\"); sleep(2); char b[32]; write(1, b, snprintf(b, 32, \"pid %d\\n\", (int)fork()));")
        let target = try Fixture.compile(source, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "plain")
        var patch = try Programs.plainPatch()
        patch.target = target
        try withPatched(patch) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForOutput("second=22")
            let line = try #require(
                process.stdout.split(separator: "\n").first { $0.hasPrefix("pid ") && $0 != "pid 0" })
            let child = String(line.dropFirst(4))
            #expect(try livepatch("status", "--pid", child).stdout.contains("fix: active"))
            try expectStatus(0, try livepatch("revert", "fix", "--pid", child))
            #expect(try livepatch("status", "--pid", child).stdout.contains("fix: resident"))
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("fix: active"))
        }
    }
}

@Suite("module image") struct ModuleImageTests {
    @Test("no mutation of a module's file ends the program: it is read or refused")
    func mutations() throws {
        try withTemporaryDirectory { directory in
            let bundle = try Bundle.read(path: try Programs.boundPatch(["-pie", "-fPIE"]).write(to: directory))
            let target = try bundle.manifest.targets.at(0)
            let good = try #require(bundle.modules[target.module])
            var seed: UInt64 = 42
            func random(_ limit: Int) -> Int {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int(seed >> 33) % limit
            }
            var refused = 0
            for _ in 0..<1500 {
                var bytes = good
                for _ in 0..<(1 + random(4)) {
                    // Headers and the dynamic tables, where every byte means something.
                    let place = random(2) == 0 ? random(600) : random(bytes.count)
                    bytes[place] = [0, 0xff, 0x7f, UInt8(random(256))][random(4)]
                }
                do {
                    var image = try ModuleImage.read(bytes, target: target)
                    let values = target.bindings.map { _ in BindingValue.address(0x10000) }
                    try image.relocate(base: 0x20000, bindings: target.bindings, values: values) { _ in
                        .address(0x30000)
                    }
                } catch { refused += 1 }
            }
            #expect(refused > 100)
        }
    }
}
