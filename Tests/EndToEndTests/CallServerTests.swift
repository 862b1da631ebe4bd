import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A call server under load: no call is lost, whatever is done to it.
    @Suite(.serialized) struct CallServerTests {
        @Test func patchedAndRevertedUnderLoad() throws {
            let fixture = try CallServer.built()
            try fixture.serving { server in
                let code = server.code()
                #expect(!code.isEmpty)
                #expect(try server.answer() == .old)

                let applied = try server.apply(fixture.bundle)
                #expect(applied.status == 0, "\(applied)")
                #expect(try server.answer() == .new)
                #expect(server.code() != code)

                let reverted = try server.revert(fixture.bundle)
                #expect(reverted.status == 0, "\(reverted)")
                #expect(try server.answer() == .old)
                #expect(server.code() == code)
            }
        }

        @Test func fourStepsOneByOne() throws {
            let fixture = try CallServer.built()
            try fixture.serving { server in
                let steps: [(String, CallServer.Serving.Answer)] = [
                    ("load", .old), ("activate", .new), ("deactivate", .old), ("activate", .new), ("deactivate", .old),
                    ("unload", .old),
                ]
                for (step, answer) in steps {
                    let trust = step == "load" ? ["--allow-unsigned"] : []
                    let output = try livepatch([step, fixture.bundle, "--pid", server.pid] + trust)
                    #expect(output.status == 0, "\(step): \(output)")
                    #expect(try server.answer() == answer, "after \(step)")
                }
            }
        }

        @Test func aThousandTimesWith64Threads() throws {
            let fixture = try CallServer.built()
            // 128,000 stops of a thread; on a machine with far more to do than it can, a few may be cut short.
            try fixture.serving(threads: 64, calls: 500, interruptions: 20) { server in
                let code = server.code()
                var settled = (mappings: 0, memory: 0)
                for round in 0..<1000 {
                    let applied = try server.apply(fixture.bundle)
                    try #require(applied.status == 0, "round \(round): \(applied)")
                    let reverted = try server.revert(fixture.bundle)
                    try #require(reverted.status == 0, "round \(round): \(reverted)")
                    if round == 100 { settled = (server.mappings().count, server.memory()) }
                }
                #expect(server.code() == code)
                #expect(server.mappings().count <= settled.mappings + 2)
                // What the server itself allocates varies with the load by less than this.
                #expect(server.memory() <= settled.memory + 256)
            }
        }

        /// Trap killed-between-entries, and every other moment.
        @Test func killedAtRandomMoments() throws {
            let fixture = try CallServer.built()
            try fixture.serving(threads: 16, calls: 200, interruptions: .max) { server in
                let code = server.code()
                let began = monotonicSeconds()
                #expect(try server.apply(fixture.bundle).status == 0)
                let duration = monotonicSeconds() - began
                #expect(try server.revert(fixture.bundle).status == 0)
                var generator = SystemRandomNumberGenerator()
                for round in 0..<100 {
                    for (command, answer) in [("apply", CallServer.Serving.Answer.new), ("revert", .old)] {
                        let trust = command == "apply" ? ["--allow-unsigned"] : []
                        let arguments = [command, fixture.bundle, "--pid", server.pid] + trust
                        try withProcess(toolPath("livepatch"), arguments) { tool in
                            usleep(UInt32(Double.random(in: 0...(duration * 1.1), using: &generator) * 1e6))
                            // `livepatch` alone, not its children: they must notice.
                            tool.send(SIGKILL)
                            _ = try tool.wait()
                        }
                        let between = try server.answer()
                        try #require(between == .old || between == .new, "round \(round) \(command): \(between)")
                        try carryOn(arguments, until: answer, server, round: round)
                    }
                }
                #expect(server.code() == code)
            }
        }

        /// The next command finds what the killed one left and completes it.
        private func carryOn(
            _ arguments: [String], until answer: CallServer.Serving.Answer, _ server: CallServer.Serving, round: Int
        ) throws {
            let output = try livepatch(arguments + ["--json"])
            // 1: the killed command had done its work already.
            let known = try output.status == 0 || (output.status == 1 && refusedRules(output) != [])
            try #require(known, "round \(round) \(arguments[0]): \(output)")
            let after = try server.answer()
            try #require(after == answer, "round \(round) \(arguments[0]): \(after) \(output)")
        }
    }
}
