import Glibc
import ProcessControl
import TestSupport
import Testing

extension ProcessControl {
    @Suite(.needsPatching) struct Borrowing {
        /// getpid on a borrowed thread, again and again.
        private func call(_ pid: Int32, times: Int) throws -> [UInt8] {
            try runTracer(deadline: .seconds(20)) {
                for _ in 0..<times {
                    let answer = try withBorrowedThread(pid) { caller in
                        [try caller.systemCall(39), try caller.systemCall(110), try caller.systemCall(39)]
                    }
                    guard answer == [Int64(pid), Int64(getppid()), Int64(pid)] || answer[0] == Int64(pid) else {
                        throw ProcessError.failed("\(answer)")
                    }
                }
                return [1]
            }
        }

        @Test(
            "a borrowed thread notices nothing",
            arguments: ["busy=2", "sleep=1", "epoll=1", "recv=2", "futex=2", "altstack=2", "signal=3", "poll=1"])
        func borrowedThreadNoticesNothing(kind: String) throws {
            let output = try withWitness([kind]) { process in
                let answer = try call(process.pid, times: 100)
                #expect(answer == [1])
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        /// A function `add(uint64_t *sum, uint64_t value)` that also calls getpid and spoils a vector register, and
        /// behind it, on a page of its own, the sum.
        private func installAdd(_ pid: Int32) throws -> RemoteAddress {
            // push %rbx; mov %rdi, %rbx; mov $39, %eax; syscall; add %rsi, (%rbx); xorps %xmm7, %xmm7; pop %rbx; ret
            let code: [UInt8] = [
                0x53, 0x48, 0x89, 0xfb, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x01, 0x33, 0x0f, 0x57, 0xff, 0x5b, 0xc3,
            ]
            let map = try MemoryMap.read(pid: pid)
            let text = try #require(map.mappings.first { $0.isExecutable })
            let hole = try #require(
                findHole(in: map, near: text.range, size: 8192, rules: try HoleRules.read(pid: pid)))
            _ = try runTracer(deadline: .seconds(10)) {
                try withBorrowedThread(pid) { caller in
                    try caller.map(at: hole, size: 4096, .readExecute)
                    try caller.map(at: hole + 4096, size: 4096, .readWrite)
                }
                try RemoteMemory(pid: pid).write(code, at: hole)
                return []
            }
            return hole
        }

        @Test(
            "code of the process runs on a borrowed thread", arguments: ["busy=2", "epoll=1", "sleep=1", "altstack=2"])
        func runsCode(kind: String) throws {
            let output = try withWitness([kind]) { process in
                let hole = try installAdd(process.pid)
                _ = try runTracer(deadline: .seconds(10)) {
                    for _ in 0..<30 {
                        try withBorrowedThread(process.pid) { caller in
                            try caller.run(hole, (hole + 4096).rawValue, 1)
                            _ = try caller.systemCall(39)
                            try caller.run(hole, (hole + 4096).rawValue, 2)
                        }
                    }
                    return []
                }
                let sum = try RemoteMemory(pid: process.pid).read(hole + 4096, as: UInt64.self)
                #expect(sum == 90)
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test(
            "SIGKILL of the tracer while code runs on a borrowed thread",
            arguments: ["busy=2", "altstack=2", "signal=3"])
        func killedWhileRunning(kind: String) throws {
            let output = try withWitness([kind]) { process in
                let hole = try installAdd(process.pid)
                for _ in 0..<40 {
                    _ = try? runTracer(deadline: .microseconds(Int.random(in: 500...10_000))) {
                        while true {
                            try withBorrowedThread(process.pid) { caller in
                                for _ in 0..<20 { try caller.run(hole, (hole + 4096).rawValue, 1) }
                            }
                        }
                    }
                }
            }
            #expect(isUndisturbed(output, interruptions: 20), "\(output)")
        }

        @Test("mdwe: memory is mapped read-execute and filled from outside")
        func mdwe() throws {
            let output = try withWitness(["sleep=2"]) { process in
                let answer = try runTracer(deadline: .seconds(10)) {
                    let memory = RemoteMemory(pid: process.pid)
                    let map = try MemoryMap.read(pid: process.pid)
                    let text = try #require(map.mappings.first { $0.isExecutable })
                    let rules = try HoleRules.read(pid: process.pid)
                    let hole = try #require(findHole(in: map, near: text.range, size: 8192, rules: rules))
                    try withBorrowedThread(process.pid) { try $0.map(at: hole, size: 8192, .readExecute) }
                    try memory.write([1, 2, 3], at: hole + 4095)
                    guard let new = try MemoryMap.read(pid: process.pid).mapping(containing: hole), new.isExecutable,
                        !new.isWritable
                    else { throw ProcessError.failed("no mapping") }
                    return try memory.read(hole + 4095, count: 3)
                }
                #expect(answer == [1, 2, 3])
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test(
            "fpstate, altstack, signals-while-borrowed: SIGKILL of the tracer at any instant",
            arguments: [["busy=2"], ["epoll=1", "recv=1", "futex=1"], ["altstack=2"], ["signal=3"], ["sleep=2"]])
        func killedTracer(kinds: [String]) throws {
            let output = try withWitness(kinds) { process in
                var generator = SystemRandomNumberGenerator()
                for _ in 0..<40 {
                    let microseconds = Int.random(in: 500...12_000, using: &generator)
                    #expect(throws: ProcessError.deadlinePassed) {
                        _ = try runTracer(deadline: .microseconds(microseconds)) {
                            while true {
                                try withBorrowedThread(process.pid) { caller in
                                    for _ in 0..<20 { _ = try caller.systemCall(39) }
                                }
                            }
                        }
                    }
                }
            }
            #expect(isUndisturbed(output, interruptions: 20), "\(output)")
        }
    }
}
