import PatchFormat
import TestSupport
import Testing

@testable import PatchApplying

@Suite("patches of one process") struct RelationTests {
    private func reference(_ patch: HandMadePatch) throws -> PatchReference {
        try withTemporaryDirectory { try Bundle.read(path: try patch.write(to: $0)).reference }
    }

    @Test("patches-undo-each-other: a second patch of the same function is refused")
    func overlap() throws {
        let patches = [try Programs.plainPatch(id: "a"), try Programs.plainPatch(id: "b", value: 3, addend: 30)]
        try withPatches(patches) { process, bundles in
            try expectStatus(0, try livepatch("apply", bundles[0], "--pid", process.id, "--allow-unsigned"))
            let output = try livepatch("apply", bundles[1], "--pid", process.id, "--allow-unsigned")
            try expectRefusal("patches-undo-each-other", output)
            try process.waitForNew("answer=2 second=22")
        }
    }

    @Test("patches-undo-each-other: a patch built on the first is stacked, and goes first")
    func stacked() throws {
        let first = try Programs.plainPatch(id: "a")
        var second = try Programs.plainPatch(id: "b", value: 3, addend: 30)
        second.requires = [try reference(first)]
        try withPatches([first, second]) { process, bundles in
            let early = try livepatch("apply", bundles[1], "--pid", process.id, "--allow-unsigned")
            try expectRefusal("missing-requirement", early)
            for bundle in bundles {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            }
            try process.waitForNew("answer=3 second=33")
            try expectRefusal("required-by-others", try livepatch("revert", "a", "--pid", process.id))
            try expectStatus(0, try livepatch("deactivate", "b", "--pid", process.id))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            try expectStatus(0, try livepatch("unload", "b", "--pid", process.id))
            try expectStatus(0, try livepatch("revert", "a", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("patches-undo-each-other: what supersedes replaces in one switch, and its revert gives the original")
    func supersedes() throws {
        let first = try Programs.plainPatch(id: "a")
        var second = try Programs.plainPatch(id: "b", value: 3, addend: 30)
        second.supersedes = [try reference(first)]
        try withPatches([first, second]) { process, bundles in
            for bundle in bundles {
                try expectStatus(0, try livepatch("apply", bundle, "--pid", process.id, "--allow-unsigned"))
            }
            try process.waitForNew("answer=3 second=33")
            let status = try livepatch("status", "--pid", process.id)
            #expect(status.stdout.contains("a: superseded") && status.stdout.contains("b: active"), "\(status)")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            let output = try livepatch("revert", "b", "--pid", process.id)
            try expectStatus(0, output)
            try process.waitForNew("answer=1 second=11")
            try expectStatus(0, try livepatch("verify", "--pid", process.id))
            // The remedy that it prints, word for word.
            #expect(output.stdout.contains("`livepatch activate a` switches it on"), "\(output)")
            try expectStatus(0, try livepatch("activate", "a", "--pid", process.id))
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("apply", bundles[1], "--pid", process.id, "--allow-unsigned"))
            try process.waitForNew("answer=3 second=33")
            let restored = try livepatch("revert", "b", "--pid", process.id, "--restore")
            #expect(restored.stdout.contains("a, which it had superseded, is active again"), "\(restored)")
            try process.waitForNew("answer=2 second=22")
            try expectStatus(0, try livepatch("revert", "a", "--pid", process.id))
            try process.waitForNew("answer=1 second=11")
        }
    }

    @Test("patches-undo-each-other: what supersedes must replace all that the other fixed")
    func supersedesLess() throws {
        let first = try Programs.plainPatch(id: "a")
        var second = try Programs.plainPatch(id: "b", value: 3, addend: 30)
        second.functions = ["answer"]
        second.supersedes = [try reference(first)]
        try withPatches([first, second]) { process, bundles in
            try expectStatus(0, try livepatch("apply", bundles[0], "--pid", process.id, "--allow-unsigned"))
            let output = try livepatch("apply", bundles[1], "--pid", process.id, "--allow-unsigned")
            try expectRefusal("patches-undo-each-other", output)
        }
    }

    @Test("same-id: another bundle with the id of one that is applied is refused")
    func sameID() throws {
        let patches = [try Programs.plainPatch(), try Programs.plainPatch(value: 3)]
        try withPatches(patches) { process, bundles in
            try expectStatus(0, try livepatch("apply", bundles[0], "--pid", process.id, "--allow-unsigned"))
            let output = try livepatch("apply", bundles[1], "--pid", process.id, "--allow-unsigned")
            try expectRefusal("patches-undo-each-other", output)
            try expectStatus(1, try livepatch("revert", bundles[1], "--pid", process.id))
            try process.waitForNew("answer=2 second=22")
        }
    }
}
