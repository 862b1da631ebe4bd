import TestSupport
import Testing

@testable import Closing
@testable import CodeModel

/// A function that hands out its own address: a local symbol of the same section, for which the assembler leaves no relocation.
private let unit = """
    int (*kept)(int);
    static __attribute__((noinline)) int again(int x) { kept = again; return x > 5 ? again(x - 1) : x + 1; }
    int work(int x) { return again(x) + (kept == again); }

    """

@Suite struct OwnAddressTests {
    @Test(arguments: [(["-O2"], false), (["-O0"], false), (["-O2", "-fPIC"], false), (["-O2"], true), (["-O1"], true)])
    func `trap own-address: a function takes the target's address for its own`(flags: [String], clang: Bool) throws {
        let edit = [("x + 1", "x + 2")]
        let patch =
            clang
            ? try Patching(
                ["a.cc": unit, "main.cc": Patching.main("work")], ["a.cc": edit], flags: flags, compiler: "clang++")
            : try Patching(["a.c": unit, "main.c": Patching.main("work")], ["a.c": edit], flags: flags)
        let name = try #require(patch.functions.first { $0.contains("again") })
        let unit = try #require(patch.plan?.units.first { !$0.newSections.isEmpty })
        let entity = try #require(ObjectView(unit.new).entityNamed[name])
        let view = ObjectView(unit.new)
        // Whatever takes the address has a relocation now, which leads to the target.
        #expect(view.filledInAddresses(of: entity).isEmpty)
        let own = view.entities[entity].symbols
        let references = own.compactMap { unit.newReferences[$0] }
        #expect(!references.isEmpty)
        for reference in references {
            guard case .outside(let binding) = reference else {
                Issue.record("\(name) is referred to in the module")
                continue
            }
            #expect(binding.address == patch.target.definitions(of: name).first?.value)
        }
    }

    @Test func `a new function's own address is the module's`() throws {
        let added = ("int work", "static int fresh(int x) { return x > 100 ? (int)(long)fresh : x; }\nint work")
        let patch = try Patching(
            ["a.c": unit, "main.c": Patching.main("work")],
            ["a.c": [added, ("return again(x)", "return fresh(x) + again(x)")]],
            flags: ["-O0"])
        #expect(patch.functions.contains("+fresh"))
        #expect(patch.bindings["fresh"] == nil)
    }
}
