import Glibc
import TestSupport
import Testing

/// All end-to-end tests: real processes, one after the other, since they measure and load the machine.
@Suite(.serialized) struct EndToEnd {}

@discardableResult
func patchbuild(_ arguments: String..., in directory: String? = nil) throws -> Output {
    try run(toolPath("patchbuild"), arguments, in: directory)
}

@discardableResult
func livepatch(_ arguments: String...) throws -> Output { try livepatch(arguments) }

@discardableResult
func livepatch(_ arguments: [String]) throws -> Output {
    let output = try run(toolPath("livepatch"), arguments, seconds: 60)
    try cancelIfForbidden(output)
    return output
}

/// Applies an unsigned bundle to a process.
func expectApplied(_ bundle: String, _ pid: Int32, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let applied = try livepatch("apply", bundle, "--pid", "\(pid)", "--allow-unsigned")
    #expect(applied.status == 0, "\(applied)", sourceLocation: sourceLocation)
}

/// The names of the rules in a refusal printed with `--json`.
func refusedRules(_ output: Output) throws -> [String] {
    try JSON(output.stdout)["refused"].elements.compactMap { $0["rule"].text }
}

/// Expects exit status 1 and a refusal by `rule` that says what, why, and what to do.
func expectRefusal(
    _ rule: String, _ output: Output, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(output.status == 1, "\(output)", sourceLocation: sourceLocation)
    guard let json = try? JSON(output.stdout) else {
        Issue.record("not one JSON object: \(output)", sourceLocation: sourceLocation)
        return
    }
    #expect(try refusedRules(output).contains(rule), "\(output)", sourceLocation: sourceLocation)
    for refusal in json["refused"].elements {
        for member in ["rule", "subject", "why", "remedy"] {
            #expect(refusal[member].text?.isEmpty == false, "\(member) in \(output)", sourceLocation: sourceLocation)
        }
    }
}

/// Where fixtures lie whose paths must not change: removed when the tests end.
enum Workshop {
    private static let root: String = {
        let path = "\(temporaryDirectory)/patchbuild-e2e.\(getpid())"
        try? makeDirectory(path)
        atexit { removeTree("\(temporaryDirectory)/patchbuild-e2e.\(getpid())") }
        return path
    }()

    /// A new empty directory.
    static func directory(_ name: String) throws -> String {
        let path = root + "/" + name
        removeTree(path)
        try makeDirectory(path)
        return path
    }
}
