import Glibc
import PatchFormat
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// A page of a writable file mapping that is never provided: whoever reads it waits without end.
    static let blockedPage = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <linux/userfaultfd.h>
        #include <stdlib.h>
        #include <sys/ioctl.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        __attribute__((constructor)) static void block(void) {
            int watcher = syscall(SYS_userfaultfd, O_CLOEXEC);
            struct uffdio_api api = {.api = UFFD_API};
            if (watcher < 0 || ioctl(watcher, UFFDIO_API, &api) < 0) exit(77);
            int file = memfd_create("blocked", 0);
            if (ftruncate(file, 4096) < 0) exit(77);
            void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            struct uffdio_register range = {{(unsigned long)page, 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
            if (ioctl(watcher, UFFDIO_REGISTER, &range) < 0) exit(77);
        }

        """

    static func blockedPagePatch() throws -> HandMadePatch {
        var patch = try plainPatch()
        patch.target = try Fixture.compile(
            blockedPage + plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "plain")
        return patch
    }

    /// Whether this kernel lets us block a page: it takes a privilege, or a setting.
    static let canBlockPages = (try? run(blockedPagePatch().target, ["0"], seconds: 1))?.status != 77
}

@Suite("blocked-read", .enabled(if: Programs.canBlockPages, "no userfaultfd that stops the kernel's reads"))
struct BlockedTests {
    @Test("blocked-read: files that are mapped as data are not read to find the program's objects")
    func objects() throws {
        try withPatched(try Programs.blockedPagePatch()) { process, _ in
            let start = monotonicSeconds()
            try expectStatus(0, try livepatch("status", "--pid", process.id))
            #expect(monotonicSeconds() - start < 10)
        }
    }

    @Test("blocked-read: a page that never comes holds neither the process nor a revert")
    func unload() throws {
        try withPatched(try Programs.blockedPagePatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            let output = try livepatch("revert", bundle, "--pid", process.id)
            try expectStatus(0, output)
            try process.waitForNew("answer=1 second=11")
            #expect(try livepatch("status", "--pid", process.id).stdout.contains("fix: resident"))
        }
    }
}
