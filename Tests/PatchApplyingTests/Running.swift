import Glibc
import PatchFormat
import PatchRegistry
import ProcessControl
import ProcessImage
import TestSupport
import Testing

@testable import PatchApplying

/// Runs the `livepatch` tool.
@discardableResult
func livepatch(_ arguments: String...) throws -> Output {
    let output = try run(toolPath("livepatch"), arguments, seconds: 60)
    try cancelIfForbidden(output)
    return output
}

/// The registry in a process. It holds a patch, with a module and a function: tests change the first of them.
func filledRegistry(of process: RunningProcess) throws -> Registry {
    let registry = try #require(try Registry.find(in: try ProcessView(pid: process.pid)))
    try #require(registry.state.patches.allSatisfy { $0.modules.first?.functions.first?.ranges.isEmpty == false })
    try #require(!registry.state.patches.isEmpty)
    return registry
}

func expectStatus(_ status: Int32, _ output: Output, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(output.status == status, "\(output)", sourceLocation: sourceLocation)
}

/// Refused, by this rule.
func expectRefusal(_ rule: String, _ output: Output, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try expectStatus(1, output, sourceLocation: sourceLocation)
    #expect(output.stderr.contains("[\(rule)]"), "\(output)", sourceLocation: sourceLocation)
}

/// A running program and a bundle for it.
func withPatched(
    _ patch: HandMadePatch, arguments: [String] = [], _ body: (RunningProcess, String) throws -> Void
) throws {
    try withTemporaryDirectory { directory in
        let bundle = try patch.write(to: directory)
        try withProcess(patch.target, arguments) { process in
            try process.waitForOutput("ready")
            try body(process, bundle)
        }
    }
}

/// A running program and several bundles for it.
func withPatches(
    _ patches: [HandMadePatch], arguments: [String] = [], _ body: (RunningProcess, [String]) throws -> Void
) throws {
    try withTemporaryDirectory { directory in
        let bundles = try patches.enumerated().map { index, patch in
            try makeDirectory(directory + "/\(index)")
            return try patch.write(to: directory + "/\(index)")
        }
        try withProcess(patches.at(0).target, arguments) { process in
            try process.waitForOutput("ready")
            try body(process, bundles)
        }
    }
}

extension RunningProcess {
    var id: String { String(pid) }

    /// Waits until something printed from now on holds `text`.
    func waitForNew(_ text: String) throws {
        let old = stdout.utf8.count
        let end = monotonicSeconds() + 10
        while !String(decoding: Array(stdout.utf8.dropFirst(old)), as: UTF8.self).contains(text) {
            guard isRunning, monotonicSeconds() < end else {
                throw SystemFailure("no '\(text)' in \(stdout.suffix(200))")
            }
            usleep(2_000)
        }
    }
}

extension Fixture {
    /// Symbols with a size, by name.
    static func symbols(_ path: String) throws -> [String: AddressRange] {
        var result: [String: AddressRange] = [:]
        for line in try runOrThrow("nm", ["-S", path]).stdout.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count == 4, let address = UInt64(fields[0], radix: 16), let size = UInt64(fields[1], radix: 16)
            else { continue }
            result[String(fields[3])] = AddressRange(address: address, size: size)
        }
        return result
    }
}

/// The code of a file that a process has mapped, as its memory holds it.
func text(of process: RunningProcess, _ file: String) throws -> [UInt8] {
    let map = try MemoryMap.read(pid: process.pid)
    let text = try #require(map.mappings.first { $0.isExecutable && $0.path.hasSuffix("/" + file) })
    return try RemoteMemory(pid: process.pid).read(text.start, count: Int(text.range.count))
}
