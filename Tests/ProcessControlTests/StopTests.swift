import Glibc
import ProcessControl
import TestSupport
import Testing

/// One at a time: each forks a tracer.
@Suite(.serialized) struct ProcessControl {}

extension ProcessControl {
    @Suite struct Stopping {
        @Test("eintr-from-stop: no interrupted call notices a stop")
        func eintrFromStop() throws {
            let kinds = [
                "sleep=8", "epoll=8", "recv=8", "futex=8", "sigwait=8", "semop=8", "poll=8", "busy=1", "altstack=1",
            ]
            let output = try withWitness(kinds) { process in
                _ = try runTracer(deadline: .seconds(20)) {
                    for _ in 0..<60 {
                        let stopped = try withStoppedProcess(process.pid, maximumStop: .milliseconds(500)) {
                            $0.threads.count
                        }
                        guard stopped.value == 59 else { throw ProcessError.failed("\(stopped)") }
                        usleep(7_000)
                    }
                    return []
                }
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("signals are given back, none is lost")
        func signalsSurvive() throws {
            let output = try withWitness(["signal=16", "busy=1"]) { process in
                _ = try runTracer(deadline: .seconds(20)) {
                    for _ in 0..<200 {
                        _ = try withStoppedProcess(process.pid, maximumStop: .milliseconds(500)) { _ in }
                    }
                    return []
                }
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("SIGKILL of the tracer during a stop: everything goes on")
        func killedTracer() throws {
            let kinds = ["sleep=4", "epoll=4", "recv=4", "futex=4", "busy=1", "altstack=1", "signal=4"]
            let output = try withWitness(kinds) { process in
                for _ in 0..<60 {
                    _ = try? runTracer(deadline: .microseconds(Int.random(in: 500...8000))) {
                        while true { _ = try withStoppedProcess(process.pid, maximumStop: .seconds(1)) { _ in } }
                    }
                }
            }
            // A call that is interrupted at that moment may see EINTR. No signal may be lost.
            let numbers = output.stdout.split { $0 == " " || $0 == "\n" }.compactMap { Int($0) }
            try #require(numbers.count == 4, "\(output)")
            #expect(try numbers.at(0) == 0 && numbers.at(1) == numbers.at(2), "\(output)")
        }

        @Test("the process stands still while it is stopped")
        func standsStill() throws {
            let output = try withWitness(["signal=4", "busy=2"]) { process in
                let answer = try runTracer(deadline: .seconds(20)) {
                    let stopped = try withStoppedProcess(process.pid, maximumStop: .seconds(1)) { _ in
                        let before = readText("/proc/\(process.pid)/schedstat")
                        usleep(50_000)
                        return before == readText("/proc/\(process.pid)/schedstat")
                    }
                    guard stopped.stopMicroseconds >= 50_000 else { throw ProcessError.failed("\(stopped)") }
                    return [stopped.value ? 1 : 0]
                }
                #expect(answer == [1])
            }
            #expect(isUndisturbed(output), "\(output)")
        }
    }
}
