import Diagnostics
import PatchBuilding
import Testing

@testable import Packaging

/// Which fixes make a bundle together.
@Suite struct SettleFixesTests {
    private func fix(_ name: String, _ cves: String...) -> Fix { Fix(name: name, path: "/" + name, cves: cves) }

    private func verdict(_ name: String, _ verdict: FixVerdict.Verdict, _ cves: String...) -> FixVerdict {
        FixVerdict(name: name, cves: cves, verdict: verdict, refused: [])
    }

    private var refusal: Refusal { Refusal(.typeLayout, subject: "struct s", why: "it grows") }

    @Test func `a refused fix is found among many, and the others are tried together in their order`() async throws {
        let fixes = (0..<8).map { fix("\($0)") }
        var tried: [[String]] = []
        let settlement = try await settle(fixes) { some in
            tried.append(some.map(\.name))
            return some.contains { $0.name == "5" } ? .refused([refusal]) : .nothing([])
        }
        #expect(settlement.accepted.map(\.name) == ["0", "1", "2", "3", "4", "6", "7"])
        #expect(settlement.refused.map(\.fix.name) == ["5"])
        #expect(tried.contains(["0", "1", "2", "3", "4", "6", "7"]))
        #expect(tried.count == 7)
    }

    @Test func `a fix that builds on a refused one is refused with it`() async throws {
        let settlement = try await settle(["a", "b", "c"].map { fix($0) }) { some in
            let names = some.map(\.name)
            let misses = names.contains("b") && !names.contains("a")
            return names.contains("a") || misses ? .refused([refusal]) : .nothing([])
        }
        #expect(settlement.accepted.map(\.name) == ["c"])
        #expect(settlement.refused.map(\.fix.name) == ["a", "b"])
    }

    @Test func `the fixes of one CVE go in together or not at all`() async throws {
        let fixes = [fix("a", "CVE-1"), fix("b", "CVE-2"), fix("c", "CVE-3", "CVE-1"), fix("d", "CVE-4"), fix("e")]
        #expect(groups(of: fixes).map { $0.map(\.name) } == [["a", "c"], ["b"], ["d"], ["e"]])
        let joined = fixes + [fix("f", "CVE-2", "CVE-4")]
        #expect(groups(of: joined).map { $0.map(\.name) } == [["a", "c"], ["b", "d", "f"], ["e"]])
        let settlement = try await settle(fixes) { some in
            some.contains { $0.name == "c" } ? .refused([refusal]) : .nothing([])
        }
        #expect(settlement.accepted.map(\.name) == ["b", "d", "e"])
        #expect(settlement.refused.map(\.fix.name) == ["a", "c"])
    }

    @Test func `all are refused, or there are none`() async throws {
        let all = try await settle([fix("a"), fix("b")]) { _ in .refused([refusal]) }
        #expect(all.accepted.isEmpty && all.bundle == nil && all.refused.count == 2)
        let none = try await settle([]) { _ in .refused([refusal]) }
        #expect(none.accepted.isEmpty && none.refused.isEmpty)
    }

    @Test func `what fails is not taken for a verdict`() async {
        await #expect(throws: Failure.self) { _ = try await settle([fix("a")]) { _ in throw Failure("no disk") } }
    }

    @Test func `a CVE is closed when every fix of it is in, and one does something`() {
        let verdicts = [
            verdict("one", .patched, "CVE-1"), verdict("two", .nothingToPatch, "CVE-1", "CVE-2"),
            verdict("three", .patched, "CVE-3"), verdict("four", .refused, "CVE-3"),
            verdict("five", .patched, "CVE-4"),
        ]
        let (closed, open) = closedAndOpen(verdicts, others: [fix("six", "CVE-4")])
        #expect(closed == ["CVE-1"])
        #expect(open == ["CVE-3", "CVE-4"])
    }

    @Test func `only the fixes that name a CVE are taken`() throws {
        let all = [fix("a", "CVE-2024-0001"), fix("b", "CVE-2024-0002"), fix("c", "CVE-2024-0001", "CVE-2024-0003")]
        #expect(try fixes(all, naming: ["cve-2024-0001"]).map(\.name) == ["a", "c"])
        #expect(try fixes(all, naming: []).count == 3)
        let refusal = #expect(throws: Refusal.self) { try fixes(all, naming: ["CVE-2024-0001", "CVE-1999-1"]) }
        #expect(refusal?.subject == "CVE-1999-1" && refusal?.why.contains("CVE-2024-0002") == true)
    }
}
