import PatchFormat
import PatchRegistry
import Testing

/// What the records of several patches say of each other.
@Suite struct PatchRelationsTests {
    private func reference(_ id: String) -> PatchReference {
        PatchReference(id: id, manifestDigest: String(repeating: id, count: 64))
    }

    private func function(stackedOn: String? = nil) -> RegisteredFunction {
        RegisteredFunction(
            name: "f", ranges: [AddressRange(address: 0x1000, size: 32)], digest: "", endsWithCall: false,
            abiCoupled: false, entry: 0x1000, saved: "9090909090", jump: "e900000000", stub: 0, oldSlot: 0,
            newRanges: [], oldRanges: [], stackedOn: stackedOn)
    }

    private func patch(
        _ id: String, _ state: PatchState, requires: [String] = [], supersedes: [String] = [], stackedOn: String? = nil,
        values: [RegisteredValue]? = nil
    ) -> RegisteredPatch {
        let module = RegisteredModule(
            buildID: "00", file: "program", targetBias: 0, base: 0, size: 0, segments: [],
            functions: [function(stackedOn: stackedOn)], values: values)
        return RegisteredPatch(
            id: id, manifestDigest: String(repeating: id, count: 64), sequence: 0, state: state, consistency: .stack,
            requires: requires.map(reference), supersedes: supersedes.map(reference), linkDigest: "",
            modules: [module], switchAddress: 0)
    }

    @Test("the latest active patch holds an entry")
    func holder() {
        var state = RegistryState(patches: [patch("a", .active), patch("b", .active), patch("c", .loaded)])
        #expect(state.holder(ofEntry: 0x1000)?.0.id == "b")
        #expect(state.holder(ofEntry: 0x1000, except: reference("b"))?.0.id == "a")
        #expect(state.holder(ofEntry: 0x1001) == nil)
        state.patches.removeAll()
        #expect(state.expectedEntry(of: function()) == "9090909090")
    }

    @Test("an activation supersedes what is active below it, and its end brings nothing back to life")
    func supersedes() throws {
        var state = RegistryState(patches: [patch("a", .active), patch("b", .loaded, supersedes: ["a"])])
        state.markActive(reference("b"), [:])
        #expect(state.patches.map(\.state) == [.superseded, .active])
        #expect(state.patches.map(\.wasActive) == [false, true])
        state.markInactive(reference("b"))
        #expect(state.patches.map(\.state) == [.loaded, .loaded])
    }

    @Test("what a switch did to each value is kept until the patch is inactive")
    func values() throws {
        let value = RegisteredValue(name: "v", address: 0x2000, original: "00", new: "01", outcome: .intended)
        var state = RegistryState(patches: [patch("a", .activating, values: [value])])
        state.markActive(reference("a"), [0x2000: .changed])
        #expect(state.patches.flatMap(\.values).map(\.outcome) == [.changed])
        state.markInactive(reference("a"))
        #expect(state.patches.flatMap(\.values).map(\.outcome) == [nil])
    }

    @Test("dependents are those that require a patch and are still of use")
    func dependents() {
        let below = patch("a", .active)
        let state = RegistryState(patches: [
            below, patch("b", .active, requires: ["a"]), patch("c", .resident, requires: ["a"]), patch("d", .active),
            patch("e", .resident, stackedOn: below.manifestDigest),
        ])
        #expect(state.dependents(of: below).map(\.id) == ["b"])
        #expect(state.stackedUpon(below).map(\.id) == ["e"])
        #expect(state.overlapping(below.functions, except: below.reference).map(\.id) == ["b", "d"])
    }
}
