import Diagnostics
import ObjectFiles
import PatchFormat
import TestSupport
import Testing

@testable import Closing
@testable import ModuleLinking

@Suite struct ExtractTests {
    private func refused(_ fixture: PlanFixture) throws -> [Refusal] {
        let plan = try fixture.plan()
        do {
            _ = try extract(plan)
            return []
        } catch let error as Refusals {
            return error.refusals
        }
    }

    @Test("trap pie-library-data: a library's variable used directly is refused")
    func pieLibraryData() throws {
        let fixture = PlanFixture(
            new: "extern char *optarg; char *get(void) { return optarg; }", options: ["-fPIE"],
            replaced: ["get": 0x1000])
        let refusals = try refused(fixture)
        #expect(refusals.map(\.rule) == ["pie-library-data"])
        #expect(try refusals.at(0).subject == "get" && refusals.at(0).why.contains("optarg"))
    }

    @Test("trap pie-library-data: an address of a library's data comes from a slot, whatever is added to it")
    func addressOfLibraryData() throws {
        let fixture = PlanFixture(
            new: "extern int table[8]; int *get(void) { return table; } int *part(int x) { return x ? table + 3 : 0; }",
            options: ["-fPIE"], replaced: ["get": 0x1000, "part": 0x2000])
        let extraction = try extract(try fixture.plan())
        let code = extraction.object.sections.first { $0.name == ".text.get" }?.data ?? []
        #expect(code.firstRange(of: [0x48, 0x8b, 0x05]) != nil && code.firstRange(of: [0x48, 0x8d, 0x05]) == nil)
        #expect(extraction.imports.isEmpty)
        let names = extraction.bindings.filter { $0.kind == .imported }.map(\.symbol)
        #expect(names == ["table"])
        let slots = try #require(extraction.object.sections.firstIndex { $0.name == ".livepatch.got" })
        #expect(extraction.object.sections[slots].size == 16)
        // What reads the data itself would need two instructions: `mov table+12(%rip), %eax`.
        let reading = PlanFixture(
            new: "extern int table[8]; int get(void) { return table[3]; }", options: ["-fPIE"],
            replaced: ["get": 0x1000])
        #expect(try refused(reading).map(\.rule) == ["pie-library-data"])
    }

    @Test("trap tls-silent: TLS descriptors are the target's, or distances from the thread pointer")
    func tlsSilent() throws {
        let fixture = PlanFixture(
            new: "extern __thread int state; int get(void) { return state; }",
            options: ["-fPIC", "-mtls-dialect=gnu2"], replaced: ["get": 0x1000],
            bindings: ["state": Binding(kind: .threadLocal, symbol: "state", address: 4)])
        var plan = try fixture.plan()
        func made() throws -> (bindings: [Binding], code: [UInt8]) {
            let extraction = try extract(plan)
            return (extraction.bindings, extraction.object.sections.first { $0.name == ".text.get" }?.data ?? [])
        }
        // A program: `mov $state@tpoff, %rax`.
        let program = try made()
        #expect(program.bindings.contains { $0.kind == .threadLocal && $0.address == 4 })
        #expect(program.code.firstRange(of: [0x48, 0xc7, 0xc0]) != nil)
        // A library that has no descriptor for it: `mov slot(%rip), %rax`. The call is a nop in both.
        plan.threadDescriptors = [:]
        let initial = try made()
        #expect(initial.bindings.contains { $0.kind == .threadLocal && $0.address == 4 })
        #expect(initial.code.firstRange(of: [0x48, 0x8b, 0x05]) != nil)
        #expect([program.code, initial.code].allSatisfy { $0.firstRange(of: [0x66, 0x90]) != nil })
        // A library with one: its two words.
        plan.threadDescriptors = [4: 0x4000]
        let dynamic = try made()
        let slots = dynamic.bindings.filter { $0.kind == .slot }.map(\.address)
        #expect(slots == [0x4000, 0x4008] && !dynamic.bindings.contains { $0.kind == .threadLocal })
        #expect(dynamic.code.firstRange(of: [0xff, 0x10]) != nil)
    }

    @Test func aLibrarysThreadLocalIsRefused() throws {
        let fixture = PlanFixture(
            new: "extern __thread int state; int get(void) { return state; }", replaced: ["get": 0x1000])
        #expect(try refused(fixture).contains { $0.rule == "relocation-type" })
    }

    @Test func newThreadLocalsAreRefused() throws {
        let fixture = PlanFixture(
            new: "__thread int fresh = 3; int get(void) { return fresh; }", replaced: ["get": 0x1000], added: ["fresh"])
        #expect(try refused(fixture).contains { $0.rule == "new-thread-local" })
    }

    @Test func theLargeModelIsRefused() throws {
        let fixture = PlanFixture(
            new: "extern int value; int get(void) { return value; }", options: ["-fPIC", "-mcmodel=large"],
            replaced: ["get": 0x1000], bindings: ["value": Binding(kind: .target, symbol: "value", address: 8)])
        #expect(try refused(fixture).contains { $0.rule == "relocation-type" })
    }

    @Test func aReferenceThatStandsForNothingIsRefused() throws {
        let fixture = PlanFixture(
            new: "static int hidden; int get(void) { return hidden++; }", replaced: ["get": 0x1000])
        let refusals = try refused(fixture)
        #expect(refusals.first?.rule == "unresolved-symbol")
        #expect(refusals.first?.why.contains("get refers to it") == true)
    }

    @Test func twoVersionsOfOneSymbolAreRefused() throws {
        var plan = try PlanFixture(
            new: "int puts(const char *); int get(void) { return puts(\"\"); }", replaced: ["get": 0x1000]
        ).plan()
        for (index, reference) in plan.units[0].originalReferences {
            if case .outside(let binding) = reference, binding.symbol == "puts" {
                plan.units[0].originalReferences[index] = .outside(PlanFixture.imported("puts", version: "OTHER_1"))
            }
        }
        let error = #expect(throws: Refusals.self) { try extract(plan) }
        #expect(error?.refusals.first?.rule == "ambiguous-symbol")
    }

    @Test func allRefusalsAreCollected() throws {
        let source = """
            extern char *optarg; extern int optind;
            char *first(void) { return optarg; }
            int second(void) { return optind; }
            """
        let fixture = PlanFixture(
            new: source, options: ["-fPIE"], replaced: ["first": 0x1000, "second": 0x1100])
        #expect(try refused(fixture).map(\.subject) == ["first", "second"])
    }
}
