import ProcessControl
import TestSupport
import Testing

extension ProcessControl {
    @Suite struct Stacks {
        @Test("every stack is copied while the process stands still")
        func copiesStacks() throws {
            let output = try withWitness(["sleep=40", "busy=2"]) { process in
                let answer = try runTracer(deadline: .seconds(10)) {
                    let map = try MemoryMap.read(pid: process.pid)
                    var reader = try StackReader.prepare(pid: process.pid)
                    let stacks = try withStoppedProcess(process.pid, maximumStop: .seconds(1)) {
                        try reader.read($0)
                    }.value
                    for stack in stacks {
                        // Whatever the thread does, a return address into text lies above.
                        let words = reader.bytes(stack).bindMemory(to: UInt64.self)
                        let found = words.contains { map.mapping(containing: RemoteAddress($0))?.isExecutable == true }
                        guard found, stack.isOwn, !stack.isIncomplete else {
                            throw ProcessError.failed("thread \(stack.tid): \(stack.isOwn) \(stack.isIncomplete)")
                        }
                    }
                    return [UInt8(stacks.count)]
                }
                #expect(answer == [43])
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("stop time with every stack read", arguments: ["busy=64", "futex=1000"])
        func stopTime(kind: String) throws {
            let output = try withWitness([kind]) { process in
                let answer = try runTracer(deadline: .seconds(10)) {
                    var times: [Int] = []
                    for _ in 0..<6 {
                        var reader = try StackReader.prepare(pid: process.pid)
                        let stopped = try withStoppedProcess(process.pid, maximumStop: .seconds(1)) {
                            try reader.read($0)
                        }
                        times.append(stopped.stopMicroseconds)
                    }
                    times.sort()
                    return Array("\(times[3]) \(times[5])".utf8)
                }
                print(
                    "stop at 64 busy threads, median and worst of 6, in us:", String(decoding: answer, as: UTF8.self))
            }
            #expect(isUndisturbed(output), "\(output)")
        }
    }
}
