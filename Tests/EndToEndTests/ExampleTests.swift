import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// The examples as their readers run them, with the tools built for the tests. Each checks its own claims.
    @Suite(.serialized) struct ExampleTests {
        /// Runs an example. Status 77 is a skip, recorded with the example's own reason (Tests/SKIPS.md lists it).
        private func example(_ name: String) throws {
            let tools = String(toolPath("").dropLast())
            try check(
                try run(packageRoot + "/Examples/" + name, environment: ["PATCHBUILD_TOOLS": tools], seconds: 1200))
        }

        private func check(_ output: Output) throws {
            if output.status == 77 {
                try Test.cancel(Comment(rawValue: String(output.stdout.split(separator: "\n").last ?? "skipped")))
            }
            #expect(output.status == 0, "\(output)")
        }

        /// Packages that take minutes to build.
        private static let isAsked = getenv("PATCHBUILD_STOCK") != nil
        private static let askFor: Comment = "PATCHBUILD_STOCK is not set"

        @Test func quickstart() throws { try example("quickstart") }
        @Test func stockRedis() throws { try example("stock-redis") }
        @Test func stockLibxslt() throws { try example("stock-libxslt") }
        @Test(.enabled(if: isAsked, askFor)) func stockNginx() throws { try example("stock-nginx") }
        @Test(.enabled(if: isAsked, askFor)) func stockMosquitto() throws { try example("stock-mosquitto") }
        @Test(.enabled(if: isAsked, askFor)) func threeRoles() throws { try example("three-roles") }
        @Test func stockLibarchive() throws { try example("stock-libarchive") }
        @Test(.needsOverlay) func stockLibmodbus() throws { try example("stock-libmodbus") }

        /// Real fixes from the archive's source packages, each compared with what it is known to change.
        @Test(.needs("python3")) func shortCorpus() throws {
            let tools = String(toolPath("").dropLast())
            try check(
                try run("python3", [packageRoot + "/Tests/corpus", "--short", "--tools", tools], seconds: 600))
        }
    }
}
