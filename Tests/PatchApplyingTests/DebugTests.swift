import PatchFormat
import PatchRegistry
import ProcessControl
import TestSupport
import Testing

@testable import PatchApplying

/// `livepatch debug` on modules that say little of themselves, or lie.
@Suite(.needsPatching) struct DebugTests {
    /// Symbols of the only module, as readelf lists them.
    private func symbols(_ process: RunningProcess, _ directory: String) throws -> String {
        let output = try livepatch("debug", "--pid", process.id, "-o", directory, "--json")
        try expectStatus(0, output)
        let path = try #require(try JSON(output.stdout)["modules"].elements.first?["symbols"].text)
        return try runOrThrow("readelf", ["-Ws", path]).stdout
    }

    @Test func aModuleWithoutNamesHasThoseOfItsRegistry() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try withTemporaryDirectory { directory in
                for command in ["load", "activate"] {
                    let trust = command == "load" ? ["--allow-unsigned"] : []
                    try expectStatus(
                        0, try run(toolPath("livepatch"), [command, bundle, "--pid", process.id] + trust))
                    let text = try symbols(process, directory + "/out")
                    for name in ["answer", "answer.original", "answer.stub", "second"] {
                        #expect(text.contains(" \(name)\n"), "\(text)")
                    }
                }
            }
        }
    }

    /// With some words of its headers replaced.
    private func spoilt(_ head: [UInt8], _ count: Int, size: UInt64, _ random: inout SplitMix) -> [UInt8] {
        var bytes = head
        let values: [UInt64] = [0, .max, 1 << 63, size, 0x1000]
        for _ in 0..<count {
            let place = Int.random(in: 16..<0x1f8, using: &random)
            let value = values.randomElement(using: &random) ?? 0
            for byte in 0..<8 { bytes[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
        }
        return bytes
    }

    @Test("hostile-registry: headers of a module that lead nowhere, and names that are none")
    func hostileModule() throws {
        try withPatched(try Programs.plainPatch()) { process, bundle in
            try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            let module = try #require(try filledRegistry(of: process).state.patches.first?.modules.first)
            let memory = RemoteMemory(pid: process.pid)
            let base = RemoteAddress(module.base)
            let head = try memory.read(base, count: 0x200)
            var random = SplitMix(state: 12)
            for round in 0..<40 {
                let bytes = spoilt(head, round % 5 + 1, size: module.size, &random)
                try memory.write(bytes, at: base)
                try withTemporaryDirectory { directory in
                    let text = try symbols(process, directory + "/out")
                    #expect(text.contains(" answer\n"), "round \(round): \(text)")
                }
            }
            try memory.write(head, at: base)
            try expectStatus(0, try livepatch("revert", bundle, "--pid", process.id))
        }
    }
}
