import Glibc
import ProcessControl
import TestSupport
import Testing

/// The tracer is not stopped with the program of a terminal, and does not outlast being stopped.
extension ProcessControl {
    @Suite(.needsPatching) struct TerminalTests {
        @Test("terminal-stop: the tracer has a process group of its own, and no terminal stops it")
        func ignored() throws {
            let output = try withWitness(["sleep=1"]) { (process) throws in
                let answer = try runTracer(deadline: .seconds(20)) {
                    let stopped = try withStoppedProcess(process.pid, maximumStop: .seconds(2)) { _ in
                        for signal in [SIGTSTP, SIGTTIN, SIGTTOU] { kill(getpid(), signal) }
                        return getpgrp() == getpid()
                    }
                    return [stopped.value ? 1 : 0]
                }
                #expect(answer == [1])
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test(
            "terminal-stop: a tracer that is stopped while the process stands still is ended, and the process goes on")
        func stoppedInStop() throws {
            let output = try withWitness(["sleep=1", "busy=1"]) { (process) throws in
                #expect(throws: ProcessError.tracerDied(signal: SIGKILL)) {
                    _ = try runTracer(deadline: .seconds(60)) {
                        _ = try withStoppedProcess(process.pid, maximumStop: .milliseconds(200)) { _ in
                            kill(getpid(), SIGSTOP)
                        }
                        return []
                    }
                }
                #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
            }
            #expect(isUndisturbed(output), "\(output)")
        }

        @Test("terminal-stop: a tracer that is stopped while a thread is borrowed is ended, and the thread goes on")
        func stoppedWhileBorrowing() throws {
            let output = try withWitness(["sleep=1", "busy=1"]) { (process) throws in
                #expect(throws: ProcessError.tracerDied(signal: SIGKILL)) {
                    _ = try runTracer(deadline: .seconds(60)) {
                        try withBorrowedThread(process.pid) { caller in
                            _ = try caller.systemCall(39)
                            kill(getpid(), SIGSTOP)
                        }
                        return []
                    }
                }
                #expect(try ProcessInformation.read(pid: process.pid).tracer == 0)
            }
            #expect(isUndisturbed(output), "\(output)")
        }
    }
}
