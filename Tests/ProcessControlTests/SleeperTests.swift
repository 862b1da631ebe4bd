import Glibc
import TestSupport
import Testing

@testable import ProcessControl

extension ProcessControl {
    @Suite struct Sleeping {
        /// How often each thread of a process was given a processor.
        private func runs(_ process: RunningProcess) throws -> [Int32: String] {
            var result: [Int32: String] = [:]
            for tid in try threadIDs(of: process.pid) {
                result[tid] = readText("/proc/\(process.pid)/task/\(tid)/schedstat").split { $0 == " " || $0 == "\n" }
                    .last.map(String.init)
            }
            return result
        }

        @Test("frozen-timeouts, short-io: a stop leaves threads alone that sleep", .needsRealTime)
        func leftAlone() throws {
            let output = try withWitness(["wait=16", "busy=1"]) { process in
                // Until all are asleep.
                usleep(200_000)
                let before = try runs(process)
                let answer = try runTracer(deadline: .seconds(20)) {
                    let memory = RemoteMemory(pid: process.pid)
                    let watch = SleeperWatch(memory)
                    for _ in 0..<50 {
                        let sleepers = try watch.look()
                        let stopped = try withStoppedProcess(
                            memory, maximumStop: .milliseconds(500), leaving: sleepers, watch
                        ) { try $0.whileNothingRuns {} }
                        guard stopped.threads == 18, stopped.interrupted <= 2 else {
                            throw ProcessError.failed("\(stopped)")
                        }
                    }
                    return [1]
                }
                #expect(answer == [1])
                let after = try runs(process)
                #expect(before.count { after[$0.key] == $0.value } >= 16, "\(before) \(after)")
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("nothing runs while changes are made, however many sleepers wake", .needsRealTime)
        func nothingRuns() throws {
            let output = try withWitness(["sleep=12", "epoll=12", "signal=6", "busy=1"]) { process in
                let answer = try runTracer(deadline: .seconds(40)) {
                    let memory = RemoteMemory(pid: process.pid)
                    let watch = SleeperWatch(memory)
                    var leftAlone = 0
                    for _ in 0..<150 {
                        let sleepers = try watch.look()
                        _ = try withStoppedProcess(
                            memory, maximumStop: .milliseconds(500), leaving: sleepers, watch
                        ) { stopped in
                            // The window between the look and the change, widened.
                            usleep(2_000)
                            let asleep = stopped.sleepers.count
                            try stopped.whileNothingRuns {
                                let before = try runs(process)
                                let end = monotonicNanoseconds() + 300_000
                                while monotonicNanoseconds() < end {}
                                guard try runs(process) == before else { throw ProcessError.failed("something ran") }
                            }
                            leftAlone += asleep
                        }
                        usleep(1_000)
                    }
                    guard leftAlone > 0 else { throw ProcessError.failed("nobody was left alone") }
                    return [1]
                }
                #expect(answer == [1])
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("SIGKILL of the tracer at any moment: no thread that slept sees EINTR", .needsRealTime)
        func killed() throws {
            let output = try withWitness(["wait=24", "busy=1"]) { process in
                usleep(200_000)
                for round in 0..<60 {
                    _ = try? runTracer(deadline: .microseconds(500 + round * 130)) {
                        let memory = RemoteMemory(pid: process.pid)
                        let watch = SleeperWatch(memory)
                        while true {
                            let sleepers = try watch.look()
                            _ = try withStoppedProcess(
                                memory, maximumStop: .seconds(1), leaving: sleepers, watch
                            ) { try $0.whileNothingRuns {} }
                        }
                    }
                }
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("where a thread has real-time priority, none can be left alone")
        func notOrdinary() throws {
            _ = try withWitness(["wait=2"]) { process in
                usleep(100_000)
                let threads = try threadIDs(of: process.pid)
                var parameter = sched_param(sched_priority: 5)
                let thread = try #require(threads.last)
                let isRealTime = sched_setscheduler(thread, SCHED_FIFO, &parameter) == 0
                let found = try SleeperWatch(RemoteMemory(pid: process.pid)).look().map(\.tid)
                #expect(Set(found) == (isRealTime ? [] : Set(threads)))
            }
        }
    }
}
