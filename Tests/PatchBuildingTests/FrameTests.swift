import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Closing
@testable import ModuleLinking

/// The unwind data of a linked module, read as an unwinder reads it.
@Suite struct FrameTests {
    private struct Frame {
        var start: UInt64
        var size: UInt64
        /// Address of the table of handlers; 0 when there is none.
        var table: UInt64
        var personality: UInt64
    }

    /// Every description of the module's table, addresses as in the module's file.
    private func frames(_ module: LoadedModule) throws -> [Frame] {
        let table = try #require(module.linked.layout.unwind).table
        var commons: [UInt64: (personality: UInt64, hasTable: Bool)] = [:]
        var frames: [Frame] = []
        var place = table.address
        while case let length = module.load(place, 4), length != 0 {
            let id = module.load(place + 4, 4)
            if id == 0 {
                // Version 1, then "zPLR" or "zR", and what it stands for.
                let text = (0..<8).map { module.load(place + 9 + $0, 1) }.prefix { $0 != 0 }.map { UInt8($0) }
                let hasTable = String(decoding: text, as: UTF8.self) == "zPLR"
                let field = place + 9 + UInt64(text.count) + 1 + 4 + 1
                if hasTable { #expect(module.load(field - 1, 1) == 0x9b) }
                commons[place] = (hasTable ? module.reached(field) - 4 - LoadedModule.base : 0, hasTable)
            } else {
                let common = try #require(commons[place + 4 - id])
                frames.append(
                    Frame(
                        start: module.reached(place + 8) - 4 - LoadedModule.base, size: module.load(place + 12, 4),
                        table: common.hasTable ? module.reached(place + 17) - 4 - LoadedModule.base : 0,
                        personality: common.personality))
            }
            place += 4 + length
        }
        #expect(place + 4 == table.end)
        return frames
    }

    private static let sources = [
        "a.cc": """
        #include <stdexcept>
        #include <string>
        __attribute__((noinline)) void check(int x) { if (x == 3) throw std::runtime_error("three"); }
        int work(int x) {
            std::string text(x, 'c');
            try { check(x); return text.size(); } catch (const std::exception &) { return -1; }
        }
        """,
        "m.cc": "int work(int); int main(int c, char **) { return work(c); }",
    ]

    @Test(arguments: [["-O2"], ["-O2", "-fPIC"], ["-O0"]])
    func `all code of a module, and nothing else, is described`(_ flags: [String]) async throws {
        let shared = flags.contains("-fPIC")
        let patching = try Patching(
            Self.sources, ["a.cc": [("text.size()", "text.size() + 5"), ("x == 3", "x == 4")]], flags: flags,
            link: shared ? ["-shared"] : [])
        #expect(patching.rules.isEmpty)
        let plan = try #require(patching.plan)
        #expect(plan.needsUnwindData)
        let linked = try await link(plan)
        var module = try LoadedModule(linked)
        let found = try frames(module)
        let ranges = linked.functions.flatMap { $0.newRanges + $0.oldRanges }
        #expect(Set(found.map(\.start)) == Set(ranges.map(\.address)))
        #expect(found.count == ranges.count)
        let personality = module.importAddress("__gxx_personality_v0")
        let work = try #require(linked.functions.first { $0.name == "_Z4worki" })
        for range in try [work.newRanges.at(0), work.oldRanges.at(0)] {
            let frame = try #require(found.first { $0.start == range.address })
            #expect(frame.size == range.size && frame.table != 0)
            #expect(module.load(frame.personality, 8) == personality)
        }
        // The original body's handlers are its own.
        let tables = found.map(\.table).filter { $0 != 0 }
        #expect(Set(tables).count == tables.count)
        let object = try #require(linked.layout.unwind).object
        #expect(object % 8 == 0 && (0..<8).allSatisfy { module.load(object + $0 * 8, 8) == 0 })
        let check = try FieldCheck(plan, linked)
        #expect(check.faults.isEmpty && check.checked > 0)
    }

    @Test func `C needs unwind data where it cleans up`() throws {
        let edit = ["a.c": [("* 2", "* 3")]]
        let cleaning = [
            "a.c": """
            void release(int *); int use(int);
            int work(int x) { __attribute__((cleanup(release))) int held = x; return use(held) * 2; }
            """,
            "b.c": "int live; void release(int *x) { live -= *x; } int use(int x) { return live += x; }",
            "m.c": Patching.main("work"),
        ]
        let cleanup = try Patching(cleaning, edit, flags: ["-O2", "-fexceptions"])
        #expect(cleanup.rules.isEmpty)
        #expect(cleanup.plan?.needsUnwindData == true)
    }
}
