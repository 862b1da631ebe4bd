import PatchRegistry
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

extension Programs {
    /// The plain program with 999 GiB to read, 999 GiB to write and 999 GiB of nothing, none of it touched, and with 10,000
    /// more mappings.
    static func sparsePatch() throws -> HandMadePatch {
        let source = """
            #include <sys/mman.h>
            __attribute__((constructor)) static void spread(void) {
                unsigned long much = 111ul << 30;
                int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, kinds[] = {0, PROT_READ, PROT_READ | PROT_WRITE};
                for (int i = 0; i < 27; i++) mmap(0, much, kinds[i % 3], flags, -1, 0);
                for (int i = 0; i < 10000; i++) mmap(0, 4096, kinds[1 + i % 2], flags, -1, 0);
            }

            """
        var patch = try plainPatch()
        patch.target = try Fixture.compile(
            source + plainSource, ["-O2", "-g", "-pthread", "-Wl,--build-id"], output: "sparse")
        return patch
    }
}

@Suite("sparse-mappings") struct SparseTests {
    @Test("sparse-mappings: a process with terabytes that it never touches is patched, looked at and reverted")
    func terabytes() throws {
        try withPatched(try Programs.sparsePatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=2 second=22")
            let status = try livepatch("status", "--pid", process.id)
            try expectStatus(0, status)
            #expect(status.stdout.contains("fix: active"), "\(status)")
            try expectStatus(0, try livepatch("revert", "fix", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("sparse-mappings: few places are looked at, and small mappings come first")
    func boundedPlaces() throws {
        let large = (0..<9).map { line(0x1000_0000_0000 + $0 << 40, 999 << 30, writable: $0 % 2 == 0) }
        let map = try MemoryMap.parse(Array((large + [line(0x5000_0000_0000, 2 << 20, writable: false)]).joined().utf8))
        let places = Registry.possiblePlaces(in: map)
        #expect(places.count == Registry.mostPlaces)
        #expect(places.prefix(2).map(\.address) == [0x5000_0000_0000, 0x5000_0010_0000])
        #expect(places.allSatisfy { !$0.mapping.isWritable })
        let writable = MemoryMap(mappings: map.mappings.filter(\.isWritable))
        #expect(Registry.possiblePlaces(in: writable).isEmpty)
        #expect(!Registry.mayBe(in: writable))
    }

    /// Of `/proc/PID/maps`.
    private func line(_ start: UInt64, _ size: UInt64, writable: Bool) -> String {
        let (first, end) = (String(start, radix: 16), String(start + size, radix: 16))
        return "\(first)-\(end) r\(writable ? "w" : "-")-p 00000000 00:00 0 \n"
    }

    @Test("sparse-mappings: a process that was merely found and lies does not make the status of the others")
    func statusOfOthers() {
        let good = ProcessResult(report: ProcessReport(pid: 1, state: "patched"))
        let forged = ProcessResult(pid: 2, error: Registry.refusal(2, "forged"))
        let slow = ProcessResult(pid: 3, error: ProcessError.deadlinePassed)
        let found = ProcessResult.deciding([good, forged, slow], wereFound: true)
        #expect(ProcessResult.status(of: found) == .done)
        let asked = ProcessResult.deciding([good, forged], wereFound: false)
        #expect(ProcessResult.status(of: asked) == .failed)
        #expect(ProcessResult.status(of: ProcessResult.deciding([forged], wereFound: true)) == .refused)
    }
}
