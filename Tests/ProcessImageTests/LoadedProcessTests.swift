import Diagnostics
import ElfFormat
import ProcessImage
import TestSupport
import Testing

@Suite struct LoadedProcessTests {
    private func withShell(_ body: (Int32, LoadedProcess) throws -> Void) throws {
        try withProcess("/bin/sh", ["-c", "echo ready; sleep 30; echo"]) { running in
            try running.waitForOutput("ready")
            try body(running.pid, try LoadedProcess(pid: running.pid))
        }
    }

    @Test("the objects are the executable, then what ld.so lists, each with its build-id")
    func objects() throws {
        try withShell { pid, process in
            #expect(process.objects.first?.path == linkTarget("/proc/\(pid)/exe"))
            let library = try #require(process.objects.first { $0.file.hasPrefix("libc.so") })
            #expect(process.linkMap.listed >= 2 && library.buildID?.isEmpty == false)
            #expect(process.isMapped(library.buildID ?? "") && !process.isMapped("00"))
            let tables = try process.view.tables(of: library)
            let index = try #require(try tables.lookup("nanosleep", version: nil))
            #expect(try tables.name(of: tables.symbols[index]) == "nanosleep")
            #expect(try tables.lookup("no_such_function", version: nil) == nil)
        }
    }

    @Test("a read where nothing is mapped is a refusal")
    func unmapped() throws {
        try withShell { _, process in
            #expect(throws: Refusal.self) { try process.view.read(8, 8) }
            #expect(throws: Refusal.self) { try process.view.read(0, .max) }
        }
    }

    /// Of the gABI's and GNU's own descriptions.
    @Test("names have the hashes that linkers compute")
    func hashes() {
        #expect(gnuHash("") == 0x1505 && gnuHash("printf") == 0x156b_2bb8 && gnuHash("exit") == 0x7c96_7e3f)
        #expect(sysvHash("") == 0 && sysvHash("printf") == 0x0779_05a6 && sysvHash("exit") == 0x0006_cf04)
    }
}
