import Glibc
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// The plain program, which holds the lock on its own memory, and whose child does when the program itself ends.
    static func lockingPatch() throws -> HandMadePatch {
        let source = """
            #include <fcntl.h>
            #include <sys/file.h>
            #include <unistd.h>
            __attribute__((constructor)) static void hold(void) {
                int memory = open("/proc/self/mem", O_RDONLY);
                if (memory < 0 || flock(memory, LOCK_EX) != 0) _exit(9);
                if (fork() == 0) { pause(); _exit(0); }
            }

            """
        var patch = try plainPatch()
        patch.target = try Fixture.compile(
            source + plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "locking")
        return patch
    }
}

@Suite("held-lock", .enabled(if: Exclusion.isForRoot, "not root, or no /run/livepatch.lock"))
struct ExclusionTests {
    @Test("held-lock: a process that holds the lock on its own memory does not stop root")
    func heldByTarget() throws {
        try withPatched(try Programs.lockingPatch()) { process, bundle in
            try expectStatus(
                0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "2"))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("status", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id, "--timeout", "2"))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("another livepatch at work on a process is waited for, and then it is busy")
    func anotherLivepatch() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            let lock = try #require(Exclusion.hold(process.pid))
            let output = try livepatch(
                "apply", bundle, "--pid", process.id, "--allow-unsigned", "--timeout", "0.5")
            try expectStatus(3, output)
            #expect(output.stderr.contains("another livepatch is at work"), "\(output)")
            close(lock)
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
        }
    }
}

/// What root's livepatch holds while it works on a process.
private enum Exclusion {
    static let isForRoot = geteuid() == 0 && access("/run", W_OK) == 0

    static func hold(_ pid: Int32) -> Int32? {
        let descriptor = open("/run/livepatch.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return nil }
        var range = Glibc.flock()
        (range.l_type, range.l_whence) = (Int16(F_WRLCK), Int16(SEEK_SET))
        (range.l_start, range.l_len) = (off_t(pid), 1)
        return fcntl(descriptor, 37, &range) == 0 ? descriptor : nil
    }
}
