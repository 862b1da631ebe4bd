import Glibc
import ProcessControl
import TestSupport
import Testing

extension ProcessControl {
    @Suite struct Information {
        @Test("maps are parsed, blanks and (deleted) included")
        func mapsAreParsed() throws {
            let text = """
                00400000-00401000 r-xp 00001000 fe:01 1234                       /opt/a b/prog (deleted)
                00600000-00700000 rw-p 00000000 00:00 0                          [heap]
                7ffff7ff0000-7ffff7ff4000 r--s 00002000 00:05 77                         /dev/zero
                7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]

                """
            let map = try MemoryMap.parse(Array(text.utf8))
            #expect(map.mappings.map(\.kind) == [.file, .heap, .file, .stack])
            let first = try map.mappings.at(0)
            #expect(first.path == "/opt/a b/prog" && first.isDeleted && first.fileOffset == 0x1000)
            #expect(first.isExecutable && !first.isWritable && first.inode == 1234 && first.device == "fe:01")
            #expect(try map.mappings.at(2).isShared)
            #expect(map.mapping(containing: RemoteAddress(0x401000)) == nil)
            #expect(map.mapping(containing: RemoteAddress(0x6f_ffff))?.kind == .heap)
        }

        @Test("maps of another form are refused", arguments: ["zz-10 r-xp 0 0:0 0\n", "20-10 r-xp 0 0:0 0\n", "1\n"])
        func badMaps(text: String) {
            #expect(throws: ProcessError.self) { try MemoryMap.parse(Array(text.utf8)) }
        }

        @Test("what /proc says of this process")
        func ownProcess() throws {
            let information = try ProcessInformation.read(pid: getpid())
            #expect(
                information.threadGroup == getpid() && information.threads > 0
                    && information.seccomp == Machine.seccompMode)
            #expect(try startTime(of: getpid()) > 0)
            #expect(try threadIDs(of: getpid()).contains(getpid()))
            #expect(try executablePath(of: getpid()).hasPrefix("/"))
            #expect(throws: ProcessError.noSuchProcess(pid: 999_999_999)) {
                try ProcessInformation.read(pid: 999_999_999)
            }
        }

        @Test("reads are bounded and say where they failed")
        func memoryReads() throws {
            let memory = RemoteMemory(pid: getpid())
            let page = mmap(nil, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
            munmap(page + 4096, 4096)
            defer { munmap(page, 4096) }
            let address = RemoteAddress(UInt64(UInt(bitPattern: page)))
            try memory.write([1, 2, 3, 4, 5, 6, 7, 8], at: address + 4088)
            #expect(try memory.read(address + 4088, as: UInt64.self) == 0x0807_0605_0403_0201)
            #expect(try memory.readPrefix(address + 4090, count: 100) == [3, 4, 5, 6, 7, 8])
            #expect(throws: ProcessError.fault(address + 4096)) { try memory.read(address + 4090, count: 100) }
            let ranges = [0, 4090, 4088].map { RemoteRange(start: address + $0, count: 8) }
            let copies = try memory.readMany(ranges)
            #expect(copies == [[UInt8](repeating: 0, count: 8), nil, [1, 2, 3, 4, 5, 6, 7, 8]])
            #expect(throws: ProcessError.fault(address + 4096)) { try memory.write([0, 0], at: address + 4095) }
            #expect(throws: ProcessError.self) { try memory.read(address, count: .max) }
        }

        @Test("read-only text is written as a debugger writes it")
        func forcedWrite() throws {
            let memory = RemoteMemory(pid: getpid())
            let page = mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
            defer { munmap(page, 4096) }
            let address = RemoteAddress(UInt64(UInt(bitPattern: page)))
            try memory.write([9], at: address)
            #expect(try memory.read(address, count: 2) == [9, 0])
        }
    }

    @Suite struct Tracing {
        @Test("blocked-read: the tracer ends at its deadline whatever it waits for")
        func blockedRead() {
            #expect(throws: ProcessError.deadlinePassed) {
                _ = try runTracer(deadline: .milliseconds(50)) {
                    while true { sleep(100) }
                }
            }
        }

        @Test("errors and values come through")
        func answers() throws {
            let bytes = [UInt8](repeating: 7, count: 300_000)
            #expect(try runTracer(deadline: .seconds(5)) { bytes } == bytes)
            let error = ProcessError.fault(RemoteAddress(0x1234))
            #expect(throws: error) { _ = try runTracer(deadline: .seconds(5)) { throw error } }
            #expect(throws: ProcessError.tracerDied(signal: SIGSEGV)) {
                _ = try runTracer(deadline: .seconds(5)) {
                    kill(getpid(), SIGSEGV)
                    return []
                }
            }
        }
    }
}
