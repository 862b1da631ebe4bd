import TestSupport
import Testing

extension EndToEnd {
    /// Random fixes of random programs, each compared with a model of both versions over one state. The long form is
    /// `Tests/differential --count 10000`.
    @Suite(.serialized, .needsPatching, .needs("python3"), .needs("clang")) struct DifferentialTests {
        @Test func `programs that run on with a random fix print what they should`() throws {
            let directory = try Workshop.directory("differential")
            let tools = String(toolPath("").dropLast())
            let output = try run(
                "python3",
                [packageRoot + "/Tests/differential", "--count", "24", "--tools", tools, "--work", directory],
                seconds: 600)
            #expect(output.status == 0, "\(output)")
            #expect(output.stdout.contains(" accepted"), "\(output)")
        }
    }
}
