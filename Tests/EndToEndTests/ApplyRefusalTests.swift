import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// Bundles and processes that don't fit: `livepatch` says which rule, and the process goes on unharmed.
    @Suite(.serialized) struct ApplyRefusalTests {
        /// Expects that `body` is refused by one of the rules while the server under load loses no call and stays old.
        private func refused(
            _ rules: [String], _ fixture: CallServer, sourceLocation: SourceLocation = #_sourceLocation,
            _ body: (CallServer.Serving) throws -> Output
        ) throws {
            try fixture.serving(sourceLocation: sourceLocation) { server in
                let code = server.code()
                let output = try body(server)
                let rule = try refusedRules(output).first { rules.contains($0) }
                try expectRefusal(rule ?? rules[0], output, sourceLocation: sourceLocation)
                #expect(try server.answer() == .old, sourceLocation: sourceLocation)
                #expect(server.code() == code, sourceLocation: sourceLocation)
            }
        }

        @Test func anotherBuildOfTheProgram() throws {
            let other = try CallServer(named: "callserver-O1", flags: "-O1 -g")
            let bundle = try CallServer.built().bundle
            try refused(["wrong-build", "target-not-mapped"], other) { try $0.apply(bundle) }
        }

        @Test func truncatedBundle() throws {
            let fixture = try CallServer.built()
            let bytes = readBytes(fixture.bundle)
            let path = try Workshop.directory("truncated") + "/fix.lpatch"
            for length in [0, 511, bytes.count / 2, bytes.count - 1024] {
                try writeBytes(Array(bytes.prefix(length)), to: path)
                try refused(["bad-bundle"], fixture) { try $0.apply(path) }
            }
        }

        @Test func flippedByteInModule() throws {
            let fixture = try CallServer.built()
            var bytes = readBytes(fixture.bundle)
            // Past the manifest lies the module: an ELF file.
            let elf = try #require(
                bytes.indices.dropLast(4).first { bytes[$0..<$0 + 4].elementsEqual([0x7f, 0x45, 0x4c, 0x46]) })
            bytes[elf + 0x400] ^= 1
            let path = try Workshop.directory("flipped") + "/fix.lpatch"
            try writeBytes(bytes, to: path)
            try refused(["bad-bundle"], fixture) { try $0.apply(path) }
        }

        @Test func unsignedBundle() throws {
            let fixture = try CallServer.built()
            try refused(["unsigned"], fixture) { try livepatch("apply", fixture.bundle, "--pid", $0.pid, "--json") }
        }

        @Test func noPermission() throws {
            let fixture = try CallServer.built()
            // Where nobody can read them, whatever the rights of the build directory.
            let directory = try Workshop.directory("nobody")
            try runOrThrow("cp", [toolPath("livepatch"), fixture.bundle, directory])
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
            try refused(["no-permission"], fixture) { server in
                let command = ["apply", directory + "/fix.lpatch", "--pid", server.pid, "--allow-unsigned", "--json"]
                guard getuid() == 0 else { return try Self.applyToClosedProcess(fixture.bundle) }
                return try run("setpriv", nobody + [directory + "/livepatch"] + command)
            }
        }

        /// For ordinary users: a process that no other may look into, like another user's. There may be none of those.
        private static func applyToClosedProcess(_ bundle: String) throws -> Output {
            let program = try Fixture.compile(
                """
                #include <stdio.h>
                #include <sys/prctl.h>
                #include <unistd.h>
                int main(void) { prctl(PR_SET_DUMPABLE, 0); puts("closed"); fflush(stdout); for (;;) pause(); }
                """, ["-O1"], output: "closed")
            return try withProcess(program) { process in
                try process.waitForOutput("closed")
                return try livepatch("apply", bundle, "--pid", "\(process.pid)", "--allow-unsigned", "--json")
            }
        }

        @Test func revertWithoutApply() throws {
            let fixture = try CallServer.built()
            try refused(["not-loaded"], fixture) { try $0.revert(fixture.bundle) }
        }

        @Test func foreignProgram() throws {
            let bundle = try CallServer.built().bundle
            try withProcess("sleep", ["60"]) { process in
                let output = try livepatch("apply", bundle, "--pid", "\(process.pid)", "--allow-unsigned", "--json")
                let rules = try refusedRules(output)
                #expect(
                    output.status == 1 && rules.contains { ["target-not-mapped", "wrong-build"].contains($0) },
                    "\(output)")
                #expect(process.isRunning)
            }
        }

        @Test func noSuchProcess() throws {
            let bundle = try CallServer.built().bundle
            let gone = try withProcess("true") { process in
                _ = try process.wait()
                return process.pid
            }
            try expectRefusal(
                "no-process", try livepatch("apply", bundle, "--pid", "\(gone)", "--allow-unsigned", "--json"))
        }

        /// The process exits while it is being patched, at forty moments: `livepatch` ends, and says so.
        @Test func processExitsInTheMiddle() throws {
            let fixture = try CallServer.built()
            for round in 0..<40 {
                try withProcess(fixture.program, ["0", "8"]) { server in
                    try server.waitForOutput("\n")
                    let arguments = ["apply", fixture.bundle, "--pid", "\(server.pid)", "--allow-unsigned", "--json"]
                    try withProcess(toolPath("livepatch"), arguments) { tool in
                        usleep(UInt32(round) * 700)
                        server.send(SIGKILL)
                        _ = try server.wait()
                        let output = try tool.wait(seconds: 20)
                        // Done before, refused since there is no process, or failed midway: never a signal, never a hang.
                        #expect([0, 1, 4].contains(output.status), "round \(round): \(output)")
                    }
                }
            }
        }
    }
}
