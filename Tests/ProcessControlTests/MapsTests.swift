import TestSupport
import Testing

@testable import ProcessControl

/// Mappings of a process that changes them while they are read.
@Suite struct MapsTests {
    private static let torn = "1000-3000 r--p 0 0:0 0\n2000-4000 r--p 0 0:0 0\n"
    private static let whole = "1000-3000 r--p 0 0:0 0\n3000-4000 r--p 0 0:0 0\n"

    @Test("maps-torn: mappings that are out of order are read again")
    func readAgain() throws {
        var readings = 0
        let map = try MemoryMap.settled(pid: 7) { () throws(ProcessError) in
            readings += 1
            return Array((readings < 4 ? Self.torn : Self.whole).utf8)
        }
        #expect(readings == 4 && map.mappings.map(\.start.rawValue) == [0x1000, 0x3000])
    }

    @Test("maps-torn: mappings that are never in order are no failure, and what is no mapping is")
    func neverInOrder() {
        #expect(throws: ProcessError.changing(pid: 7)) {
            try MemoryMap.settled(pid: 7) { () throws(ProcessError) in Array(Self.torn.utf8) }
        }
        #expect(throws: ProcessError.malformed("line of /proc/PID/maps: nonsense")) {
            try MemoryMap.settled(pid: 7) { () throws(ProcessError) in Array("nonsense\n".utf8) }
        }
    }

    @Test("maps-torn: a program that never stops mapping memory")
    func realProcess() throws {
        let program = try Fixture.compile(
            """
            #include <pthread.h>
            #include <stdio.h>
            #include <sys/mman.h>
            #include <unistd.h>
            static void *worker(void *unused) {
                char *places[64];
                (void)unused;
                for (unsigned round = 0;; round++)
                    for (int i = 0; i < 64; i++) {
                        if (round) munmap(places[i], 4096 * (1 + (i + round - 1) % 5));
                        int access = i & 1 ? PROT_READ : PROT_READ | PROT_WRITE;
                        places[i] = mmap(0, 4096 * (1 + (i + round) % 5), access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    }
            }
            int main(void) {
                pthread_t thread;
                for (int i = 0; i < 2; i++) pthread_create(&thread, 0, worker, 0);
                puts("ready");
                fflush(stdout);
                for (;;) pause();
            }
            """, ["-O1", "-pthread"], output: "mapper")
        try withProcess(program) { process in
            try process.waitForOutput("ready")
            var count = 0
            for _ in 0..<300 {
                do { count += try MemoryMap.read(pid: process.pid).mappings.isEmpty ? 0 : 1 } catch {
                    #expect(error as? ProcessError == ProcessError.changing(pid: process.pid))
                }
            }
            #expect(count > 0)
        }
    }
}
