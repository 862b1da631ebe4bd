import TestSupport
import Testing
import Toolchain

@Test func `a job's output and status are captured`() async throws {
    let result = try await run(Job("sh", ["-c", "echo out; echo err >&2; exit 3"]))
    #expect(result.status == 3)
    #expect(result.outputText == "out\n")
    #expect(result.errorText == "err\n")
}

@Test func `results come in the order of the jobs`() async throws {
    let jobs = (0..<6).map { Job("sh", ["-c", "sleep 0.0\(6 - $0); echo \($0)"]) }
    let results = try await run(jobs, concurrency: 4)
    #expect(results.map(\.outputText) == (0..<6).map { "\($0)\n" })
}

@Test func `a failed job's error carries its command line and message`() async throws {
    let result = try await run(Job("sh", ["-c", "echo 'a.c:1: error: no' >&2; exit 1"], directory: "/", title: "try"))
    let error = #expect(throws: JobFailure.self) { try result.checked() }
    #expect(error?.description.contains("cd / && sh -c") == true)
    #expect(error?.message == "a.c:1: error: no")
}

@Test func `a program that is not there is an error`() async {
    await #expect(throws: JobFailure.self) { _ = try await run(Job("no-such-program", [])) }
    #expect(findProgram("no-such-program") == nil)
    #expect(findProgram("sh") != nil)
}

@Test func `directory and environment are the job's own`() async throws {
    let job = Job(
        "sh", ["-c", "pwd; echo ${A-unset} ${HOME-unset}"], directory: "/usr", environment: ["A": "1", "HOME": nil])
    #expect(try await run(job).outputText == "/usr\n1 unset\n")
}

@Test func `a killed job's status is that of a shell`() async throws {
    #expect(try await run(Job("sh", ["-c", "kill -9 $$"])).status == 137)
}

@Test func `a large output is captured whole`() async throws {
    #expect(try await run(Job("head", ["-c", "3000000", "/dev/zero"])).output.count == 3_000_000)
}

@Test(arguments: [("a-b_c/d.o", "a-b_c/d.o"), ("", "''"), ("it's", "'it'\\''s'"), ("a b", "'a b'"), ("$x", "'$x'")])
func `words are quoted for a shell`(word: String, quoted: String) { #expect(shellQuoted(word) == quoted) }
